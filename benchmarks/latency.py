"""``python -m benchmarks.latency``: time from the capture of a frame until its decision is read, below saturation.

First, the saturation of each contender is measured. Then frames are sent at 25 %, 50 % and 80 % of the rate that the
bare loop can sustain, at the same rates to each contender (with ``--own``: at these shares of its own saturation).

Cameras of constant rate and random phase send the frames at times fixed beforehand, the same times for all contenders
of a round. A late frame has waited since its intended time (see `benchmarks.open_loop`). Latency counts from there to
the moment at which another process has read the decision from Kafka.

Contenders and loads take turns. Each run starts from scratch on new topics, and its first seconds are left out.
Percentiles are by nearest rank; the table shows the median over the rounds, with the lowest and the highest value.
Sender, receiver and broker share the machine with the contender, so a load of 80 % leaves it few resources.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.backlog import backlog
from benchmarks.contenders import peers
from benchmarks.contenders.table import CONTENDERS, FLASK, LIMIT, OURS, OURS_PROCESSES, QUIX, Contender, Task
from benchmarks.gauge import Running
from benchmarks.line_topics import PARTITIONS, Stream, create, delete, ends, fill
from benchmarks.machine import described, machine
from benchmarks.open_loop import Load, Schedule, prepare, receive, send
from benchmarks.output import Plot, markdown, progress, write
from benchmarks.percentiles import CURVE, TABLE, name, percentile, percentiles
from benchmarks.rounds import Spread, in_turns
from benchmarks.saturation import saturate
from benchmarks.workloads import WORKLOADS, images, package, workload
from infra.broker import LocalBroker
from transport.machine import usable_cores

#: Load in per cent at which p99 is compared. `AIMS` is the largest allowed ratio of our p99 to another contender's.
AIM_AT_PERCENT = 50
AIMS = {LIMIT: 1.5, FLASK: 1.0, QUIX: 1.0}
_LOADS = (25, 50, 80)
#: A contender that sends images from memory is left out: its frames have no time of capture.
_CHOICES = [each for each, contender in CONTENDERS.items() if not contender.endless]
_START_S = 60.0
#: If a second member joins a group just after the first one, they share the partitions at the first's next heartbeat.
_SETTLE_S = 4.0
#: Time after the last frame in which a contender may answer the waiting frames, in seconds.
_DRAIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Run:
    """Figures of one contender at one load: frames a second, percentiles in ms, lost frames, lateness of the sender."""

    rate: float
    frames: int
    latency_ms: dict[str, float]
    lost: int
    again: int
    sender_late_ms_p99: float
    cpu_ms: float


class Bench:
    """Broker, sender and receiver for the runs of one workload."""

    def __init__(self, broker: LocalBroker, name: str, scratch: Path, args: argparse.Namespace) -> None:
        pid = broker.status().pid
        assert pid is not None
        self._servers, self._pid, self._args = broker.bootstrap_servers, pid, args
        self._workload = workload(name)
        self._model = package(self._workload.network, scratch)
        self._pictures = images(self._workload.size_wh, self._workload.colour)
        self._numbers = itertools.count()
        context = get_context("spawn")
        self._sender = ProcessPoolExecutor(1, context, initializer=prepare, initargs=(name,))
        self._receiver = ProcessPoolExecutor(1, context, initializer=prepare, initargs=(name,))

    def saturations(self, contenders: Sequence[str], rounds: int) -> dict[str, list[float]]:
        """Measure the frames a second that each contender sustains."""
        task, seconds = self._task(), self._args.saturation_seconds
        frames = backlog(self._model, self._pictures, task.in_flight, seconds)
        create(self._servers, task.stream)
        fill(self._servers, task.stream, self._pictures, self._workload.size_wh, frames, self._args.cameras)
        found: dict[str, list[float]] = {contender: [] for contender in contenders}
        for _, contender in in_turns(contenders, rounds):
            rate = saturate(CONTENDERS[contender], task, self._pid, frames, seconds).frames_per_s
            progress(f"{self._workload.name}, {contender}: saturated at {rate:.0f} frames/s")
            found[contender].append(rate)
        delete(self._servers, task.stream)
        return found

    def run(self, contender: Contender, rate: float, seed: int) -> Run:
        """Start a contender, wait until it answers, and send the frames of the schedule."""
        task, args = self._task(), self._args
        topic = contender.decisions(task.stream)
        schedule = Schedule(rate, args.warm_up + args.seconds, args.cameras, seed)
        source = task.stream.frames if contender.reads_frames else task.stream.raw
        load = Load(self._servers, source, contender.reads_frames, self._workload.name, schedule, PARTITIONS)
        count = len(schedule.shots())
        create(self._servers, task.stream)
        with Running(contender.commands(task), self._pid) as running:
            self._settle(task.stream, topic, running)
            begin, patience_s = ends(self._servers, topic), args.warm_up + args.seconds + _DRAIN_S
            receiving = self._receiver.submit(
                receive, self._servers, topic, begin, count, patience_s, as_frames=contender.reads_frames
            )
            sent = self._sender.submit(send, load).result()
            answered = receiving.result()
            running.check()
        delete(self._servers, task.stream)
        if answered.not_completed:
            raise RuntimeError(f"{answered.not_completed} frames were answered without being inspected")
        counted = [
            (intended_s, late_s, answered.at_s.get(place))
            for intended_s, late_s, place in zip(sent.intended_s, sent.late_s, sent.places, strict=True)
            if intended_s >= sent.intended_s[0] + args.warm_up
        ]
        latencies_ms = [1000 * (at_s - intended_s) for intended_s, _, at_s in counted if at_s is not None]
        # The gauge has Unix times, the schedule has monotonic times.
        shift_s = time.time() - time.monotonic()
        cpu_s = running.own.cpu_between(counted[0][0] + shift_s, counted[-1][0] + shift_s)
        return Run(
            rate=rate,
            frames=len(counted),
            latency_ms=percentiles(latencies_ms),
            lost=count - sum(place in answered.at_s for place in sent.places),
            again=answered.again,
            sender_late_ms_p99=1000 * percentile([late_s for _, late_s, _ in counted], 99),
            cpu_ms=1000 * cpu_s / len(counted),
        )

    def close(self) -> None:
        """End the processes of sender and receiver."""
        self._sender.shutdown()
        self._receiver.shutdown()

    def _task(self) -> Task:
        stream = Stream(f"{self._workload.name}-{next(self._numbers)}")
        return Task(self._servers, stream, stream.prefix, self._model, self._args.threads)

    def _settle(self, stream: Stream, topic: str, running: Running) -> None:
        """Wait until the contender has answered frames of every partition, twice."""
        asked = sum(ends(self._servers, topic))
        for pause_s in (_SETTLE_S, 0.0):
            fill(self._servers, stream, self._pictures, self._workload.size_wh, 2 * PARTITIONS, PARTITIONS)
            asked += 2 * PARTITIONS
            until_s = time.monotonic() + _START_S
            while sum(ends(self._servers, topic)) < asked:
                running.check()
                if time.monotonic() > until_s:
                    raise RuntimeError(f"it does not answer:\n{running.logged()[-2000:]}")
                time.sleep(0.2)
            time.sleep(pause_s)


def measure(bench: Bench, contenders: Sequence[str], args: argparse.Namespace) -> dict[str, Any]:
    """Measure the saturations, then all loads and contenders in turns."""
    saturations = bench.saturations(contenders, args.saturation_rounds)
    limits = {each: statistics.median(rates) for each, rates in saturations.items()}
    runs: dict[int, dict[str, list[Run]]] = {percent: {each: [] for each in contenders} for percent in args.load}
    turns = list(in_turns([str(percent) for percent in args.load], args.rounds))
    for number, text in turns:
        percent = int(text)
        for place in range(len(contenders)):
            contender = contenders[(place + number) % len(contenders)]
            rate = percent / 100 * limits[contender if args.own else LIMIT]
            run = bench.run(CONTENDERS[contender], rate, number)
            runs[percent][contender].append(run)
            figures = ", ".join(f"{each} {run.latency_ms[each]:.1f}" for each in map(name, TABLE))
            progress(f"round {number + 1}, {percent} % ({rate:.0f}/s), {contender}: {figures} ms, lost {run.lost}")
    return {
        "saturation_frames_per_s": saturations,
        "loads": {
            str(percent): {
                contender: {
                    "rate": found[0].rate,
                    "frames_a_run": [run.frames for run in found],
                    "latency_ms": {each: [run.latency_ms[each] for run in found] for each in map(name, CURVE)},
                    "lost": sum(run.lost for run in found),
                    "answered_again": sum(run.again for run in found),
                    "sender_late_ms_p99": [run.sender_late_ms_p99 for run in found],
                    "cpu_ms_per_frame": [run.cpu_ms for run in found],
                }
                for contender, found in by_contender.items()
            }
            for percent, by_contender in runs.items()
        },
    }


def aims(found: Mapping[str, Any]) -> list[str]:
    """Return a line for each measured pair: ratio of our p99 at the middle load to the other's, beside the aim."""
    p99 = {
        contender: each["latency_ms"]["p99"] for contender, each in found["loads"].get(str(AIM_AT_PERCENT), {}).items()
    }
    lines = []
    for ours, (other, times) in itertools.product((OURS, OURS_PROCESSES), AIMS.items()):
        if ours in p99 and other in p99:
            ratio = Spread.of([mine / its for mine, its in zip(p99[ours], p99[other], strict=True)])
            verdict = "met" if ratio.median <= times else "MISSED"
            lines.append(f"{ours}: p99 at {AIM_AT_PERCENT} % beside {other} {ratio}, aim at most {times}: {verdict}")
    return lines


def table(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    parts = [described(report["machine"])]
    for workload_name, found in report["workloads"].items():
        rows = [
            [
                f"{percent} %", f"{each['rate']:.0f}", contender,
                *(Spread.of(each["latency_ms"][figure]) for figure in map(name, TABLE)),
                each["lost"], Spread.of(each["sender_late_ms_p99"]), Spread.of(each["cpu_ms_per_frame"]),
            ]
            for percent, by_contender in found["loads"].items()
            for contender, each in by_contender.items()
        ]  # fmt: skip
        saturated = ", ".join(f"{c} {Spread.of(r)}" for c, r in found["saturation_frames_per_s"].items())
        head = ["load", "frames/s", "contender", *(f"{name(each)} ms" for each in TABLE)]
        counts = [n for by in found["loads"].values() for each in by.values() for n in each["frames_a_run"]]
        parts += [
            f"\n{workload_name}; saturation in frames/s: {saturated}",
            markdown([*head, "lost", "sender late p99 ms", "CPU ms a frame"], rows),
            f"{min(counts)} to {max(counts)} frames a run; of fewer than 1,000, p99.9 is the maximum.",
            *aims(found),
        ]
    return "\n".join(parts)


def curve(title: str, by_contender: Mapping[str, Any]) -> Plot:
    """Return a plot of latency by percentile.

    The axis is stretched towards 100 %: 90, 99 and 99.9 are equally far apart.
    """

    def draw(axes: Any) -> None:
        shown = [percent for percent in CURVE if percent < 100]
        for contender, found in by_contender.items():
            spreads = [Spread.of(found["latency_ms"][name(percent)]) for percent in shown]
            at = [1 / (1 - percent / 100) for percent in shown]
            [line] = axes.plot(at, [each.median for each in spreads], marker="o", markersize=3, label=contender)
            lowest, highest = [each.lowest for each in spreads], [each.highest for each in spreads]
            axes.fill_between(at, lowest, highest, alpha=0.2, color=line.get_color())
        axes.set_xscale("log")
        ticks = (50, 75, 90, 95, 99, 99.5, 99.9)
        axes.set_xticks([1 / (1 - percent / 100) for percent in ticks], [name(percent) for percent in ticks])
        axes.minorticks_off()
        axes.set(title=title, xlabel="percentile", ylabel="capture to decision, ms")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)

    return draw


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", action="append", choices=[each.name for each in WORKLOADS], help="repeat it")
    parser.add_argument(
        "--contender", action="append", choices=_CHOICES, help="repeat it; default: ours, the limit and two peers"
    )
    parser.add_argument("--load", action="append", type=int, help="in %%, repeat it; default: 25, 50, 80")
    parser.add_argument("--own", action="store_true", help="loads as parts of each contender's own saturation")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all loads and contenders")
    parser.add_argument("--seconds", type=float, default=10, help="counted seconds of each run")
    parser.add_argument("--warm-up", type=float, default=2, help="seconds before them that are not counted")
    parser.add_argument("--cameras", type=int, default=12)
    parser.add_argument("--threads", type=int, default=usable_cores(), help="threads of each one; default: the cores")
    parser.add_argument("--saturation-seconds", type=float, default=4, help="seconds that saturation is measured")
    parser.add_argument("--saturation-rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the report instead of standard output")
    args = parser.parse_args()
    args.load = args.load or list(_LOADS)
    args.contender = args.contender or [OURS, OURS_PROCESSES, *AIMS]
    if not args.own and LIMIT not in args.contender:
        parser.error(f"without --own the loads are parts of what {LIMIT!r} can do: --contender must name it")
    return args


def main() -> None:
    """Run the command line."""
    args = arguments()
    if any(CONTENDERS[each].is_peer for each in args.contender):
        peers.ensure()
    report: dict[str, Any] = {
        "machine": machine(),
        "settings": {key: value for key, value in vars(args).items() if key != "json"},
        "workloads": {},
    }
    plots: dict[str, Plot] = {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "broker", port=0, ends_with_us=True) as broker,
    ):
        for each in args.workload or [WORKLOADS[0].name]:
            bench = Bench(broker, each, Path(scratch), args)
            try:
                found = report["workloads"][each] = measure(bench, args.contender, args)
            finally:
                bench.close()
            for percent, by_contender in found["loads"].items():
                title = f"{each}, {percent} % load; median of {args.rounds} rounds, band: lowest to highest"
                plots[f"{each}-{percent}"] = curve(title, by_contender)
    report["machine"]["load_after"] = machine()["load_before"]
    write("latency", report, table(report), plots, json_file=args.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

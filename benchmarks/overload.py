"""Benchmark of a worker at three times its capacity: the share of its capacity that it still inspects.

Modes are compared in turns, with the same sender and the same broker beside the worker. The reference is the mode
``everything``: the worker sheds nothing, falls behind, and inspects as much as it can. The modes that shed follow.
Every frame has a deadline. The load is open: it does not wait for the worker.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.line_topics import PARTITIONS, Stream, appended, create, delete, ends, fill
from benchmarks.machine import described, machine
from benchmarks.open_loop import Load, Schedule, prepare, send
from benchmarks.output import bars, markdown, progress, write
from benchmarks.percentiles import percentile
from benchmarks.rounds import Spread, in_turns, ratios
from benchmarks.workloads import WORKLOADS, images, package, workload
from infra.broker import LocalBroker
from infra.demo.processes import WorkerProcess
from schemas import Decision, KafkaSettings, ResultState
from schemas.codec import decode

REFERENCE = "everything"
MODES = (REFERENCE, "deadline", "newest")
#: Offered frames, in multiples of the rate that the worker sustains.
TIMES = 3
#: Share of the reference rate that a mode must still inspect.
AIM = 0.85
_FIRST_RATE = 300.0
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """Result of a turn: frames offered and inspected a second, late frames, shed share, latency of inspected frames."""

    mode: str
    offered_per_s: float
    inspected_per_s: float
    late: int
    shed_share: float
    p50_ms: float
    p99_ms: float


def measured(mode: str, decisions: Sequence[tuple[float, Decision]], since: float, until: float, rate: float) -> Run:
    """Count the decisions that were appended between two times (seconds since 1970).

    Raises
    ------
    RuntimeError
        If no frame was inspected.
    """
    counted = [(at, decision) for at, decision in decisions if since <= at < until]
    inspected = [(at, each) for at, each in counted if each.result_state is ResultState.COMPLETED]
    if not inspected:
        raise RuntimeError(f"mode {mode}: none of {len(counted)} frames was inspected")
    latencies_ms = [1000 * at - each.captured_at_us / 1000 for at, each in inspected]
    return Run(
        mode=mode,
        offered_per_s=rate,
        inspected_per_s=len(inspected) / (until - since),
        late=sum(each.is_late for _, each in inspected),
        shed_share=1 - len(inspected) / len(counted),
        p50_ms=percentile(latencies_ms, 50),
        p99_ms=percentile(latencies_ms, 99),
    )


class Bench:
    """Broker and sender for all turns."""

    def __init__(self, broker: LocalBroker, scratch: Path, args: argparse.Namespace) -> None:
        self._servers, self._scratch, self._args = broker.bootstrap_servers, scratch, args
        self._workload = workload(args.workload)
        self._model = package(self._workload.network, scratch)
        self._numbers = itertools.count()
        self._sender = ProcessPoolExecutor(1, get_context("spawn"), initializer=prepare, initargs=(args.workload,))

    def run(self, mode: str, rate: float, seed: int) -> Run:
        """Start a worker of a mode, wait until it answers, and send."""
        args, stream = self._args, Stream(f"overload-{next(self._numbers)}")
        schedule = Schedule(rate, args.warm_up + args.seconds, args.cameras, seed)
        load = Load(
            self._servers, stream.frames, True, self._workload.name, schedule, PARTITIONS, deadline_ms=args.deadline_ms
        )
        create(self._servers, stream)
        options = ["--overload", mode, "--watchdog-s", "0", "--processes", str(args.processes)]
        if args.threads:
            options += ["--threads", str(args.threads)]
        worker = WorkerProcess(
            KafkaSettings(self._servers, stream.prefix), model=self._model, group=stream.prefix,
            log=self._scratch / f"{stream.prefix}.log", options=options,
        )  # fmt: skip
        with worker:
            worker.await_ready()
            self._settle(stream)
            begin = ends(self._servers, stream.decisions)
            sent = self._sender.submit(send, load).result()
            shift_s = time.time() - time.monotonic()
        first = sent.intended_s[0] + shift_s
        decisions = [(at, decode(value, Decision)) for at, value in appended(self._servers, stream.decisions, begin)]
        delete(self._servers, stream)
        late_ms = 1000 * percentile(sent.late_s, 99)
        run = measured(mode, decisions, first + args.warm_up, first + args.warm_up + args.seconds, rate)
        progress(
            f"{mode} at {rate:.0f}/s: inspected {run.inspected_per_s:.0f}/s, late {run.late}, shed "
            f"{run.shed_share:.0%}, p50 {run.p50_ms:.0f} ms, p99 {run.p99_ms:.0f} ms; sender late p99 {late_ms:.0f} ms"
        )
        return run

    def close(self) -> None:
        """End the sender."""
        self._sender.shutdown()

    def _settle(self, stream: Stream) -> None:
        pictures, count = images(self._workload.size_wh, self._workload.colour), 4 * PARTITIONS
        fill(self._servers, stream, pictures, self._workload.size_wh, count, count)
        until_s = time.monotonic() + _START_S
        while sum(ends(self._servers, stream.decisions)) < count:
            if time.monotonic() > until_s:
                raise RuntimeError("the worker does not answer")
            time.sleep(0.2)


def saturation(bench: Bench) -> float:
    """Return the frames a second that the worker sustains beside a sender that offers three times as many."""
    rate = _FIRST_RATE
    for _ in range(4):
        found = bench.run(REFERENCE, rate, 0).inspected_per_s
        if rate > 2 * found:
            break
        rate = TIMES * found
    return found


def measure(bench: Bench, rounds: int) -> dict[str, Any]:
    """Run all modes in turns."""
    sustained = saturation(bench)
    runs: dict[str, list[Run]] = {mode: [] for mode in MODES}
    for number, mode in in_turns(MODES, rounds):
        runs[mode].append(bench.run(mode, TIMES * sustained, number))
    inspected = {mode: [run.inspected_per_s for run in found] for mode, found in runs.items()}
    return {
        "sustained_per_s": sustained,
        "ratio": ratios(inspected, REFERENCE),
        "runs": {mode: [dataclasses.asdict(run) for run in found] for mode, found in runs.items()},
    }


def table(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    rows = []
    for mode, runs in report["runs"].items():
        figures = {name: Spread.of([run[name] for run in runs]) for name in runs[0] if name != "mode"}
        ratio, late = Spread.of(report["ratio"][mode]), sum(run["late"] for run in runs)
        verdict = "reference"
        if mode != REFERENCE:
            verdict = "met" if ratio.median >= AIM and not late else "MISSED"
        rows.append(
            [
                mode, figures["offered_per_s"], figures["inspected_per_s"], ratio, late,
                f"{figures['shed_share'].median:.0%}", figures["p50_ms"], figures["p99_ms"], verdict,
            ]
        )  # fmt: skip
    head = [
        "mode", "offered/s", "inspected/s", "of the reference", "late", "shed", "p50 ms", "p99 ms",
        f"aim: {AIM} and none late",
    ]  # fmt: skip
    return "\n".join([described(report["machine"]), "", markdown(head, rows)])


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=[each.name for each in WORKLOADS], default=WORKLOADS[0].name)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all modes")
    parser.add_argument("--seconds", type=float, default=8, help="counted seconds of each turn")
    parser.add_argument("--warm-up", type=float, default=3, help="seconds before the counted ones")
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--deadline-ms", type=int, default=500)
    parser.add_argument("--processes", type=int, default=1, help="processes of the worker")
    parser.add_argument("--threads", type=int, help="threads of each process; default: the worker's own default")
    parser.add_argument("--json", type=Path, help="file for the report instead of standard output")
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    args = arguments()
    report: dict[str, Any] = {
        "machine": machine(),
        "settings": {key: value for key, value in vars(args).items() if key != "json"},
    }
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "broker", port=0, ends_with_us=True) as broker,
    ):
        bench = Bench(broker, Path(scratch), args)
        try:
            report |= measure(bench, args.rounds)
        finally:
            bench.close()
    report["machine"]["load_after"] = machine()["load_before"]
    spreads = {mode: Spread.of([run["inspected_per_s"] for run in runs]) for mode, runs in report["runs"].items()}
    plots = {"inspected": bars(f"inspected at {TIMES} times saturation", "frames/s", spreads)}
    write("overload", report, table(report), plots, json_file=args.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

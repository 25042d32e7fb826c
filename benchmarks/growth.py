"""``python -m benchmarks.growth``: throughput by partitions and workers, and memory by cameras.

Throughput: the worker and the bare loop run with one and two processes, whose threads share the cores. They read topics
of 1, 3, 6 and 12 partitions, full of 640x480 frames for the small network. A bare loop has a consumer on each thread,
so partitions limit it; the worker spreads the frames of one partition over its threads.

Memory: a worker decides 64x64 frames of 1, 10, 100 or 1,000 camera ids, the same number of frames each time. The figure
is its resident memory at the end; its growth with the number of ids is the cost of a camera.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.backlog import backlog
from benchmarks.contenders.table import CONTENDERS, LIMIT, OURS, Task
from benchmarks.feeding import NETWORK, feed
from benchmarks.gauge import Running
from benchmarks.line_topics import Stream, create, delete, fill
from benchmarks.machine import described, machine
from benchmarks.output import Plot, lines, markdown, progress, write
from benchmarks.rounds import Spread, in_turns
from benchmarks.saturation import Saturated, saturate
from benchmarks.workloads import images, package, workload
from infra.broker import LocalBroker
from schemas.settings import KafkaSettings
from transport.machine import usable_cores
from transport.topic_setup import apply

PARTITIONS, WORKERS, CAMERAS = (1, 3, 6, 12), (1, 2), (1, 10, 100, 1000)
_WORKLOAD = "small-640x480"
_CAMERAS = 12
#: The highest sample of these last seconds of a run counts, because memory varies with the frames in flight.
_LAST_S = 2.0

Rates = dict[int, dict[str, list[Saturated]]]


def throughput(broker: LocalBroker, scratch: Path, args: argparse.Namespace) -> Rates:
    """Measure all contenders and numbers of workers in turns; return the runs by partitions and by case."""
    kind, pid, servers = workload(_WORKLOAD), broker.status().pid, broker.bootstrap_servers
    assert pid is not None
    model, pictures = package(kind.network, scratch), images(kind.size_wh, kind.colour)
    cores = usable_cores()
    cases = {f"{c}, {w} worker{'s' * (w > 1)}": (CONTENDERS[c], w) for c in args.contender for w in args.workers}
    found: Rates = {}
    for partitions in args.partitions:
        frames = backlog(model, pictures, cores, args.seconds)
        stream = Stream(f"growth-{partitions}")
        create(servers, stream, partitions)
        fill(servers, stream, pictures, kind.size_wh, frames, _CAMERAS, partitions)
        found[partitions] = {case: [] for case in cases}
        for _, case in in_turns(list(cases), args.rounds):
            contender, workers = cases[case]
            task = Task(servers, stream, "growth", model, max(1, cores // workers), workers)
            run = saturate(contender, task, pid, frames, args.seconds, partitions)
            progress(f"{partitions} partitions, {case}: {run.frames_per_s:.0f} frames/s")
            found[partitions][case].append(run)
        delete(servers, stream)
    return found


def memory(broker: LocalBroker, scratch: Path, args: argparse.Namespace) -> dict[int, list[float]]:
    """Measure the resident MiB of a worker after ``args.frames`` frames, by number of camera ids."""
    servers, pid, numbers = broker.bootstrap_servers, broker.status().pid, itertools.count()
    assert pid is not None
    model = package(NETWORK, scratch)
    found: dict[int, list[float]] = {cameras: [] for cameras in args.cameras}
    for _, text in in_turns([str(cameras) for cameras in args.cameras], args.rounds):
        cameras, stream = int(text), Stream(f"memory-{next(numbers)}")
        apply(KafkaSettings(servers, stream.prefix))
        task = Task(servers, stream, stream.prefix, model, usable_cores())
        with Running(CONTENDERS[OURS].commands(task), pid) as running:
            names = [f"camera-{number}" for number in range(cameras)]
            feed(servers, stream.prefix, names, lambda decided, _: decided >= args.frames)
            running.check()
            since = time.time() - _LAST_S
            last = [rss for at, rss in zip(running.own.times, running.own.rss, strict=False) if at >= since]
        delete(servers, stream)
        found[cameras].append(max(last) / 2**20)
        progress(f"{cameras} cameras: {found[cameras][-1]:.1f} MiB")
    return found


def kib_per_camera(found: Mapping[int, list[float]]) -> list[float]:
    """Return the KiB per camera of each round, from the fewest to the most cameras.

    Examples
    --------
    >>> kib_per_camera({1: [100.0, 101.0], 1001: [102.0, 104.0]})
    [2.048, 3.072]
    """
    few, many = min(found), max(found)
    return [1024 * (high - low) / (many - few) for low, high in zip(found[few], found[many], strict=True)]


def table(report: Mapping[str, Any], rates: Rates, cameras: Mapping[int, list[float]]) -> str:
    """Return the report as Markdown."""
    parts = [described(report["machine"])]
    if rates:
        cases = list(next(iter(rates.values())))
        rows = [
            [partitions, *(Spread.of([run.frames_per_s for run in by_case[case]]) for case in cases)]
            for partitions, by_case in rates.items()
        ]
        parts += [f"\nFrames/s, {_WORKLOAD}", markdown(["partitions", *cases], rows)]
    if cameras:
        rows = [[number, Spread.of(values)] for number, values in cameras.items()]
        parts += [
            f"\nMemory of a worker after {report['settings']['frames']} frames",
            markdown(["camera ids", "MiB"], rows),
        ]
        if len(cameras) > 1:
            parts.append(
                f"KiB a camera id, from {min(cameras)} to {max(cameras)}: {Spread.of(kib_per_camera(cameras))}"
            )
    return "\n".join(parts)


def plots(rates: Rates, cameras: Mapping[int, list[float]]) -> dict[str, Plot]:
    """Return the plots: medians as lines."""
    found: dict[str, Plot] = {}
    if rates:
        series = {
            case: [
                (partitions, Spread.of([run.frames_per_s for run in by_case[case]]).median)
                for partitions, by_case in rates.items()
            ]
            for case in next(iter(rates.values()))
        }
        found["partitions"] = lines(f"Throughput, {_WORKLOAD}", "partitions", "frames/s", series)
    if cameras:
        points = [(number, Spread.of(values).median) for number, values in cameras.items()]
        found["cameras"] = lines("Memory of a worker", "camera ids", "MiB", {"worker": points}, log_x=True)
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["throughput", "memory"], help="measure only this; default: both")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all cases")
    parser.add_argument("--seconds", type=float, default=4, help="seconds that each throughput is measured")
    parser.add_argument("--frames", type=int, default=20_000, help="frames before memory is read")
    parser.add_argument("--contender", action="append", choices=list(CONTENDERS), help="for throughput, repeat it")
    parser.add_argument("--partitions", action="append", type=int, help=f"number, repeat it; default: {PARTITIONS}")
    parser.add_argument("--workers", action="append", type=int, help=f"number, repeat it; default: {WORKERS}")
    parser.add_argument("--cameras", action="append", type=int, help=f"camera ids, repeat it; default: {CAMERAS}")
    parser.add_argument("--json", type=Path, help="file for the report instead of standard output")
    args = parser.parse_args()
    args.contender = args.contender or [OURS, LIMIT]
    args.partitions, args.workers = args.partitions or list(PARTITIONS), args.workers or list(WORKERS)
    args.cameras = args.cameras or list(CAMERAS)
    found_machine = machine()
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "broker", port=0, ends_with_us=True) as broker,
    ):
        rates = {} if args.only == "memory" else throughput(broker, Path(scratch), args)
        cameras = {} if args.only == "throughput" else memory(broker, Path(scratch), args)
    report = {
        "machine": found_machine,
        "settings": {key: value for key, value in vars(args).items() if key != "json"},
        "throughput": {
            str(partitions): {case: [asdict(run) for run in runs] for case, runs in by_case.items()}
            for partitions, by_case in rates.items()
        },
        "memory_mib": {str(number): values for number, values in cameras.items()},
    }
    write("growth", report, table(report, rates, cameras), plots(rates, cameras), json_file=args.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

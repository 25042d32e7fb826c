"""``python -m benchmarks.throughput``: frames a second at saturation, of the worker, the bare loop and the peers.

The contenders take turns: each one works for a while on a topic full of frames, and then the next round begins. The
bare loop is the limit: poll, `cv2.imdecode`, resize, ONNX, produce, on as many threads as the worker has. Ratios are to
the bare loop in the same round. Below each table is the cost of each part of the bare loop alone.

If the machine was busy with something else during a run, the run is repeated, whatever its result.

JSON goes to standard output, tables go to standard error, and both go into build/bench with the plots.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.backlog import backlog
from benchmarks.contenders import peers
from benchmarks.contenders.table import CONTENDERS, Task
from benchmarks.line_topics import Stream, create, fill
from benchmarks.machine import machine
from benchmarks.output import progress, write
from benchmarks.parts import parts
from benchmarks.rounds import in_turns
from benchmarks.saturation import Saturated, saturate
from benchmarks.throughput_report import Measured, plots, table
from benchmarks.workloads import WORKLOADS, Workload, images, package, workload
from infra.broker import LocalBroker
from transport.machine import usable_cores

_TRIES = 3


def main() -> None:
    """Run the command line."""
    args = _parser().parse_args()
    chosen = args.contender or list(CONTENDERS)
    described = machine()
    if any(CONTENDERS[name].is_peer for name in chosen):
        peers.ensure()
        described["versions"] |= peers.versions()
    found: list[Measured] = []
    try:
        for name in args.workload or [each.name for each in WORKLOADS]:
            for cameras in args.cameras or [30]:
                found.append(_measure(workload(name), chosen, cameras, args))
    except KeyboardInterrupt:
        progress("stopped; what is complete follows" if found else "stopped")
        if not found:
            sys.exit(130)
    report = {"machine": described, "options": _options(args), "workloads": [_as_json(each) for each in found]}
    write(args.name, report, table(described, found), plots(found), json_file=args.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cores = usable_cores()
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all contenders (default: 3)")
    parser.add_argument("--seconds", type=float, default=6, help="seconds of each contender in a round (default: 6)")
    names = [each.name for each in WORKLOADS]
    parser.add_argument("--workload", action="append", choices=names, help="may be repeated (default: all)")
    parser.add_argument("--contender", action="append", choices=list(CONTENDERS), help="likewise")
    parser.add_argument(
        "--cameras", action="append", type=int, metavar="N", help="likewise; each has one partition (default: 30)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes of the worker and the bare loop (default: 1)")
    parser.add_argument("--threads", type=int, help=f"threads of each of them (default: a share of {cores} cores)")
    parser.add_argument(
        "--elsewhere", type=float, default=0.3, metavar="CORES",
        help=f"a run with more cores busy with anything else is taken again, up to {_TRIES} times (default: 0.3)",
    )  # fmt: skip
    parser.add_argument("--name", default="throughput", help="name of the files in build/bench")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the report instead of standard output")
    return parser


def _measure(each: Workload, chosen: Sequence[str], cameras: int, args: argparse.Namespace) -> Measured:
    """Measure all contenders in turns on one workload, with a broker of its own."""
    threads = args.threads or max(1, usable_cores() // args.workers)
    pictures = images(each.size_wh, each.colour)
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "broker", port=0, ends_with_us=True) as broker,
    ):
        model = package(each.network, Path(scratch))
        frames = backlog(model, pictures, threads * args.workers, args.seconds)
        progress(f"{each.name}, cameras: {cameras}, frames: {frames}")
        stream = Stream(each.name)
        create(broker.bootstrap_servers, stream)
        fill(broker.bootstrap_servers, stream, pictures, each.size_wh, frames, cameras)
        pid = broker.status().pid
        assert pid is not None
        task = Task(broker.bootstrap_servers, stream, "bench", model, threads, args.workers)
        run = partial(saturate, task=task, broker_pid=pid, frames=frames, seconds=args.seconds)
        runs: dict[str, list[Saturated]] = {name: [] for name in chosen}
        failed: dict[str, str] = {}
        retaken = 0
        for number, name in in_turns(chosen, args.rounds):
            if name in failed:
                continue
            try:
                last, again = _undisturbed(partial(run, CONTENDERS[name]), args.elsewhere)
            except RuntimeError as error:  # the others go on; the earlier rounds of this contender no longer count
                failed[name] = str(error)
                del runs[name]
                progress(f"  round {number + 1}: {name} failed: {error}")
                continue
            retaken += again
            runs[name].append(last)
            progress(
                f"  round {number + 1}: {name}: {last.frames_per_s:.1f} frames/s, {last.cpu_ms:.2f} ms CPU a frame, "
                f"{last.cores:.2f} cores busy with it and {last.cores_elsewhere:.2f} elsewhere"
            )
        alone = {kind: parts(task, pictures, reduced=reduced) for kind, reduced in (("full", False), ("reduced", True))}
        gc.collect()  # remaining clients would log errors when the broker ends
    return Measured(each.name, cameras, args.workers, threads, runs, alone, failed, retaken)


def _undisturbed(run: Callable[[], Saturated], elsewhere: float) -> tuple[Saturated, int]:
    """Return an undisturbed run, or the least disturbed of `_TRIES`, and the number of repeats."""
    tries = [run()]
    while tries[-1].cores_elsewhere > elsewhere and len(tries) < _TRIES:
        progress(f"  {tries[-1].cores_elsewhere:.2f} cores were busy elsewhere: once more")
        tries.append(run())
    return min(tries, key=lambda each: each.cores_elsewhere), len(tries) - 1


def _options(args: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(args).items() if name not in ("json", "name")}


def _as_json(found: Measured) -> dict[str, Any]:
    return {
        **{each.name: getattr(found, each.name) for each in dataclasses.fields(found) if each.name != "runs"},
        "runs": {name: [dataclasses.asdict(run) for run in runs] for name, runs in found.runs.items()},
    }


if __name__ == "__main__":
    main()

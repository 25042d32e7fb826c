"""``python -m benchmarks.throughput``: frames a second of a worker beside the bare loop and beside others."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.contenders.table import CONTENDERS, LIMIT, Task
from benchmarks.line_topics import Stream, create, fill
from benchmarks.machine import described, machine
from benchmarks.rounds import Spread, ratios, run_in_turns
from benchmarks.saturation import saturate
from benchmarks.workloads import WORKLOADS, images, package, workload
from infra.broker import LocalBroker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--workload", action="append", choices=[each.name for each in WORKLOADS])
    parser.add_argument("--contender", action="append", choices=list(CONTENDERS))
    args = parser.parse_args()
    chosen = args.contender or list(CONTENDERS)
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "broker", port=0, ends_with_us=True) as broker,
    ):
        pid = broker.status().pid
        for name in args.workload or [each.name for each in WORKLOADS]:
            each = workload(name)
            model = package(each.network, Path(scratch))
            stream = Stream(name)
            create(broker.bootstrap_servers, stream)
            pictures = images(each.size_wh, each.colour)
            frames = int(args.seconds * {"demo": 300, "small": 600, "medium": 120}[each.network])
            fill(broker.bootstrap_servers, stream, pictures, each.size_wh, frames, 12)
            task = Task(broker.bootstrap_servers, stream, "bench", model, os.cpu_count() or 1)
            found = run_in_turns(
                {c: lambda c=c: saturate(CONTENDERS[c], task, pid, frames) for c in chosen}, args.rounds
            )
            rates = {c: [r.frames_per_s for r in rs] for c, rs in found.items()}
            beside = ratios(rates, LIMIT) if LIMIT in rates else rates
            for c, rs in found.items():
                print(
                    f"{name:18s} {c:28s} {Spread.of(rates[c])} ratio {Spread.of(beside[c])} cpu {Spread.of([r.cpu_ms for r in rs])} broker {Spread.of([r.broker_cpu_ms for r in rs])} mib {Spread.of([r.peak_mib for r in rs])}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""``python -m benchmarks``: all measurements, one after the other.

Each table goes to standard error as soon as it is complete, and into build/bench with its JSON and plots. If a
benchmark fails, the others still run, and its name is printed at the end. Run nothing else on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.contenders.table import FLASK, LIMIT, OURS, OURS_PROCESSES, QUIX
from benchmarks.output import progress


@dataclass(frozen=True, slots=True)
class Bench:
    """Module of this package, its arguments, and its option for the number of repeats or the duration."""

    module: str
    arguments: tuple[str, ...] = ()
    repeats: str = "--rounds"


def _with(option: str, *values: object) -> tuple[str, ...]:
    return tuple(text for value in values for text in (option, str(value)))


_SHORT = _with("--workload", "demo-300x300", "small-640x480") + _with(
    "--contender", LIMIT, OURS, OURS_PROCESSES, QUIX, FLASK
)
BENCHES = (
    Bench("throughput"),
    Bench("throughput", ("--name", "few-cameras", *_with("--cameras", 1, 3), *_SHORT)),
    Bench("throughput", ("--name", "two-workers", "--workers", "2", *_SHORT)),
    Bench("latency"),
    Bench("overload"),
    Bench("publishing"),
    Bench("growth"),
    Bench("startup"),
    Bench("soak", repeats="--minutes"),
    Bench("line_latency", repeats="--runs"),
    Bench("reinspection"),
    Bench("archive"),
)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    modules = list(dict.fromkeys(bench.module for bench in BENCHES))
    parser.add_argument("module", nargs="*", metavar="MODULE", help=f"one of {', '.join(modules)}; default: all")
    parser.add_argument("--rounds", type=int, help="rounds of each benchmark; default: its own default")
    parser.add_argument("--minutes", type=float, help="minutes of the soak; default: its own default")
    args = parser.parse_args()
    if unknown := sorted(set(args.module) - set(modules)):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(modules)}")
    failed = []
    for bench in BENCHES:
        if args.module and bench.module not in args.module:
            continue
        value = args.minutes if bench.repeats == "--minutes" else args.rounds
        repeats = () if value is None else (bench.repeats, f"{value:g}")
        command = ["-m", f"benchmarks.{bench.module}", *bench.arguments, *repeats]
        progress(f"\n== {time.strftime('%H:%M:%S')} python {' '.join(command)}")
        if subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=False).returncode:
            failed.append(bench.module)
    progress(f"\n{', '.join(failed)} FAILED" if failed else "\nall of it is in build/bench")
    sys.exit(bool(failed))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

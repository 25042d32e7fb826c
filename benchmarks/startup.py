"""``python -m benchmarks.startup``: time that the command line and a worker take to start.

Each command runs several times, in turns with the minimum for Python: ``python -c pass``, and the import of Typer,
which every command line of this kind needs. The worker is timed on an idle broker, from its start until its health
endpoint shows that it has partitions. Beside it, the table shows the import of the packages that the worker needs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import described, machine
from benchmarks.output import bars, markdown, progress, write
from benchmarks.rounds import Spread, in_turns
from infra.broker import LocalBroker
from infra.demo.processes import WorkerProcess
from schemas import KafkaSettings
from transport.topic_setup import apply

AIM_S = 0.3
HELP = "inspection --help"
WORKER = "inspection worker, until ready"


def commands() -> dict[str, list[str]]:
    """Return the commands to time, except the worker."""
    inspection = str(Path(sys.executable).with_name("inspection"))
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import typer": [sys.executable, "-c", "import typer"],
        "inspection --version": [inspection, "--version"],
        HELP: [inspection, "--help"],
        "inspection worker --help": [inspection, "worker", "--help"],
        "inspection produce --help": [inspection, "produce", "--help"],
        "inspection replay --help": [inspection, "replay", "--help"],
        "import faust, cv2, onnxruntime": [sys.executable, "-c", "import faust, cv2, onnxruntime"],
    }


def timed(command: Sequence[str]) -> float:
    """Run a command; return the seconds from start to end.

    Raises
    ------
    subprocess.CalledProcessError
        If the command fails.
    """
    began = time.perf_counter()
    # ONNX Runtime must not report its use, also where a command imports it directly.
    quiet = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=quiet)
    return time.perf_counter() - began


def until_ready(kafka: KafkaSettings, scratch: Path) -> float:
    """Start a worker; return the seconds until it is ready."""
    began = time.perf_counter()
    group = f"startup-{time.time_ns():x}"  # with a new group, no worker waits until the broker has removed the last one
    with WorkerProcess(kafka, model=None, group=group, log=scratch / "worker.log") as worker:
        worker.await_ready()
        return time.perf_counter() - began


def measure(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure the seconds of each contender in turns; the first round only fills the page cache."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number, name in in_turns(list(contenders), rounds + 1):
        took_s = contenders[name]()
        if number:
            found[name].append(took_s)
        progress(f"{'round ' + str(number) if number else 'before'}: {name}: {took_s:.2f} s")
    return found


def table(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    spreads = {name: Spread.of(values) for name, values in report["seconds"].items()}
    found = spreads[HELP].median
    return "\n".join(
        [
            described(report["machine"]),
            "",
            markdown(["started", "seconds"], list(spreads.items())),
            f"{HELP}: {found:.2f} s, aim under {AIM_S} s: {'met' if found < AIM_S else 'MISSED'}",
        ]
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all commands")
    parser.add_argument("--json", type=Path, help="file for the report instead of standard output")
    args = parser.parse_args()
    found_machine = machine()
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "broker", port=0, ends_with_us=True) as broker,
    ):
        kafka = KafkaSettings(broker.bootstrap_servers)
        apply(kafka)
        contenders: dict[str, Callable[[], float]] = {
            name: partial(timed, command) for name, command in commands().items()
        }
        contenders[WORKER] = partial(until_ready, kafka, Path(scratch))
        found = measure(contenders, args.rounds)
    report = {"machine": found_machine, "settings": {"rounds": args.rounds}, "seconds": found}
    plot = bars("Start", "seconds", {name: Spread.of(values) for name, values in found.items()})
    write("startup", report, table(report), {"seconds": plot}, json_file=args.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

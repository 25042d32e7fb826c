"""``python -m benchmarks.soak``: growth of a worker's memory over many frames in a short time.

An hour at 30 frames/s is 108,000 frames. Here, 64x64 images and a tiny network let a complete worker decide thousands
of frames a second, for ``--minutes``, from several cameras; its resident memory is sampled all the time. After a
warm-up, a straight line through the samples gives MiB per million frames, with its standard error. If the slope is
smaller than two standard errors, this run has seen no growth. ``--watch`` also runs `inspection watch` on the same
decisions, with a line of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.feeding import NETWORK, feed
from benchmarks.gauge import Running
from benchmarks.machine import described, machine
from benchmarks.output import Plot, markdown, progress, write
from benchmarks.slopes import slope
from benchmarks.workloads import package
from infra.broker import LocalBroker
from infra.demo.processes import inspection_command
from schemas import KafkaSettings
from transport.machine import usable_cores
from transport.topic_setup import apply

_SAY_S = 10.0
_SAMPLES = 2000


def commands(kafka: KafkaSettings, model: Path, args: argparse.Namespace) -> dict[str, list[str]]:
    """Return the command lines of the processes by name."""
    where = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix, "--http-port", "0"]
    worker = ["worker", "--model", str(model), "--threads", str(args.threads)]
    found = {"worker": inspection_command(*worker, *where, "--group", "soak")}
    return found | ({"watch": inspection_command("watch", *where, "--group", "soak-watch")} if args.watch else {})


def samples(running: Running, seen: Sequence[tuple[float, int]]) -> list[tuple[float, float]]:
    """Return pairs of decisions so far and resident MiB, evenly over the run from the first decision on."""
    import numpy as np

    first_s = next(at for at, decided in seen if decided)
    times = np.asarray(running.own.times)
    chosen = np.flatnonzero((times >= first_s) & (times <= seen[-1][0]))
    chosen = chosen[:: max(1, len(chosen) // _SAMPLES)]
    frames = np.interp(times[chosen], [at for at, _ in seen], [decided for _, decided in seen])
    rss = np.asarray(running.own.rss)[chosen] / 2**20
    return [(float(number), float(mib)) for number, mib in zip(frames, rss, strict=True)]


def line(found: Sequence[tuple[float, float]], warm_up: float) -> dict[str, float]:
    """Fit the straight line after the warm-up; return its slope and the memory along it."""
    after = [(number / 1e6, mib) for number, mib in found if number >= warm_up * found[-1][0]]
    growth, error = slope([number for number, _ in after], [mib for _, mib in after])
    return {
        "mib_per_million_frames": growth,
        "standard_error": error,
        "mib_after_warm_up": after[0][1],
        "mib_at_end": after[-1][1],
        "highest_mib": max(mib for _, mib in found),
    }


def table(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    rows = [
        [
            name,
            f"{each['mib_after_warm_up']:.1f}",
            f"{each['mib_at_end']:.1f}",
            f"{each['highest_mib']:.1f}",
            f"{each['mib_per_million_frames']:+.2f} ± {each['standard_error']:.2f}",
            "grows" if each["mib_per_million_frames"] > 2 * each["standard_error"] else "no growth seen",
        ]
        for name, each in report["lines"].items()
    ]
    head = ["process", "MiB after warm-up", "MiB at the end", "highest MiB", "MiB per million frames", ""]
    did = f"{report['frames']} frames in {report['seconds'] / 60:.1f} min, {report['frames_per_s']:.0f} a second"
    return "\n".join(
        [
            described(report["machine"]),
            f"\n{did}; the first {report['warm_up']:.0%} are left out",
            "",
            markdown(head, rows),
        ]
    )


def plot(by_name: Mapping[str, Sequence[tuple[float, float]]]) -> Plot:
    """Return a plot of resident memory by frames."""

    def draw(axes: Any) -> None:
        for name, found in by_name.items():
            axes.plot([number / 1e6 for number, _ in found], [mib for _, mib in found], linewidth=1, label=name)
        axes.set(title="Resident memory over a soak", xlabel="million frames", ylabel="MiB")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)

    return draw


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--warm-up", type=float, default=0.3, help="share of the frames before the line begins")
    parser.add_argument("--cameras", type=int, default=12)
    parser.add_argument("--threads", type=int, default=usable_cores(), help="threads of the worker; default: the cores")
    parser.add_argument("--watch", action="store_true", help="run `inspection watch` as well")
    parser.add_argument("--json", type=Path, help="file for the report instead of standard output")
    args = parser.parse_args()
    found_machine, said_s, seconds_wanted = machine(), 0.0, 60.0 * args.minutes
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "broker", port=0, ends_with_us=True) as broker,
        ExitStack() as stack,
    ):
        kafka, pid = KafkaSettings(broker.bootstrap_servers), broker.status().pid
        assert pid is not None
        apply(kafka)
        wanted = commands(kafka, package(NETWORK, Path(scratch)), args)
        running = {name: stack.enter_context(Running([command], pid)) for name, command in wanted.items()}

        def is_enough(decided: int, passed_s: float) -> bool:
            nonlocal said_s
            if passed_s - said_s > _SAY_S:
                said_s = passed_s
                memory = ", ".join(f"{name} {each.own.rss[-1] / 2**20:.0f} MiB" for name, each in running.items())
                progress(f"{passed_s / 60:.1f} min: {decided} frames, {memory}")
                for each in running.values():
                    each.check()
            return bool(passed_s > seconds_wanted)

        seen = feed(kafka.bootstrap_servers, kafka.prefix, [f"c{number}" for number in range(args.cameras)], is_enough)
        by_name = {name: samples(each, seen) for name, each in running.items()}
    first_s = next(at for at, decided in seen if decided)
    frames, seconds = seen[-1][1], seen[-1][0] - first_s
    report = {
        "machine": found_machine,
        "settings": {key: value for key, value in vars(args).items() if key != "json"},
        "warm_up": args.warm_up,
        "frames": frames,
        "seconds": seconds,
        "frames_per_s": frames / seconds,
        "lines": {name: line(found, args.warm_up) for name, found in by_name.items()},
        "samples": by_name,
    }
    write("soak", report, table(report), {"memory": plot(by_name)}, json_file=args.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

"""Table of `make bench-drift`, as Markdown."""

from __future__ import annotations

import platform
import statistics
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.drift.scenarios import CHANGES, STATIONARY, VIDEO


def table(results: dict[str, Any], frames: int) -> str:
    """Return the table of all contenders.

    For each scenario it has the runs in which the change was found, with median and 90th percentile of the delay. False
    alarms, CPU time and memory follow.
    """
    contenders = results["contenders"]
    names = list(contenders)
    rows = [["", *names], ["---"] * (len(names) + 1)]
    for scenario in CHANGES:
        rows.append([scenario.name, *(_delay(contenders[name][scenario.name]) for name in names)])
    for scenario in (STATIONARY, VIDEO):
        title = f"false alarms per 100,000 frames, {scenario.name}"
        rows.append([title, *(_alarms(contenders[name][scenario.name], frames) for name in names)])
    stationary = {name: contenders[name][STATIONARY.name] for name in names}
    rows.append(["CPU, us a frame", *(f"{statistics.median(r['us'] for r in stationary[n]):.0f}" for n in names)])
    rows.append(["memory of a camera, KiB", *(f"{max(r['kib'] for r in stationary[n]):.0f}" for n in names)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    concept = results["concept"]
    delays = [delay for delay in concept["delays"] if delay is not None]
    found = f"found in {len(delays)} of {len(concept['delays'])} runs"
    if delays:
        found += (
            f", median {np.median(delays):.0f} frames or {np.median(concept['labels']):.0f} labels after the change"
        )
    million = concept["false_frames"] / 100_000
    lines += [
        "",
        f"Label-only change (ours alone; the others see no labels): {found}; {concept['early']} alarms before it; "
        f"{concept['false_alarms'] / million:.2f} false alarms per 100,000 frames with labels and without a change.",
        "",
        "Delay: frames from the change to the first alarm, median / 90th percentile over the runs in which it was "
        "found; in brackets those runs, and the false alarms before the change over all runs.",
        "",
        f"River {version('river')}, Evidently {version('evidently')}, Python {platform.python_version()}, "
        f"{platform.machine()}",
    ]
    return "\n".join(lines)


def _delay(runs: list[dict[str, Any]]) -> str:
    delays = [run["delay"] for run in runs if run["delay"] is not None]
    false = sum(run["false"] for run in runs)
    found = f"({len(delays)}/{len(runs)}, {false} false)"
    if not delays:
        return f"not found {found}"
    return f"{np.median(delays):.0f} / {np.percentile(delays, 90):.0f} {found}"


def _alarms(runs: list[dict[str, Any]], frames: int) -> str:
    total = sum(run["alarms"] for run in runs)
    return f"{total / (len(runs) * frames / 100_000):.1f} ({len(runs)} x {frames:,})"

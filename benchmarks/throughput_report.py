"""Tables, aims and plots of `benchmarks.throughput`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.contenders.table import FLASK, LIMIT, LIMIT_REDUCED, OURS, OURS_PROCESSES, QUIX
from benchmarks.machine import described
from benchmarks.output import Plot, bars, markdown
from benchmarks.rounds import Spread, ratios
from benchmarks.saturation import Saturated


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of one workload: runs of each contender, cost of the parts alone, and contenders that failed.

    ``parts`` are CPU milliseconds. ``retaken`` is the number of runs that were repeated because the machine was busy
    with something else.
    """

    workload: str
    cameras: int
    workers: int
    threads: int
    runs: Mapping[str, Sequence[Saturated]]
    parts: Mapping[str, Mapping[str, float]]
    failed: Mapping[str, str]
    retaken: int = 0

    @property
    def title(self) -> str:
        """Title of the table and of the plot."""
        cameras = "1 camera" if self.cameras == 1 else f"{self.cameras} cameras"
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{self.workload}, {cameras}, {workers} of {self.threads} threads"


@dataclass(frozen=True, slots=True)
class Aim:
    """Aim: our worker reaches at least ``times`` the frames a second of another contender."""

    beside: str
    times: float


AIMS = (Aim(LIMIT, 0.90), Aim(LIMIT_REDUCED, 0.90), Aim(FLASK, 3.0), Aim(QUIX, 1.3))


def table(machine: dict[str, Any], found: Sequence[Measured]) -> str:
    """Return the report as Markdown."""
    sections = ["# Throughput", described(machine)]
    for each in found:
        sections += [f"## {each.title}", _contenders(each), _parts(each)]
    return "\n\n".join([*sections, "## Aims", _aims(found)])


def plots(found: Sequence[Measured]) -> dict[str, Plot]:
    """Return a plot for each workload: frames a second as bars."""
    return {
        f"{each.workload}-{each.cameras}-cameras": bars(
            each.title, "frames/s at saturation", {name: _spread(runs, _rate) for name, runs in each.runs.items()}
        )
        for each in found
    }


def ratio(found: Measured, beside: str, figure: Callable[[Saturated], float]) -> Mapping[str, Spread]:
    """Return the ratio of each contender's figure to that of ``beside`` in the same round; empty without ``beside``."""
    if beside not in found.runs:
        return {}
    figures = {name: [figure(run) for run in runs] for name, runs in found.runs.items()}
    return {name: Spread.of(values) for name, values in ratios(figures, beside).items()}


def _rate(run: Saturated) -> float:
    return run.frames_per_s


def _per_cpu(run: Saturated) -> float:
    return run.per_cpu_s


def _spread(runs: Sequence[Saturated], figure: Callable[[Saturated], float]) -> Spread:
    return Spread.of([figure(run) for run in runs])


def _contenders(found: Measured) -> str:
    to_limit, to_limit_cpu = ratio(found, LIMIT, _rate), ratio(found, LIMIT, _per_cpu)
    rows = [
        [
            name,
            _spread(runs, _rate),
            to_limit.get(name, ""),
            _spread(runs, lambda run: run.cpu_ms),
            _spread(runs, lambda run: run.broker_cpu_ms),
            to_limit_cpu.get(name, ""),
            f"{max(run.peak_mib for run in runs):.0f}",
            _spread(runs, lambda run: run.cores),
            f"{max(run.cores_elsewhere for run in runs):.2f}",
        ]
        for name, runs in found.runs.items()
    ]
    head = [
        "contender", "frames/s, median (lowest to highest)", "beside the bare loop", "CPU ms a frame",
        "broker's CPU ms", "frames per CPU second, broker's counted, beside the bare loop", "peak MiB",
        "cores busy", "elsewhere, at most",
    ]  # fmt: skip
    notes = [f"Failed: {name}." for name in found.failed]
    if found.retaken:
        notes.append(f"Runs taken again because the machine was busy with something else: {found.retaken}.")
    return "\n\n".join([markdown(head, rows), *notes])


def _parts(found: Measured) -> str:
    names = list(next(iter(found.parts.values())))
    rows = [
        [f"{kind} decode", *(f"{ms[name]:.2f}" for name in names), f"{sum(ms.values()):.2f}"]
        for kind, ms in found.parts.items()
    ]
    return "The parts alone, CPU ms a frame:\n\n" + markdown(["", *names, "sum"], rows)


def _aims(found: Sequence[Measured]) -> str:
    rows: list[list[object]] = []
    for each in found:
        for ours in (OURS, OURS_PROCESSES):
            if ours in each.runs:
                rows += [row for aim in AIMS for row in _beside(each, ours, aim)]
    for each in found:
        if OURS in each.runs:
            rows += _ahead(each)
    return markdown(["workload", "", "aim", "frames/s", "", "frames per CPU second"], rows)


def _beside(found: Measured, ours: str, aim: Aim) -> list[list[object]]:
    rates, per_cpu = ratio(found, aim.beside, _rate), ratio(found, aim.beside, _per_cpu)
    if ours not in rates:
        return []
    met = "met" if rates[ours].median >= aim.times else "**missed**"
    return [[found.title, ours, f"{aim.times:g} x {aim.beside}", rates[ours], met, per_cpu[ours]]]


def _ahead(found: Measured) -> list[list[object]]:
    """Return a row for each contender that is faster than both kinds of our worker and has no aim of its own."""
    best = max((OURS, OURS_PROCESSES), key=lambda name: _median(found, name))
    aimed = {aim.beside for aim in AIMS} | {OURS, OURS_PROCESSES}
    rows: list[list[object]] = []
    for name in found.runs:
        if name in aimed or _median(found, name) <= _median(found, best):
            continue
        beside = ratio(found, name, _rate)[best]
        rows.append([found.title, best, f"1 x {name}", beside, "**behind**", ratio(found, name, _per_cpu)[best]])
    return rows


def _median(found: Measured, name: str) -> float:
    """Return the median of frames a second; 0 if the contender was not measured."""
    return statistics.median(run.frames_per_s for run in found.runs[name]) if name in found.runs else 0.0

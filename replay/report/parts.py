"""Description of one part of the table, for its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from replay.analysis.table import DEFECTIVE, GOOD, Table
from replay.report.words import NONE, number, time


@dataclass(frozen=True, slots=True)
class Bar:
    """Score of one decider against its threshold; ``width`` and ``at`` are in percent."""

    name: str
    score: str
    threshold: str
    width: float
    at: float | None
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Texts about one frame."""

    frame_id: str
    alt: str
    truth: str
    truth_class: str
    actions: tuple[str, ...]
    bars: tuple[Bar, ...]
    reason: str
    facts: tuple[tuple[str, str], ...]
    command: str


def describe(table: Table, row: int, deciders: Sequence[str]) -> Part:
    """Describe a row of the table in words."""
    truth, defect = table["truth"][row], table["defect"][row]
    known = {GOOD: "good", DEFECTIVE: f"defective{f': {defect}' if defect else ''}"}
    actions = [(name, table[f"{name}.action"][row]) for name in deciders]
    several = len(deciders) > 1
    reason = next((text for name in deciders if (text := table[f"{name}.reason"][row])), "")
    facts = (
        ("part", table["part_id"][row]), ("lot", table["lot"][row]), ("camera", table["camera"][row]),
        ("taken", time(int(table["captured_at_us"][row]))), ("frame", table["frame_id"][row]),
        ("lies at", f"{table['topic'][row]}-{table['partition'][row]}@{table['offset'][row]}"),
        ("labelled as", table["sampled_because"][row]),
    )  # fmt: skip
    bars = tuple(bar for name in deciders if (bar := _bar(table, row, name)) is not None)
    partition, offset = int(table["partition"][row]), int(table["offset"][row])
    did = ", ".join(f"{name} {action}" for name, action in actions if action)
    return Part(
        frame_id=str(table["frame_id"][row]),
        alt=f"Picture of frame {table['frame_id'][row]}; {did}; label: {known.get(truth, 'none')}",
        truth=known.get(truth, "no label"),
        truth_class={GOOD: "fine", DEFECTIVE: "bad"}.get(truth, ""),
        actions=tuple(f"{name}: {action}" if several else action for name, action in actions if action),
        bars=bars,
        reason=str(reason)[:300],
        facts=tuple((name, str(text)) for name, text in facts if text not in (None, "")),
        command=f"inspection replay --offsets {partition}:{offset}-{offset + 1}",
    )


def _bar(table: Table, row: int, name: str) -> Bar | None:
    return score_bar(name, *(float(table[f"{name}.{what}"][row]) for what in ("score", "threshold")))


def score_bar(name: str, score: float, threshold: float) -> Bar | None:
    """Return the bar of a score; None if the score is not a number. NaN stands for no threshold.

    Examples
    --------
    >>> score_bar("score", 0.75, 0.5)
    Bar(name='score', score='0.75', threshold='0.5', width=75.0, at=50.0, over=True)
    """
    if not np.isfinite(score):
        return None
    has_threshold = bool(np.isfinite(threshold))
    return Bar(
        name=name,
        score=number(score),
        threshold=number(threshold) if has_threshold else NONE,
        width=round(100 * min(max(score, 0.0), 1.0), 1),
        at=round(100 * min(max(threshold, 0.0), 1.0), 1) if has_threshold else None,
        over=has_threshold and score >= threshold,
    )

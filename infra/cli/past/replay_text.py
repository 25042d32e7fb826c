"""Report at the end of a run of `inspection replay`."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli.shared.terminal_text import echo, echo_json, echo_lines, shown

if TYPE_CHECKING:
    from replay.reinspect.run import RunResult
    from replay.reinspect.summary import Summary


def show(outcome: RunResult, folder: Path | None, *, as_json: bool) -> None:
    """Print the report as text, or as one JSON object."""
    summary = outcome.summary
    rate = outcome.frames / outcome.seconds if outcome.seconds > 0 else 0.0
    if as_json:
        values = {
            **summary.to_json(),
            "different": summary.different,
            "compared": summary.compared,
            "is_finished": outcome.is_finished,
            "frames_per_second": round(rate, 1),
            "run": None if folder is None else str(folder),
        }
        echo_json(values)
        return
    echo_lines(_lines(summary))
    if outcome.frames:
        echo(f"{outcome.frames} frames in {outcome.seconds:.1f} s: {rate:.0f} frames/s")
    if not outcome.is_finished:
        again = "begin again with --out to be able to go on" if folder is None else ""
        again = again or f"go on with: inspection replay --resume {shlex.quote(str(folder))}"
        echo(f"stopped before the end; {again}", err=True)
    elif folder is not None:
        echo(f"rows: {folder}; next: inspection analyse {shlex.quote(str(folder))}")


def _lines(summary: Summary) -> list[str]:
    lines = [
        f"{summary.selected} frames selected, {summary.recorded} with a recorded decision; "
        f"{summary.inspected} inspected, {summary.unreadable} are no frames"
    ]
    for name, counts in zip(summary.names, summary.variants, strict=True):
        lines.append(f"{name}: {_counted(counts.likeness)}")
        if counts.failed:
            lines.append(f"  {counts.failed} could not be inspected")
        if counts.verdicts or counts.actions:
            lines.append(f"  verdicts changed: {_counted(counts.verdicts) or 'none'}")
            lines.append(f"  actions changed: {_counted(counts.actions) or 'none'}")
    if summary.different:
        lines.append(f"NOT REPRODUCED: {summary.different} of {summary.compared} decisions; the first:")
        for row in summary.first:
            fields = "; ".join(f"{name} {then} -> {now}" for name, (then, now) in row["fields"].items())
            lines.append(f"  {shown(row['place'])} {row['variant']}: {shown(fields)}")
    elif summary.compared:
        lines.append(f"every one of {summary.compared} comparable decisions is reproduced, byte for byte but the times")
    else:
        lines.append("no recorded decision is by these models and recipes: nothing could be compared")
    return lines


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items(), key=lambda row: (-row[1], row[0])))

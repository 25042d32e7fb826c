"""Episodes of drift as rows for programs and as text for people."""

from __future__ import annotations

import dataclasses
from typing import Any

from monitoring.drift.episodes import Episode
from schemas.json_text import plain
from schemas.moments import time_text
from schemas.text import shown


def episode_row(episode: Episode) -> dict[str, Any]:
    """Return one object for JSON: the facts under the names of the record, and the state of the episode."""
    facts = plain(dataclasses.asdict(episode.facts))  # JSON has no NaN: an unmeasured value becomes null
    for name in ("event_id", "state"):
        del facts[name]
    acknowledgement = episode.acknowledgement
    return {
        "episode_id": episode.episode_id,
        "is_open": episode.is_open,
        **facts,
        "acknowledged_by": None if acknowledgement is None else acknowledgement.acknowledged_by,
        "acknowledged_at_us": None if acknowledgement is None else acknowledgement.emitted_at_us,
        "note": "" if acknowledgement is None else acknowledgement.note,
    }


def history_rows(episode: Episode) -> list[dict[str, Any]]:
    """Return the events of an episode as rows for JSON, oldest first."""
    return [
        {
            "emitted_at_us": event.emitted_at_us,
            "state": event.state.value,
            "reason": event.reason,
            "frames": event.frames,
            "acknowledged_by": event.acknowledged_by,
            "note": event.note,
            "event_id": event.event_id,
        }
        for event in episode.history
    ]


def line_of(episode: Episode) -> str:
    """Return one line of `inspection drift list`."""
    facts = episode.facts
    what = f"{facts.drift_type.value.lower()} {facts.kind.value.lower()}" + (f" ({facts.cause})" if facts.cause else "")
    when, state = time_text(facts.detected_at_us), state_of(episode)
    return f"{episode.episode_id}  {when}  {state}  {facts.key}  {what}: {one_line(facts.reason)}"


def lines_of(episode: Episode) -> list[str]:
    """Return the lines of `inspection drift show`."""
    facts = episode.facts
    recipe = f"{facts.recipe_id} revision {facts.recipe_revision}"
    lines = [
        f"episode {episode.episode_id}: {state_of(episode)}",
        f"camera: {facts.key}, line {facts.line}" + (f", product {facts.product}" if facts.product else ""),
        f"drift: {facts.drift_type.value.lower()}, {facts.kind.value.lower()}"
        + (f", cause: {facts.cause}" if facts.cause else ""),
        f"reason: {one_line(facts.reason)}",
        f"started: {time_text(facts.started_at_us)}, frame {facts.started_frame_id}",
        f"detected: {time_text(facts.detected_at_us)}, frame {facts.detected_frame_id}; {facts.frames} frames since",
        f"model: {facts.model_name} {facts.model_version}, recipe {recipe}",
    ]
    if facts.closed_at_us is not None:
        lines.append(f"closed: {time_text(facts.closed_at_us)}, {facts.closed_because or 'no reason given'}")
    if episode.acknowledgement is not None:
        acknowledgement = episode.acknowledgement
        by, note = acknowledgement.acknowledged_by, one_line(acknowledgement.note)
        lines.append(f"acknowledged: {time_text(acknowledgement.emitted_at_us)} by {by}: {note}")
    lines += ["signals, before -> after:"] if facts.signals else []
    lines += [
        f"  {change.signal}: {change.before:.6g} -> {change.after:.6g}"
        f" ({change.magnitude_sd:+.2f} standard deviations, {change.detector})"
        for change in facts.signals
    ]
    for name, frames in (("before", facts.frames_before), ("after", facts.frames_after)):
        if frames:
            lines.append(f"frames {name}: {' '.join(frames)}")
    lines.append("history:")
    for event in episode.history:
        explanation = f"by {event.acknowledged_by}: {event.note}" if event.acknowledged_by else event.reason
        lines.append(f"  {time_text(event.emitted_at_us)}  {event.state.value.lower()}  {one_line(explanation)}")
    return lines


def state_of(episode: Episode) -> str:
    """Return ``open`` or ``closed``, with ``acknowledged`` if a person has acknowledged the episode."""
    state = "open" if episode.is_open else "closed"
    return state if episode.acknowledgement is None else f"{state}, acknowledged"


def one_line(text: str) -> str:
    r"""Return text of another program in one line; characters that would move a terminal's cursor are escaped.

    Examples
    --------
    >>> print(one_line("a\nb\x1b[2Jc"))
    a b\x1b[2Jc
    """
    return shown(" ".join(text.split()))

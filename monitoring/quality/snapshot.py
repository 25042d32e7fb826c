"""Decisions and labels as compact JSON, and the format of a state: a version, then deflated JSON. No pickle."""

from __future__ import annotations

import json
import zlib
from dataclasses import astuple
from typing import Any

from monitoring.bounded_json import inflate, parse
from monitoring.checked import MAX_LONG, fields, flag, items, mapping, optional_text, text, whole
from monitoring.errors import StateError
from monitoring.quality.outcome import DecisionSummary, ModelKey, Truth, reason
from monitoring.quality.outcome_store import OutcomeStore
from schemas.records import Action, Verdict

_VERSION = b"\x01"
#: Most bytes to which a state may inflate; we write no larger one.
MAX_INFLATED_BYTES = 16 * 1024 * 1024
_MAX_MODELS = 20_000
_MAX_ROWS = 100_000
_ACTIONS, _VERDICTS = tuple(Action), tuple(Verdict)


def pack(state: dict[str, Any]) -> bytes:
    """Return a state as bytes.

    Examples
    --------
    >>> unpack(pack({"a": 1}))
    {'a': 1}
    """
    return _VERSION + zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 6)


def unpack(data: bytes) -> dict[str, Any]:
    """Decode a state from bytes.

    Raises
    ------
    StateError
        If the bytes are of another version, or damaged.
    """
    if data[:1] != _VERSION:
        raise StateError("state of concept drift: unknown version")
    try:
        return mapping(parse(inflate(data[1:], MAX_INFLATED_BYTES), MAX_INFLATED_BYTES), 100)
    except ValueError as error:
        raise StateError(f"state of concept drift: {error}") from error


def rows(store: OutcomeStore, decisions: int) -> dict[str, Any]:
    """Return the newest decisions of a store, their labels, and waiting labels; by column, because that packs best."""
    kept, labels = store.newest(decisions)
    models = {model: at for at, model in enumerate(dict.fromkeys(summary.model for summary in kept))}
    captured = [summary.captured_at_us for summary in kept]
    return {
        "models": [[m.name, m.version, m.sha256, m.recipe_id, m.recipe_revision] for m in models],
        "frame": [summary.frame_id for summary in kept],
        "digest": [summary.digest for summary in kept],
        "part": [summary.part_id for summary in kept],
        "lot": [summary.lot for summary in kept],
        "what": [
            (_ACTIONS.index(summary.action) * 3 + _VERDICTS.index(summary.verdict)) * 2 + summary.is_completed
            for summary in kept
        ],
        "captured": captured,
        "decided_after": [summary.decided_at_us - at for summary, at in zip(kept, captured, strict=True)],
        "model": [models[summary.model] for summary in kept],
        "labels": [[*astuple(truth), matched] for truth, matched in labels],
    }


def refill(store: OutcomeStore, state: dict[str, Any]) -> None:
    """Put the result of `rows` into an empty store.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    names = ("frame", "digest", "part", "lot", "what", "captured", "decided_after", "model")
    state = fields(state, ("models", "labels", *names))
    models = [ModelKey(*map(text, items(model, 5, 5))) for model in items(state["models"], _MAX_MODELS)]
    columns = [items(state[name], _MAX_ROWS) for name in names]
    for frame, digest, part, lot, what, captured, after, model in zip(*columns, strict=True):
        kind, completed = divmod(whole(what, 0, 6 * len(_ACTIONS) - 1), 2)
        captured = whole(captured, -MAX_LONG - 1)
        store.put(
            DecisionSummary(
                text(frame), text(digest), optional_text(part), optional_text(lot), _ACTIONS[kind // 3],
                _VERDICTS[kind % 3], bool(completed), captured,
                whole(captured + whole(after, -2 * MAX_LONG, 2 * MAX_LONG), -MAX_LONG - 1),
                models[whole(model, 0, len(models) - 1)],
            )
        )  # fmt: skip
    for row in items(state["labels"], _MAX_ROWS):
        label_id, frame_id, part_id, is_defective, at_us, defect, sampled_because, matched = items(row, 8, 8)
        truth = Truth(
            text(label_id), optional_text(frame_id), optional_text(part_id), flag(is_defective),
            whole(at_us, -MAX_LONG - 1), text(defect), reason(text(sampled_because)),
        )  # fmt: skip
        if store.label(truth.label_id) is not None:
            raise ValueError("a label twice")
        store.put_label(truth, matched=flag(matched))

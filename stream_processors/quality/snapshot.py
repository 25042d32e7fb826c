"""Decisions and labels as compact JSON, and the frame around a state: a version, then deflated JSON. No pickle."""

from __future__ import annotations

import json
import zlib
from dataclasses import astuple
from typing import Any

from schemas.errors import InspectionError
from schemas.records import Action, Verdict
from stream_processors.quality.outcome import Judged, ModelKey, Truth
from stream_processors.quality.store import Store

_VERSION = b"\x01"
#: Most that a state may inflate to; a larger one is not ours.
_MAX_INFLATED_BYTES = 64 * 1024 * 1024
_ACTIONS, _VERDICTS = tuple(Action), tuple(Verdict)


class StateError(InspectionError):
    """A state that this version cannot read."""


def pack(state: dict[str, Any]) -> bytes:
    """Bytes of a state.

    Examples
    --------
    >>> unpack(pack({"a": 1}))
    {'a': 1}
    """
    return _VERSION + zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 6)


def unpack(data: bytes) -> dict[str, Any]:
    """The state of bytes.

    Raises
    ------
    StateError
        If they are of another version, or damaged.
    """
    if data[:1] != _VERSION:
        raise StateError("state of concept drift: unknown version")
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(data[1:], _MAX_INFLATED_BYTES)
        if not inflater.eof:
            raise StateError("state of concept drift: ends early, or is too large")
        found = json.loads(text)
    except (zlib.error, ValueError) as error:
        raise StateError(f"state of concept drift: {error}") from error
    if not isinstance(found, dict):
        raise StateError("state of concept drift: is none")
    return found


def rows(store: Store, decisions: int) -> dict[str, Any]:
    """The newest decisions of a store by column, their labels, and labels that wait: what packs best."""
    kept, labels = store.newest(decisions)
    models = {model: at for at, model in enumerate(dict.fromkeys(judged.model for judged in kept))}
    captured = [judged.captured_at_us for judged in kept]
    return {
        "models": [[m.name, m.version, m.sha256, m.recipe_id, m.recipe_revision] for m in models],
        "frame": [judged.frame_id for judged in kept],
        "digest": [judged.digest for judged in kept],
        "part": [judged.part_id for judged in kept],
        "lot": [judged.lot for judged in kept],
        "what": [
            (_ACTIONS.index(judged.action) * 3 + _VERDICTS.index(judged.verdict)) * 2 + judged.is_completed
            for judged in kept
        ],
        "captured": captured,
        "decided_after": [judged.decided_at_us - at for judged, at in zip(kept, captured, strict=True)],
        "model": [models[judged.model] for judged in kept],
        "labels": [[*astuple(truth), matched] for truth, matched in labels],
    }


def refill(store: Store, state: dict[str, Any]) -> None:
    """Put what `rows` gave into an empty store."""
    models = [ModelKey(*model) for model in state["models"]]
    names = ("frame", "digest", "part", "lot", "what", "captured", "decided_after", "model")
    for frame, digest, part, lot, what, captured, after, model in zip(*(state[name] for name in names), strict=True):
        kind, completed = divmod(what, 2)
        action, verdict = _ACTIONS[kind // 3], _VERDICTS[kind % 3]
        judged = Judged(
            frame, digest, part, lot, action, verdict, bool(completed), captured, captured + after, models[model]
        )
        store.put(judged)
    for *truth, matched in state["labels"]:
        store.put_label(Truth(*truth), matched=matched)

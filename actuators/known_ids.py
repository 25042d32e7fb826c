"""Subject of each decision by its id: an id that comes again with another subject is a contradiction."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from actuators.tracked_part import TrackedPart
from schemas.records import Decision


def subject(decision: Decision) -> bytes:
    """Return a digest of a decision's subject: id, camera, part, frame and capture.

    A decision repeated by its worker has the same subject, whatever its answer and time.
    """
    return _digest(
        decision.decision_id,
        decision.line,
        decision.station,
        decision.camera_id,
        decision.frame_id,
        decision.part_id,
        decision.started_at_us,
        decision.sequence,
        decision.captured_at_us,
        decision.image_sha256,
        decision.model_sha256,
        decision.recipe_revision,
        decision.is_simulated,
    )


def content(decision: Decision) -> bytes:
    """Return a digest of a decision's subject and answer: equal for repetitions only."""
    return _digest(
        subject(decision).hex(), decision.verdict, decision.action, decision.result_state, decision.model_stage,
        decision.is_partial,
    )  # fmt: skip


class KnownIds:
    """Ids of the newest decisions with their subjects. An id is a public hash, so any writer can send it.

    Bounded: once an id is forgotten, its next decision is judged as a new one. This hides no decision.

    Parameters
    ----------
    limit
        Most ids that are remembered.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._known: OrderedDict[str, tuple[bytes, TrackedPart | None]] = OrderedDict()
        self._contradicted: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def record(self, decision: Decision, tracked: TrackedPart | None) -> bool:
        """Record a decision and its part; return True if its id is known with another subject.

        A part on the belt that got an earlier decision with that id is contradicted too.
        """
        name, about = _digest(decision.decision_id).hex(), subject(decision)
        known = self._known.get(name)
        if known is not None and known[0] != about:
            self._contradicted[name] = None
            if known[1] is not None and not known[1].is_acted:
                known[1].is_contradicted = True
        self._known[name] = (about, tracked)
        self._known.move_to_end(name)
        for kept in (self._known, self._contradicted):
            if len(kept) > self._limit:
                kept.popitem(last=False)
        return name in self._contradicted


def _digest(*fields: object) -> bytes:
    # `repr` of a tuple separates the fields; the digest keeps long names out of memory.
    return hashlib.blake2b(repr(fields).encode("utf-8", "surrogatepass"), digest_size=16).digest()

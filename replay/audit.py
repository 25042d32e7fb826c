"""Accounting: every frame of the frames topic against what was said of it. No Kafka here.

The books close when {captured} = {decided} + {dead-lettered} + {counted drops}: a frame in the topic needs a decision
or a dead letter, and a gap in a camera's sequence needs a drop that the edge has counted.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from schemas.records import Action, DeadLetter, Decision, Frame, ResultState

#: Place of a message: topic, partition, offset.
Place = tuple[str, int, int]


@dataclass(slots=True)
class CameraAudit:
    """The books of one camera.

    Parameters
    ----------
    captured
        Frames by sequence: of each start of the camera, from the first to the last seen.
    frames, repeated_frames
        Different frames in the topic; further copies of them.
    gaps
        Sequence numbers that are missing; ``drops`` of them are counted at the edge.
    decided, dead_lettered
        Different frames with at least one decision; with at least one dead letter (and perhaps a decision).
    aborted, failed
        Of the decided, those never inspected: shed, or unreadable.
    duplicates
        Further copies of a decision, saying the same.
    conflicts
        Frames with two decisions of one id that differ, or of one model that differ in verdict or action.
    superseded
        Frames that were not inspected at first and later were, such as a retried dead letter.
    late_accepts
        ACCEPTs decided after their deadline: the gate does not act on them.
    pending
        Frames too young to count as forgotten.
    unaccounted
        Frames with neither decision nor dead letter.
    """

    captured: int = 0
    frames: int = 0
    repeated_frames: int = 0
    gaps: int = 0
    drops: int = 0
    decided: int = 0
    dead_lettered: int = 0
    aborted: int = 0
    failed: int = 0
    duplicates: int = 0
    conflicts: int = 0
    superseded: int = 0
    late_accepts: int = 0
    pending: int = 0
    unaccounted: int = 0

    def as_dict(self) -> dict[str, int]:
        """Names and numbers."""
        return asdict(self)


@dataclass(slots=True)
class _Books:
    """What is held of one frame: some 700 bytes with its keys, never its image."""

    captured_at_us: int
    copies: int = 1
    dead: bool = False
    decisions: dict[str, tuple[ResultState, str, str, str]] = field(default_factory=dict)
    repeats: int = 0
    conflict: bool = False
    late_accept: bool = False


class Audit:
    """Takes frames, then decisions and dead letters, in any order within each; then `cameras` has the books.

    Parameters
    ----------
    whole
        Whether the frames are the whole topic: then a start of a camera begins with sequence 0, and missing ones before
        the first seen are gaps.

    Examples
    --------
    >>> from schemas.records import Encoding
    >>> audit = Audit()
    >>> for sequence in (0, 1, 3):
    ...     audit.frame(Frame(frame_id=f"s.c.1.{sequence}", line="l", station="s", camera_id="c", started_at_us=1,
    ...                       sequence=sequence, captured_at_us=0, encoding=Encoding.JPEG, width=1, height=1, sha256="",
    ...                       image=b""))
    >>> books = audit.cameras()["s/c"]
    >>> books.captured, books.gaps, books.unaccounted
    (4, 1, 3)
    """

    def __init__(self, *, whole: bool = True) -> None:
        self._whole = whole
        self._frames: dict[str, dict[str, _Books]] = defaultdict(dict)
        self._sequences: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._unreadable: set[Place] = set()
        self._dead_places: set[Place] = set()
        self.unreadable_decisions = 0
        self.unreadable_dead_letters = 0

    def frame(self, frame: Frame) -> None:
        """Enter a frame of the topic."""
        held = self._frames[frame.key].get(frame.frame_id)
        if held is not None:
            held.copies += 1
            return
        self._frames[frame.key][frame.frame_id] = _Books(frame.captured_at_us)
        self._sequences[frame.key][frame.started_at_us].add(frame.sequence)

    def unreadable_frame(self, place: Place) -> None:
        """Enter a message of the frames topic that is no frame: it needs a dead letter."""
        self._unreadable.add(place)

    def decision(self, decision: Decision) -> None:
        """Enter a decision; one of a frame that was not entered is left out."""
        books = self._frames.get(decision.key, {}).get(decision.frame_id)
        if books is None or decision.is_simulated:
            return
        said = (decision.result_state, decision.verdict.value, decision.action.value, sys.intern(decision.model_sha256))
        before = books.decisions.get(decision.decision_id)
        if before is not None:
            books.repeats += 1
            books.conflict |= before != said
        else:
            inspected = [other for other in books.decisions.values() if other[0] is ResultState.COMPLETED]
            if decision.result_state is ResultState.COMPLETED:
                books.conflict |= any(other[3] == said[3] and other[1:3] != said[1:3] for other in inspected)
            books.decisions[decision.decision_id] = said
        books.late_accept |= decision.action is Action.ACCEPT and decision.is_late

    def dead_letter(self, letter: DeadLetter) -> None:
        """Enter a dead letter."""
        self._dead_places.add((letter.source_topic, letter.source_partition, letter.source_offset))
        if letter.frame_id is not None:
            for frames in self._frames.values():
                if letter.frame_id in frames:
                    frames[letter.frame_id].dead = True

    @property
    def unreadable(self) -> int:
        """Messages of the frames topic that are no frames."""
        return len(self._unreadable)

    @property
    def unreadable_unaccounted(self) -> int:
        """Those of them that have no dead letter."""
        return len(self._unreadable - self._dead_places)

    def cameras(
        self, *, pending_after_us: int | None = None, drops: Mapping[str, int] | None = None
    ) -> dict[str, CameraAudit]:
        """The books of each camera, by ``station/camera``.

        Parameters
        ----------
        pending_after_us
            Frames captured after it and without an answer are pending, not unaccounted.
        drops
            What each camera has counted as dropped or failed.
        """
        books = {camera: self._close(camera, pending_after_us) for camera in sorted(self._frames)}
        for camera, count in (drops or {}).items():
            books.setdefault(camera, CameraAudit()).drops = count
        return books

    def _close(self, camera: str, pending_after_us: int | None) -> CameraAudit:
        result = CameraAudit()
        for sequences in self._sequences[camera].values():
            first = 0 if self._whole else min(sequences)
            result.captured += max(sequences) - first + 1
            result.gaps += max(sequences) - first + 1 - len(sequences)
        for books in self._frames[camera].values():
            states = {state for state, *_ in books.decisions.values()}
            inspected = ResultState.COMPLETED in states
            result.frames += 1
            result.repeated_frames += books.copies - 1
            result.decided += bool(states)
            result.dead_lettered += books.dead
            result.aborted += not inspected and ResultState.ABORTED in states
            result.failed += not inspected and ResultState.FAILED in states
            result.superseded += inspected and len(states) > 1
            result.duplicates += books.repeats
            result.conflicts += books.conflict
            result.late_accepts += books.late_accept
            if not states and not books.dead:
                pending = pending_after_us is not None and books.captured_at_us > pending_after_us
                result.pending += pending
                result.unaccounted += not pending
        return result


def total(cameras: Mapping[str, CameraAudit]) -> CameraAudit:
    """The sum over cameras.

    Examples
    --------
    >>> total({"s/a": CameraAudit(frames=2), "s/b": CameraAudit(frames=3)}).frames
    5
    """
    names = [one.name for one in fields(CameraAudit)]
    return CameraAudit(**{name: sum(getattr(books, name) for books in cameras.values()) for name in names})

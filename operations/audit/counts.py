"""Figures of an audit, for the frames of one camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(slots=True)
class CameraCounts:
    """Books of one camera: numbers of frames.

    Parameters
    ----------
    captured
        Frames by sequence: of each start of the camera, from the first to the last that the topic or the edge knows.
    frames, repeated_frames
        Different frames in the topic; further copies of them.
    gaps
        Sequence numbers that are missing in the topic.
    drops
        Frames that the edge has counted as dropped or failed.
    waiting
        Gaps that may still be filled: frames in a spool, or in flight when the edge reported.
    unexplained_gaps
        Gaps beyond the count of the edge: frames that were lost silently.
    surplus_drops
        Frames that the edge has counted as lost beyond the gaps: its count, or the topic, is wrong.
    decided, dead_lettered
        Different frames with at least one decision; with at least one dead letter (and perhaps a decision).
    aborted, failed
        Decided frames that were never inspected: shed, or unreadable.
    duplicates
        Further copies of a decision with the same content, by the same group of workers.
    redundant
        Answers of a further group of workers: each group answers every frame.
    conflicts
        Frames with two images under one id; or with a decision about another image than theirs; or with two different
        decisions of one id; or with two decisions of one model that differ in verdict or action.
    disagreements
        Frames that two champion models have decided differently: a deployment in mid-stream. The gate rejects the part.
    superseded
        Frames that a group did not inspect at first but inspected later, such as a retried dead letter.
    late_accepts
        Frames whose first inspection is ACCEPT after their deadline: the gate does not act on it.
    ahead
        Frames captured in the future: the camera's clock is ahead.
    pending
        Frames that reached Kafka too recently to count as forgotten.
    unaccounted
        Frames with neither a decision nor a dead letter.
    """

    captured: int = 0
    frames: int = 0
    repeated_frames: int = 0
    gaps: int = 0
    drops: int = 0
    waiting: int = 0
    unexplained_gaps: int = 0
    surplus_drops: int = 0
    decided: int = 0
    dead_lettered: int = 0
    aborted: int = 0
    failed: int = 0
    duplicates: int = 0
    redundant: int = 0
    conflicts: int = 0
    disagreements: int = 0
    superseded: int = 0
    late_accepts: int = 0
    ahead: int = 0
    pending: int = 0
    unaccounted: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the figures by name."""
        return asdict(self)


def total(cameras: Mapping[str, CameraCounts]) -> CameraCounts:
    """Return the sum over all cameras.

    Examples
    --------
    >>> total({"s/a": CameraCounts(frames=2), "s/b": CameraCounts(frames=3)}).frames
    5
    """
    names = [one.name for one in fields(CameraCounts)]
    return CameraCounts(**{name: sum(getattr(counts, name) for counts in cameras.values()) for name in names})

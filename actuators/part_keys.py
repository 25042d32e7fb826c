"""Keys under which a gate finds the part of a trigger or of a decision."""

from __future__ import annotations

from collections.abc import Collection

from actuators.tracked_part import PartKey
from schemas.part_ids import real_part_id
from schemas.records import Decision


class PartKeys:
    """Rule that names parts: by the part id; without one by the frame; without a frame by camera and capture.

    Parameters
    ----------
    no_part_ids
        Texts that a device sends if it has read no part id, such as ``NOREAD``.

    Examples
    --------
    >>> keys = PartKeys(["NOREAD"])
    >>> keys.of_trigger("press", "p7", "top", "f1", 5)
    ('press', 'p7')
    >>> keys.of_trigger("press", "NOREAD", "top", "f1", 5), keys.of_trigger("press", "NOREAD", "top", None, 5)
    (('press', 'f1'), ('press', 'top@5'))
    """

    def __init__(self, no_part_ids: Collection[str] = ()) -> None:
        self._no_part_ids = tuple(no_part_ids)

    def of_trigger(
        self, station: str, part_key: str, camera_id: str, frame_id: str | None, captured_at_us: int
    ) -> PartKey:
        """Return the key of the part that a trigger announces."""
        if (part_id := real_part_id(part_key, self._no_part_ids)) is not None:
            return station, part_id
        return station, frame_id or _nameless(camera_id, captured_at_us)

    def of_decision(self, decision: Decision) -> tuple[PartKey, ...]:
        """Return the possible keys of the part of a decision; the second one is for a trigger without a frame id."""
        if (part_id := real_part_id(decision.part_id, self._no_part_ids)) is not None:
            return ((decision.station, part_id),)
        nameless = _nameless(decision.camera_id, decision.captured_at_us)
        return (decision.station, decision.frame_id), (decision.station, nameless)


def _nameless(camera_id: str, captured_at_us: int) -> str:
    return f"{camera_id}@{captured_at_us}"

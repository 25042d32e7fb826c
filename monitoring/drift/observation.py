"""Observation of one frame of a camera, which is all that the episode tracker gets to know of it."""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.drift.detector_bank import Alarm
from monitoring.drift.levels import Levels
from monitoring.drift.sensor import SensorFault


@dataclass(frozen=True, slots=True)
class Observation:
    """Facts about one frame.

    Parameters
    ----------
    camera
        ``station/camera``.
    frame_id, captured_at_us
        Identity of the frame, and its time of capture (UTC).
    recent_ids
        Ids of the camera's newest frames, this one last.
    is_warming
        True if the camera warms up.
    is_watched
        True if the detectors have processed the frame.
    alarms
        Changes that the detectors found at this frame.
    completes_block
        True if the frame completes a block of watched frames.
    fault
        Fault of the sensor that lasts at this frame; None if there is no fault.
    levels
        Levels of the signals, this frame included.
    """

    camera: str
    frame_id: str
    captured_at_us: int
    recent_ids: tuple[str, ...]
    is_warming: bool
    is_watched: bool
    alarms: tuple[Alarm, ...]
    completes_block: bool
    fault: SensorFault | None
    levels: Levels

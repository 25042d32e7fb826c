"""Computation of a part's times at the gate from the moment of its capture."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPart:
    """Part on its way from the camera to the gate.

    Parameters
    ----------
    part_key
        Serial of the part, or the frame id if parts have no serials: `Decision.part_key`. Equal keys of one station are
        one part, whichever of its cameras saw it.
    station, camera_id
        Station and camera of the capture.
    captured_at_us
        UTC microseconds of the capture; it also distinguishes two passes of the same part.
    act_at_s, decide_by_s
        Monotonic seconds: the arrival at the gate, and the last moment at which a decision counts
        (never later than ``act_at_s``).
    frame_id
        Frame that shows the part, if the trigger knows it; None for a light barrier. It distinguishes a repeated
        trigger from a second view of the part.
    """

    part_key: str
    station: str
    camera_id: str
    captured_at_us: int
    act_at_s: float
    decide_by_s: float
    frame_id: str | None = None


def schedule(
    clock: Clock,
    *,
    part_key: str,
    station: str,
    camera_id: str,
    captured_at_us: int,
    belt_ms: float,
    decide_by_ms: float | None = None,
    age_s: float | None = None,
    frame_id: str | None = None,
) -> ExpectedPart:
    """Place a part on the gate's own clock, once, when its trigger is received.

    From then on nothing depends on the wall clock: if somebody sets it an hour forward, every part still gets its
    action on time. Only the age of the trigger depends on it. The age is limited to the range from 0 (a capture "in
    the future" happened just now) to ``belt_ms`` (an older part is at the gate now, at the latest). A gate
    lives through such jumps, and passes the age that its `CaptureAgeEstimator` computes.

    Time stands for a position here, so **the belt's speed must be constant**. A belt that stops has to be reported
    (`GateRunner.belt_stopped`); a belt that slips, changes its speed or runs backwards brings parts at another time.

    Parameters
    ----------
    belt_ms
        Time from the camera to the gate.
    decide_by_ms
        Time from the capture to the last moment at which a decision counts; None or more than ``belt_ms``: the arrival.
    age_s
        Seconds since the capture; None: computed from the wall clock.
    frame_id
        Frame that shows the part, if known.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock(utc_us=5_100_000, monotonic_s=40.0)
    >>> part = schedule(clock, part_key="p", station="s", camera_id="c", captured_at_us=5_000_000,
    ...                 belt_ms=800, decide_by_ms=500)
    >>> round(part.act_at_s, 3), round(part.decide_by_s, 3)
    (40.7, 40.4)
    """
    if age_s is None:
        age_s = (clock.utc_us() - captured_at_us) / 1e6
    age_s = min(max(age_s, 0.0), belt_ms / 1e3)
    captured_at_s = clock.monotonic_s() - age_s
    decide_ms = belt_ms if decide_by_ms is None else min(decide_by_ms, belt_ms)
    return ExpectedPart(
        part_key=part_key,
        station=station,
        camera_id=camera_id,
        captured_at_us=captured_at_us,
        act_at_s=captured_at_s + belt_ms / 1e3,
        decide_by_s=captured_at_s + decide_ms / 1e3,
        frame_id=frame_id,
    )

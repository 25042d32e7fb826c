"""From the moment of a capture to the moments that matter at the gate."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPart:
    """A part on its way from the camera to the gate.

    Parameters
    ----------
    part_key
        Serial of the part, or the frame id where parts have none: `Decision.part_key`. Equal keys of one station are
        one part, whichever of its cameras saw it.
    station, camera_id
        Where it was captured.
    captured_at_us
        UTC microseconds of the capture; it also tells two passes of the same part apart.
    act_at_s, decide_by_s
        Monotonic seconds: when it is at the gate, and the last moment at which a decision counts
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

    From here on nothing depends on the wall clock: set it an hour forward and every part still gets its answer on
    time. The age of the trigger is the one wall-clock figure used; it is taken to lie between 0 (a capture "in
    the future" happened just now) and ``belt_ms`` (an older one is at the gate at the latest now). A gate, which
    lives through such jumps, passes the age that its `CaptureAge` makes of them.

    Time stands for a position here, so **the belt's speed must be constant**. A belt that stops has to be reported
    (`GateRunner.belt_stopped`); a belt that slips, changes its speed or runs backwards brings parts at another time.

    Parameters
    ----------
    belt_ms
        From the camera to the gate.
    decide_by_ms
        From the capture to the last moment a decision counts; None or more than ``belt_ms``: the arrival.
    age_s
        Seconds since the capture; None: what the wall clock says.
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

"""Stream of errors: River's DDM, HDDM_A and ADWIN raise a suspicion, a likelihood ratio decides.

The rule. Each of the three detectors watches the outcomes (1 is an error), set so that it is quick and often wrong. A
drift that one of them detects opens a suspicion for `SUSPICION_LABELS` labels. While it is open, each further error
asks `change_point.rise` for the best split of the stream; a log likelihood ratio of `MIN_RATIO` or more is an alarm.
So the false alarms are those of the ratio, however nervous the detectors are, and only a rise can be an alarm.

The budget is one false alarm in 100,000 labels of a stationary stream of independent outcomes; docs/labels.md has the
measurements.

J. Gama et al., "Learning with Drift Detection", SBIA 2004 (DDM). I. Frías-Blanco et al., "Online and Non-Parametric
Drift Detection Methods Based on Hoeffding's Bounds", IEEE TKDE 27(3), 2015 (HDDM_A). A. Bifet and R. Gavaldà, "Learning
from Time-Changing Data with Adaptive Windowing", SDM 2007 (ADWIN).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from river.drift import ADWIN
from river.drift.binary import DDM, HDDMA

from monitoring.checked import MAX_LONG, fields, flag, items, text, whole
from monitoring.quality.change_point import ChangePoint, rise

#: Number of labels for which a suspicion stays open.
SUSPICION_LABELS = 2048
#: Log likelihood ratio from which a suspicion is an alarm.
MIN_RATIO = 11.5
#: Least number of labels before a stream can alarm.
MIN_LABELS = 50
#: Outcomes kept one by one: at least the newest `KEPT`, at most twice that number. Older ones are only counted.
KEPT = 1024
_DETECTORS = {"DDM", "HDDM_A", "ADWIN"}
_MAX_EARLIER = 2**53


@dataclass(frozen=True, slots=True)
class Point:
    """Outcome in the stream: its frame, time of capture (UTC µs), and True if it was an error."""

    frame_id: str
    captured_at_us: int
    is_error: bool


@dataclass(frozen=True, slots=True)
class Rise:
    """Alarm of one stream.

    ``detectors`` are the detectors that raised the suspicion, ``points`` the newest outcomes kept, of which
    ``change.index`` is the first after the change.
    """

    detectors: tuple[str, ...]
    change: ChangePoint
    points: tuple[Point, ...]


class ErrorStream:
    """Outcomes of one kind in the order in which they became known.

    After an alarm the outcomes since the change are the new normal: one rise is one alarm. The detectors' state is a
    function of the kept outcomes, so a restored stream continues exactly as if it had not been interrupted. If a newer
    label corrects an outcome that is still kept, it is corrected here too.

    Examples
    --------
    >>> stream = ErrorStream()
    >>> found = [stream.update(Point(f"f{n}", n, n >= 300 and n % 2 == 0)) for n in range(400)]
    >>> [alarm] = [one for one in found if one]
    >>> alarm.change.before, alarm.points[alarm.change.index].frame_id
    (0.0, 'f300')
    """

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._earlier = 0
        self._earlier_errors = 0
        self._open = 0
        self._suspects: set[str] = set()
        self._stale = False
        self._start()

    @property
    def labels(self) -> int:
        """Number of outcomes since the stream began, or since its last alarm."""
        return self._earlier + len(self._points)

    @property
    def error_rate(self) -> float | None:
        """Share of errors in the newest 100 outcomes; None if there are no outcomes."""
        newest = self._points[-100:]
        return sum(point.is_error for point in newest) / len(newest) if newest else None

    def update(self, point: Point) -> Rise | None:
        """Process the next outcome; return the alarm that it raises, if any."""
        if self._stale:
            self._replay()
        self._points.append(point)
        self._open = max(0, self._open - 1)
        if not self._open:
            self._suspects.clear()
        self._suspects |= self._feed(point)
        alarm = self._decide() if point.is_error and self._suspects else None
        if len(self._points) >= 2 * KEPT:
            gone = self._points[:KEPT]
            self._earlier += KEPT
            self._earlier_errors += sum(one.is_error for one in gone)
            self._points = self._points[KEPT:]
            self._replay()
        return alarm

    def correct(self, frame_id: str, is_error: bool | None) -> None:
        """Correct an outcome that is still kept; None removes it."""
        for at in range(len(self._points) - 1, -1, -1):
            if self._points[at].frame_id == frame_id:
                if self._points[at].is_error == is_error:
                    return
                old = self._points.pop(at)
                if is_error is not None:
                    self._points.insert(at, Point(frame_id, old.captured_at_us, is_error))
                self._stale = True
                return

    def to_state(self) -> dict[str, Any]:
        """Return the whole state as JSON."""
        return {
            "frames": [point.frame_id for point in self._points],
            "captured": [point.captured_at_us for point in self._points],
            "errors": "".join("01"[point.is_error] for point in self._points),
            "earlier": [self._earlier, self._earlier_errors],
            "open": self._open,
            "suspects": sorted(self._suspects),
            "stale": self._stale,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ErrorStream:
        """Return the stream of a state; raise ValueError for anything else."""
        state = fields(state, ("frames", "captured", "errors", "earlier", "open", "suspects", "stale"))
        stream = cls()
        errors = [bit == "1" for bit in text(state["errors"], 2 * KEPT)]
        frames = [text(frame_id) for frame_id in items(state["frames"], 2 * KEPT)]
        captured = [whole(at_us, -MAX_LONG - 1) for at_us in items(state["captured"], 2 * KEPT)]
        stream._points = [Point(*one) for one in zip(frames, captured, errors, strict=True)]
        earlier, earlier_errors = items(state["earlier"], 2, 2)
        stream._earlier = whole(earlier, 0, _MAX_EARLIER)
        stream._earlier_errors = whole(earlier_errors, 0, stream._earlier)
        stream._replay()
        suspects = {text(name) for name in items(state["suspects"], len(_DETECTORS))}
        if not suspects <= _DETECTORS:
            raise ValueError("a detector that is not known")
        stream._open, stream._suspects = whole(state["open"], 0, SUSPICION_LABELS), suspects
        stream._stale = flag(state["stale"])
        return stream

    def _start(self) -> None:
        self._ddm = DDM(drift_threshold=2.5)
        self._hddm = HDDMA(drift_confidence=0.01)
        self._adwin = ADWIN(delta=0.05, clock=8)

    def _replay(self) -> None:
        self._start()
        for point in self._points:
            for detector in (self._ddm, self._hddm, self._adwin):
                detector.update(int(point.is_error))
        self._stale = False

    def _feed(self, point: Point) -> set[str]:
        error = int(point.is_error)
        seen = set()
        for name, detector in (("DDM", self._ddm), ("HDDM_A", self._hddm), ("ADWIN", self._adwin)):
            detector.update(error)
            if detector.drift_detected:
                seen.add(name)
                self._open = SUSPICION_LABELS
        return seen

    def _decide(self) -> Rise | None:
        if self.labels < MIN_LABELS:
            return None
        change = rise([point.is_error for point in self._points], self._earlier, self._earlier_errors)
        if change.log_likelihood_ratio < MIN_RATIO:
            return None
        alarm = Rise(tuple(sorted(self._suspects)), change, tuple(self._points))
        self._points = self._points[change.index :]
        self._earlier = self._earlier_errors = self._open = 0
        self._suspects.clear()
        self._replay()
        return alarm

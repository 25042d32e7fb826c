"""Estimates of the time of an answer, learnt from earlier ones: one for each kind of frame, one for publishing.

A frame is shed if its estimate exceeds its remaining time, and a shed frame teaches nothing about inspection. So an
estimate must not be able to stay high on its own: a sample counts no more than its frame's deadline, an estimate
without samples decays, and the sample of a probe replaces all earlier samples (`stream_processors.worker.probes`).
Publishing is learnt from every answer, including answers to shed frames.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from schemas.records import Encoding, Frame

#: Most that a sample of a frame without a deadline counts, in milliseconds.
NO_DEADLINE_CAP_MS = 1_000.0
#: Time after a sample for which an estimate keeps its value, in seconds; then it halves once in each such time.
_KEPT_S = _HALF_LIFE_S = 1.0
#: Most kinds of frames that are remembered. Senders choose sizes and deadlines, so their number must be bounded.
_MOST_KINDS = 256


class DurationEstimate:
    """Smoothed mean plus four smoothed deviations, in milliseconds; decays while no sample comes.

    This is the rule of TCP for its retransmission timer, with the same gains (RFC 6298, section 2): one slow sample
    raises the estimate at once, many quick samples lower it slowly. Not thread-safe.

    Examples
    --------
    >>> estimate = DurationEstimate()
    >>> estimate.ms(at_s=0.0)
    0.0
    >>> estimate.update(10.0, at_s=0.0)
    >>> estimate.ms(at_s=1.0), estimate.ms(at_s=3.0)
    (30.0, 7.5)
    """

    __slots__ = ("_at_s", "_deviation_ms", "_mean_ms")

    def __init__(self) -> None:
        self._mean_ms: float | None = None
        self._deviation_ms = 0.0
        self._at_s = 0.0

    def update(self, took_ms: float, at_s: float, *, replaces: bool = False) -> None:
        """Learn a sample, taken at ``at_s`` of a monotonic clock; with ``replaces`` forget all earlier samples."""
        if self._mean_ms is None or replaces:
            self._mean_ms, self._deviation_ms = took_ms, took_ms / 2
        else:
            share = self._share_left(at_s)
            mean_ms, deviation_ms = self._mean_ms * share, self._deviation_ms * share
            self._deviation_ms = deviation_ms + (abs(took_ms - mean_ms) - deviation_ms) / 4
            self._mean_ms = mean_ms + (took_ms - mean_ms) / 8
        self._at_s = at_s

    def ms(self, at_s: float) -> float:
        """Return the time that the next inspection is allowed to take; 0 before the first sample."""
        return 0.0 if self._mean_ms is None else (self._mean_ms + 4 * self._deviation_ms) * self._share_left(at_s)

    def mean_ms(self, at_s: float) -> float:
        """Return the time that the next inspection takes on average; 0 before the first sample."""
        return 0.0 if self._mean_ms is None else self._mean_ms * self._share_left(at_s)

    def _share_left(self, at_s: float) -> float:
        # The exponent is bounded: a power of 0.5 underflows to 0 long before.
        return float(0.5 ** min(1_000.0, max(0.0, at_s - self._at_s - _KEPT_S) / _HALF_LIFE_S))


@dataclass(frozen=True, slots=True)
class FrameKind:
    """Kind of frames with about the same time: encoding, and pixels, bytes and deadline to the next power of two."""

    encoding: Encoding
    pixels_log2: int
    bytes_log2: int
    deadline_log2: int


def kind_of(frame: Frame) -> FrameKind:
    """Return the kind of a frame, from its own fields.

    Examples
    --------
    >>> frame = Frame(frame_id="s.c.1.0", line="l", station="s", camera_id="c", started_at_us=1, sequence=0,
    ...               captured_at_us=0, deadline_ms=500, encoding=Encoding.JPEG, width=300, height=300, sha256="",
    ...               image=bytes(14_000))
    >>> kind_of(frame)
    FrameKind(encoding=<Encoding.JPEG: 'JPEG'>, pixels_log2=17, bytes_log2=14, deadline_log2=9)
    """
    size_bytes = len(frame.image) if frame.image is not None else frame.reference.size_bytes if frame.reference else 0
    return FrameKind(
        frame.encoding,
        (max(frame.width, 0) * max(frame.height, 0)).bit_length(),
        max(size_bytes, 0).bit_length(),
        max(frame.deadline_ms or 0, 0).bit_length(),
    )


@dataclass(slots=True)
class _OfKind:
    """Knowledge of one kind: its estimate, and the mean time of one frame if several are inspected together."""

    inspection: DurationEstimate = field(default_factory=DurationEstimate)
    frame_ms: float | None = None


class Times:
    """Estimates by kind of frame, and the estimate of publishing. Thread-safe.

    Examples
    --------
    >>> times = Times()
    >>> big, small = FrameKind(Encoding.PNG, 27, 20, 0), FrameKind(Encoding.JPEG, 17, 14, 9)
    >>> times.inspected(big, 900.0, at_s=0.0)
    >>> times.needed_ms(small, at_s=0.0), times.needed_ms(big, at_s=0.0)
    (0.0, 2700.0)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: OrderedDict[FrameKind, _OfKind] = OrderedDict()
        self._publishing = DurationEstimate()

    def inspected(self, kind: FrameKind, took_ms: float, at_s: float, *, replaces: bool = False) -> None:
        """Learn the time from the beginning of an inspection to its answer."""
        with self._lock:
            self._of(kind).inspection.update(took_ms, at_s, replaces=replaces)

    def published(self, took_ms: float, at_s: float, *, replaces: bool = False) -> None:
        """Learn the time from sending an answer to its acknowledgement."""
        with self._lock:
            self._publishing.update(took_ms, at_s, replaces=replaces)

    def needed_ms(self, kind: FrameKind, at_s: float, deadline_ms: float | None = None) -> float:
        """Return the time that inspecting and publishing may take together; 0 if the time is unknown.

        It is no more than half-way from their mean to the deadline: otherwise, if times vary much, a frame that is
        most likely in time would be shed as soon as it comes.
        """
        with self._lock:
            known = self._kinds.get(kind)
            parts = [self._publishing] if known is None else [known.inspection, self._publishing]
            allowed_ms = sum(part.ms(at_s) for part in parts)
            if deadline_ms is None:
                return allowed_ms
            mean_ms = sum(part.mean_ms(at_s) for part in parts)
            return min(allowed_ms, max(mean_ms, (mean_ms + deadline_ms) / 2))

    def taken(self, kind: FrameKind, frame_ms: float) -> None:
        """Learn the time of each frame of a batch that was inspected together."""
        with self._lock:
            known = self._of(kind)
            known.frame_ms = frame_ms if known.frame_ms is None else known.frame_ms + (frame_ms - known.frame_ms) / 4

    def frame_ms(self, kind: FrameKind) -> float | None:
        """Return the mean time of one frame; None if unknown."""
        with self._lock:
            known = self._kinds.get(kind)
            return None if known is None else known.frame_ms

    def _of(self, kind: FrameKind) -> _OfKind:
        known = self._kinds.get(kind)
        if known is None:
            known = self._kinds[kind] = _OfKind()
            if len(self._kinds) > _MOST_KINDS:
                self._kinds.popitem(last=False)
        else:
            self._kinds.move_to_end(kind)
        return known


def capped_ms(took_ms: float, deadline_ms: float | None) -> float:
    """Return a sample limited to the deadline of its frame.

    A frame that was delayed by a minute teaches no more than a frame that was slightly late.

    Examples
    --------
    >>> capped_ms(60_000.0, 500), capped_ms(12.0, 500), capped_ms(60_000.0, None)
    (500.0, 12.0, 1000.0)
    """
    return min(took_ms, NO_DEADLINE_CAP_MS if deadline_ms is None else max(0.0, float(deadline_ms)))

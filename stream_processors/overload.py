"""What a worker does with frames that come faster than it can inspect them: pure rules, no Kafka.

A frame is shed when its answer could only be late; shedding happens before the image is decoded, and the frame gets
an ``ABORTED`` decision with the reason. Nothing is dropped in silence.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.records import MICROSECONDS_PER_MS, Frame

#: Cameras whose newest frame is remembered; more only cost a frame inspected that had been superseded.
_CAMERAS = 10_000


class Overload(StrEnum):
    """The modes of a station.

    ``deadline`` sheds what can no longer be decided in time; frames without a deadline are inspected. ``newest`` sheds,
    besides, what a newer frame of its camera has overtaken. ``everything`` sheds nothing: decisions may be late.
    """

    DEADLINE = "deadline"
    NEWEST = "newest"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class OverloadPolicy:
    """The mode of each station, and that of all others.

    Examples
    --------
    >>> policy = OverloadPolicy(stations={"archive": Overload.EVERYTHING})
    >>> policy.of("archive").value, policy.of("press").value
    ('everything', 'deadline')
    """

    default: Overload = Overload.DEADLINE
    stations: Mapping[str, Overload] = field(default_factory=dict)

    def of(self, station: str) -> Overload:
        """Mode of a station."""
        return self.stations.get(station, self.default)


class Estimate:
    """How long an answer takes: smoothed mean plus four smoothed deviations.

    The rule that TCP uses for its retransmission timer, with the same gains (RFC 6298, section 2): one slow frame
    raises it at once, many quick ones lower it slowly. Safe to use from several threads.

    Examples
    --------
    >>> estimate = Estimate()
    >>> estimate.ms
    0.0
    >>> estimate.update(10.0)
    >>> estimate.ms
    30.0
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mean_ms: float | None = None
        self._deviation_ms = 0.0

    def update(self, took_ms: float) -> None:
        """Learn from an inspected frame: decode, inference and acknowledgement together."""
        with self._lock:
            if self._mean_ms is None:
                self._mean_ms, self._deviation_ms = took_ms, took_ms / 2
            else:
                self._deviation_ms += (abs(took_ms - self._mean_ms) - self._deviation_ms) / 4
                self._mean_ms += (took_ms - self._mean_ms) / 8

    @property
    def ms(self) -> float:
        """What the next one is allowed to take; 0 before the first."""
        with self._lock:
            return 0.0 if self._mean_ms is None else self._mean_ms + 4 * self._deviation_ms


class Newest:
    """The newest frame that has been read of each camera, by partition, key and offset.

    Examples
    --------
    >>> newest = Newest()
    >>> newest.read(0, b"press/top", 7)
    >>> newest.overtaken(0, b"press/top", 6), newest.overtaken(0, b"press/top", 7)
    (True, False)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offsets: OrderedDict[tuple[int, bytes], int] = OrderedDict()

    def read(self, partition: int, key: bytes | None, offset: int) -> None:
        """A frame has been read from Kafka and waits for its turn."""
        with self._lock:
            place = (partition, key or b"")
            self._offsets[place] = offset
            self._offsets.move_to_end(place)
            if len(self._offsets) > _CAMERAS:
                self._offsets.popitem(last=False)

    def overtaken(self, partition: int, key: bytes | None, offset: int) -> bool:
        """Whether a newer frame of the camera waits."""
        with self._lock:
            return self._offsets.get((partition, key or b""), offset) > offset


def why_shed(frame: Frame, mode: Overload, *, now_us: int, needed_ms: float, overtaken: bool) -> tuple[str, str] | None:
    """Why a frame is not worth inspecting any more, as a word and a sentence; None if it is.

    Parameters
    ----------
    frame
        Its deadline is by the clock of its camera.
    mode
        Of its station.
    now_us
        UTC microseconds by the worker's clock.
    needed_ms
        What an inspection is allowed to take, see `Estimate`.
    overtaken
        Whether a newer frame of the camera waits, see `Newest`.

    Examples
    --------
    >>> from schemas.records import Encoding
    >>> frame = Frame(frame_id="s.c.1.0", line="l", station="s", camera_id="c", started_at_us=1, sequence=0,
    ...               captured_at_us=0, deadline_ms=500, encoding=Encoding.JPEG, width=2, height=2, sha256="",
    ...               image=b"")
    >>> why_shed(frame, Overload.DEADLINE, now_us=480_000, needed_ms=30, overtaken=False)
    ('deadline', 'an inspection takes up to 30 ms and the deadline is in 20 ms')
    >>> why_shed(frame, Overload.DEADLINE, now_us=400_000, needed_ms=30, overtaken=True) is None
    True
    """
    if mode is Overload.EVERYTHING:
        return None
    if mode is Overload.NEWEST and overtaken:
        return "overtaken", "a newer frame of the camera is there"
    if frame.deadline_at_us is None:
        return None
    left_ms = (frame.deadline_at_us - now_us) / MICROSECONDS_PER_MS
    if left_ms < 0:
        return "deadline", f"the deadline was {-left_ms:.0f} ms ago"
    if left_ms < needed_ms:
        return "deadline", f"an inspection takes up to {needed_ms:.0f} ms and the deadline is in {left_ms:.0f} ms"
    return None

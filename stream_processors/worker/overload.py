"""Rules for frames that come faster than a worker can inspect them. Pure: no Kafka.

A frame is shed if its answer could only be late. Shedding happens before the image is decoded, and the frame gets
an ``ABORTED`` decision with the reason. No frame is dropped silently.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.records import MICROSECONDS_PER_MS, Frame

#: Cameras whose newest frame is remembered; with more cameras, some overtaken frames are inspected needlessly.
_CAMERAS = 10_000
#: Longest key of a message that is remembered as it is, in bytes: above the names of a station and a camera.
_LONGEST_KEY = 1024
#: A frame counts as overtaken by a newer one that was read at least this time ago, in seconds.
_GRACE_S = 0.1


class Overload(StrEnum):
    """Modes of a station.

    ``deadline`` sheds frames that can no longer be decided in time; frames without a deadline are inspected. ``newest``
    also sheds frames that a newer frame of their camera has overtaken. ``everything`` sheds nothing: decisions may be
    late.
    """

    DEADLINE = "deadline"
    NEWEST = "newest"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class OverloadPolicy:
    """Mode of each station, and mode of all other stations.

    Examples
    --------
    >>> policy = OverloadPolicy(stations={"archive": Overload.EVERYTHING})
    >>> policy.of("archive").value, policy.of("press").value
    ('everything', 'deadline')
    """

    default: Overload = Overload.DEADLINE
    stations: Mapping[str, Overload] = field(default_factory=dict)

    def of(self, station: str) -> Overload:
        """Return the mode of a station."""
        return self.stations.get(station, self.default)


#: Partition and key of a camera's messages.
PartitionedKey = tuple[int, bytes]


def partitioned_key(partition: int, key: bytes | None) -> PartitionedKey:
    """Return what names a camera in tables that outlive its messages: a long key, as anyone may write, as its digest.

    Examples
    --------
    >>> partitioned_key(0, b"press/top"), partitioned_key(0, None), len(partitioned_key(0, bytes(16_000_000))[1])
    ((0, b'press/top'), (0, b''), 64)
    """
    key = key or b""
    return partition, key if len(key) <= _LONGEST_KEY else hashlib.blake2b(key).digest()


class LatestOffsets:
    """Newest frame that has been read of each camera, by partition, key and offset.

    A frame counts as overtaken only by a newer frame that was read `_GRACE_S` ago. On a busy line a newer frame is
    always on its way: if that were enough, no frame would be inspected.

    Parameters
    ----------
    clock_s
        Function that returns seconds of a monotonic clock.

    Examples
    --------
    >>> times = iter([0.0, 0.2, 0.4])
    >>> newest = LatestOffsets(lambda: next(times))
    >>> for offset in (7, 8, 9):
    ...     newest.read(0, b"press/top", offset)
    >>> [newest.overtaken(0, b"press/top", offset) for offset in (6, 7, 8, 9)]
    [True, True, False, False]
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._cameras: OrderedDict[PartitionedKey, _Read] = OrderedDict()

    def read(self, partition: int, key: bytes | None, offset: int) -> None:
        """Record that a frame has been read from Kafka and waits."""
        camera, at_s = partitioned_key(partition, key), self._clock_s()
        with self._lock:
            known = self._cameras.get(camera)
            if known is None:
                self._cameras[camera] = _Read(offset, at_s)
                if len(self._cameras) > _CAMERAS:
                    self._cameras.popitem(last=False)
                return
            self._cameras.move_to_end(camera)
            if at_s - known.newer_at_s >= _GRACE_S:
                known.older, known.newer, known.newer_at_s = known.newer, offset, at_s

    def overtaken(self, partition: int, key: bytes | None, offset: int) -> bool:
        """Return True if a newer frame of the camera was read at least `_GRACE_S` ago."""
        with self._lock:
            known = self._cameras.get(partitioned_key(partition, key))
            return known is not None and known.older > offset


@dataclass(slots=True)
class _Read:
    """Offsets of two frames of a camera; ``older`` was read `_GRACE_S` or more before ``newer``."""

    newer: int
    newer_at_s: float
    older: int = -1


def shed_reason(
    frame: Frame, mode: Overload, *, now_us: int, needed_ms: float, overtaken: bool
) -> tuple[str, str] | None:
    """Return the reason for shedding a frame, as a word and a sentence; None if it is worth inspecting.

    Parameters
    ----------
    frame
        Frame whose deadline is by the clock of its camera.
    mode
        Mode of its station.
    now_us
        UTC microseconds by the worker's clock.
    needed_ms
        Time that an inspection is allowed to take, see `stream_processors.worker.estimate`.
    overtaken
        True if a newer frame of the camera waits, see `LatestOffsets` and `stream_processors.worker.waiting`.

    Examples
    --------
    >>> from schemas.records import Encoding
    >>> frame = Frame(frame_id="s.c.1.0", line="l", station="s", camera_id="c", started_at_us=1, sequence=0,
    ...               captured_at_us=0, deadline_ms=500, encoding=Encoding.JPEG, width=2, height=2, sha256="",
    ...               image=b"")
    >>> shed_reason(frame, Overload.DEADLINE, now_us=480_000, needed_ms=30, overtaken=False)
    ('deadline', 'an inspection takes up to 30 ms and the deadline is in 20 ms')
    >>> shed_reason(frame, Overload.DEADLINE, now_us=400_000, needed_ms=30, overtaken=True) is None
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

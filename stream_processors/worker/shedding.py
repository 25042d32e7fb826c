"""Choice of the frames that are shed, from learnt times, probes, and the newest frame of each camera."""

from __future__ import annotations

import threading
from collections import OrderedDict

from models import FramePosition
from schemas.clock import Clock
from schemas.records import MICROSECONDS_PER_MS, Decision, Frame
from stream_processors.worker.estimate import Times, capped_ms, kind_of
from stream_processors.worker.overload import (
    LatestOffsets,
    Overload,
    OverloadPolicy,
    PartitionedKey,
    partitioned_key,
    shed_reason,
)
from stream_processors.worker.probes import Probes

#: Most probes in flight. A probe with a broken image never ends, so their number is bounded.
_MOST_PROBES = 1_000


class Shedding:
    """Choice of the frames that are shed; it learns from answered frames. Thread-safe.

    Parameters
    ----------
    policy
        Mode of each station.
    clock
        Clock whose UTC time is compared with deadlines, and whose monotonic time ages the estimates.
    """

    def __init__(self, policy: OverloadPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._lock = threading.Lock()
        self._probes = Probes()
        self._under_way: OrderedDict[tuple[int, int], None] = OrderedDict()
        self.times = Times()
        #: Newest frames that have been read; the reader reports them.
        self.newest = LatestOffsets(clock.monotonic_s)

    def mode_of_key(self, key: bytes | None) -> Overload:
        """Return the mode of the station in the key of a message; the station in the frame takes precedence."""
        return self._policy.of((key or b"").partition(b"/")[0].decode(errors="replace"))

    def shed_reason(
        self, frame: Frame, key: bytes | None, source: FramePosition, *, overtaken: bool = False
    ) -> tuple[str, str] | None:
        """Return the reason for shedding a frame, as a word and a sentence; None if it must be inspected now.

        ``overtaken`` is True if a newer frame of its camera waits too.
        """
        camera, at_s = partitioned_key(source.partition, key), self._clock.monotonic_s()
        now_us = self._clock.utc_us()
        found = shed_reason(
            frame,
            self._policy.of(frame.station),
            now_us=now_us,
            needed_ms=self.times.needed_ms(kind_of(frame), at_s, frame.deadline_ms),
            overtaken=overtaken or self.newest.overtaken(*camera, source.offset),
        )
        if found is None:
            self._probes.inspected(camera, at_s)
            return None
        is_hopeless = frame.deadline_at_us is not None and frame.deadline_at_us < now_us
        if found[0] == "deadline" and not is_hopeless and self._is_probe(camera, source.offset, at_s):
            return None
        return found

    def _is_probe(self, camera: PartitionedKey, offset: int, at_s: float) -> bool:
        key = (camera[0], offset)
        with self._lock:
            if key in self._under_way:  # checked again, after a wait
                return True
            if not self._probes.take(camera, at_s):
                return False
            self._under_way[key] = None
            if len(self._under_way) > _MOST_PROBES:
                self._under_way.popitem(last=False)
            return True

    def learn(self, frame: Frame, source: FramePosition, inspection_ms: float, publishing_ms: float) -> float:
        """Learn from an inspected frame with an acknowledged answer; return the time that such a frame needs, in ms."""
        at_s, kind = self._clock.monotonic_s(), kind_of(frame)
        with self._lock:
            is_probe = self._under_way.pop((source.partition, source.offset), self) is None
        self.times.inspected(kind, capped_ms(inspection_ms, frame.deadline_ms), at_s, replaces=is_probe)
        self.times.published(capped_ms(publishing_ms, frame.deadline_ms), at_s, replaces=is_probe)
        if is_probe:
            self._probes.ended(inspection_ms)
        return self.times.needed_ms(kind, at_s, frame.deadline_ms)

    def learn_publishing(self, publishing_ms: float, decision: Decision) -> None:
        """Learn from a shed frame with an acknowledged decision."""
        end_us = decision.deadline_at_us
        deadline_ms = None if end_us is None else (end_us - decision.captured_at_us) / MICROSECONDS_PER_MS
        self.times.published(capped_ms(publishing_ms, deadline_ms), self._clock.monotonic_s())

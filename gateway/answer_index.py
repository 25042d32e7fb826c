"""Decisions that are kept for later requests: by frame, and by part."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from schemas.records import Decision

#: Bytes that an entry takes beside the encoded decision.
_ENTRY_BYTES = 600


@dataclass(frozen=True, slots=True)
class _Kept:
    value: bytes
    part_id: str | None
    kept_at_s: float

    @property
    def size_bytes(self) -> int:
        return len(self.value) + _ENTRY_BYTES


class AnswerIndex:
    """Decisions of the last minutes, encoded. The first decision on a frame counts. Thread-safe.

    Parameters
    ----------
    decode
        Decoder of a decision.
    kept_s, kept, kept_bytes
        Bounds: time in seconds, number of decisions, and memory.
    clock_s
        Function that returns seconds of a monotonic clock.
    """

    def __init__(
        self,
        decode: Callable[[bytes], Decision],
        kept_s: float,
        kept: int,
        kept_bytes: int,
        clock_s: Callable[[], float],
    ) -> None:
        self._decode = decode
        self._kept_s, self._kept, self._kept_bytes = kept_s, kept, kept_bytes
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._by_frame: OrderedDict[str, _Kept] = OrderedDict()
        self._by_part: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_frame)

    def __contains__(self, frame_id: str) -> bool:
        return frame_id in self._by_frame

    def add(self, decision: Decision, value: bytes, age_s: float = 0.0) -> bool:
        """Keep a decision; return False if the frame has one already.

        Parameters
        ----------
        value
            The encoded decision.
        age_s
            Time since the decision, in seconds.
        """
        entry = _Kept(value, decision.part_id, self._clock_s() - age_s)
        with self._lock:
            self._evict()
            if decision.frame_id in self._by_frame:
                return False
            self._by_frame[decision.frame_id] = entry
            if entry.part_id is not None:
                self._by_part[entry.part_id][decision.frame_id] = None
            self._bytes += entry.size_bytes
            self._evict()
        return True

    def get(self, frame_id: str) -> Decision | None:
        """Return the decision on a frame; None if it is not kept."""
        with self._lock:
            self._evict()
            entry = self._by_frame.get(frame_id)
        return None if entry is None else self._decode(entry.value)

    def of_part(self, part_id: str, most: int) -> list[Decision]:
        """Return the newest decisions on a part, in the order in which they came."""
        with self._lock:
            self._evict()
            frames = list(self._by_part.get(part_id, ()))[-most:]
            values = [self._by_frame[frame].value for frame in frames]
        return [self._decode(value) for value in values]

    def _evict(self) -> None:
        oldest_s = self._clock_s() - self._kept_s
        while self._by_frame:
            frame_id, entry = next(iter(self._by_frame.items()))
            if len(self._by_frame) <= self._kept and self._bytes <= self._kept_bytes and entry.kept_at_s >= oldest_s:
                return
            del self._by_frame[frame_id]
            self._bytes -= entry.size_bytes
            if entry.part_id is not None:
                frames = self._by_part[entry.part_id]
                del frames[frame_id]
                if not frames:
                    del self._by_part[entry.part_id]

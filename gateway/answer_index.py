"""Decisions that are kept for later requests: by frame, and by part."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.identity import key_of
from schemas.records import Decision, ResultState

#: Bytes that an entry takes beside the encoded decision.
_ENTRY_BYTES = 600


@dataclass(frozen=True, slots=True)
class _Kept:
    value: bytes
    part_id: str | None
    kept_at_s: float
    is_shed: bool

    @property
    def size_bytes(self) -> int:
        return len(self.value) + _ENTRY_BYTES


class _Shelf:
    """Decisions of one kind, the oldest first, and their size."""

    def __init__(self) -> None:
        self.by_frame: OrderedDict[str, _Kept] = OrderedDict()
        self.bytes = 0

    def put(self, frame_id: str, entry: _Kept) -> None:
        self.pop(frame_id)
        self.by_frame[frame_id] = entry
        self.bytes += entry.size_bytes

    def pop(self, frame_id: str) -> _Kept | None:
        entry = self.by_frame.pop(frame_id, None)
        self.bytes -= 0 if entry is None else entry.size_bytes
        return entry


class AnswerIndex:
    """Decisions of the last minutes, encoded. Thread-safe.

    The first decision on a frame counts, but the inspection of one group of workers counts before the answer of another
    group that has shed the frame.

    Decisions on frames with a key are kept apart: those of other cameras do not take their place.

    Parameters
    ----------
    decode
        Decoder of a decision.
    kept_s, kept, kept_bytes
        Bounds: time in seconds, number of decisions of each kind, and memory of both together.
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
        self._kept_s, self._kept, self._kept_bytes = kept_s, kept, kept_bytes // 2
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._keyed, self._others = _Shelf(), _Shelf()
        self._by_part: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._keyed.by_frame) + len(self._others.by_frame)

    def __contains__(self, frame_id: str) -> bool:
        return frame_id in self._shelf(frame_id).by_frame

    def add(self, decision: Decision, value: bytes, age_s: float = 0.0) -> bool:
        """Keep a decision; return False if the frame has one already that counts before it.

        Parameters
        ----------
        value
            The encoded decision.
        age_s
            Time since the decision, in seconds.
        """
        is_shed = decision.result_state is ResultState.ABORTED
        in_time = decision.result_state is ResultState.COMPLETED and not decision.is_late
        entry = _Kept(value, decision.part_id, self._clock_s() - age_s, is_shed)
        with self._lock:
            self._evict()
            shelf = self._shelf(decision.frame_id)
            known = shelf.by_frame.get(decision.frame_id)
            if known is not None:
                if not (known.is_shed and in_time):
                    return False
                self._forget(shelf, decision.frame_id)
            shelf.put(decision.frame_id, entry)
            if entry.part_id is not None:
                self._by_part[entry.part_id][decision.frame_id] = None
            self._evict()
        return True

    def get(self, frame_id: str) -> Decision | None:
        """Return the decision on a frame; None if it is not kept."""
        with self._lock:
            self._evict()
            entry = self._shelf(frame_id).by_frame.get(frame_id)
        return None if entry is None else self._decode(entry.value)

    def of_part(self, part_id: str, most: int) -> list[Decision]:
        """Return the newest decisions on a part, in the order in which they came."""
        with self._lock:
            self._evict()
            frames = list(self._by_part.get(part_id, ()))[-most:]
            values = [self._shelf(frame).by_frame[frame].value for frame in frames]
        return [self._decode(value) for value in values]

    def _shelf(self, frame_id: str) -> _Shelf:
        return self._others if key_of(frame_id) is None else self._keyed

    def _evict(self) -> None:
        oldest_s = self._clock_s() - self._kept_s
        for shelf in (self._keyed, self._others):
            while shelf.by_frame:
                frame_id, entry = next(iter(shelf.by_frame.items()))
                is_full = len(shelf.by_frame) > self._kept or shelf.bytes > self._kept_bytes
                if not is_full and entry.kept_at_s >= oldest_s:
                    break
                self._forget(shelf, frame_id)

    def _forget(self, shelf: _Shelf, frame_id: str) -> None:
        entry = shelf.pop(frame_id)
        if entry is not None and entry.part_id is not None:
            frames = self._by_part[entry.part_id]
            del frames[frame_id]
            if not frames:
                del self._by_part[entry.part_id]

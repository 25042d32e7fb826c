"""Store of decisions that came before their trigger, for a short, bounded time."""

from __future__ import annotations

from collections import OrderedDict

from actuators.known_ids import content
from actuators.tracked_part import PartKey
from schemas.records import Decision


class EarlyDecisions:
    """Early decisions by part; the oldest decision is evicted first.

    If there is no room for another decision, the oldest ones are dropped, and their parts are remembered. Such a part
    cannot be accepted on a later decision, because its first decision is lost.

    Parameters
    ----------
    hold_s
        Time for which a decision is kept, in seconds.
    limit
        Most decisions that are kept.
    max_lost
        Most parts with dropped decisions that are remembered. Beyond that, every part counts as one of them, for as
        long as a decision would have been kept.
    """

    def __init__(self, hold_s: float, limit: int, max_lost: int = 50_000) -> None:
        self._hold_s = hold_s
        self._limit = limit
        self._max_lost = max_lost
        # One level, so that eviction takes constant time; small enough to search for the decisions of a part.
        self._held: OrderedDict[tuple[PartKey, bytes], tuple[float, int, Decision]] = OrderedDict()
        #: Hash of the part, and the time (monotonic s) at which its dropped decision would have expired.
        self._lost: OrderedDict[int, float] = OrderedDict()
        self._all_lost_until_s = float("-inf")

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, key: PartKey, decision: Decision, now_s: float, now_us: int) -> bool:
        """Keep a decision with the time it was received; return False if it is already kept."""
        self._expire(now_s)
        entry = (key, content(decision))
        if entry in self._held:
            return False
        self._held[entry] = (now_s, now_us, decision)
        while len(self._held) > self._limit:
            (dropped, _), (received_s, _, _) = self._held.popitem(last=False)
            self._lose(hash(dropped), received_s + self._hold_s)
        return True

    def take(self, key: PartKey, now_s: float) -> list[tuple[float, int, Decision]]:
        """Remove and return the decisions of a part, oldest first: time received (monotonic s, UTC µs), decision."""
        self._expire(now_s)
        found = [entry for entry in self._held if entry[0] == key]
        return [self._held.pop(entry) for entry in found]

    def has_lost(self, key: PartKey, now_s: float) -> bool:
        """Return True if a decision for the part was dropped before it expired."""
        self._expire(now_s)
        return now_s <= self._all_lost_until_s or hash(key) in self._lost

    def _lose(self, name: int, until_s: float) -> None:
        self._lost[name] = until_s
        self._lost.move_to_end(name)
        if len(self._lost) > self._max_lost:
            self._all_lost_until_s = self._lost.popitem(last=False)[1]

    def _expire(self, now_s: float) -> None:
        while self._held and now_s - next(iter(self._held.values()))[0] > self._hold_s:
            self._held.popitem(last=False)
        while self._lost and next(iter(self._lost.values())) < now_s:
            self._lost.popitem(last=False)

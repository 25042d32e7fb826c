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
    max_losses
        Most parts with dropped decisions that are remembered. Beyond that limit every part counts as a part with a
        dropped decision, until the dropped decisions would have expired.
    """

    def __init__(self, hold_s: float, limit: int, max_losses: int = 50_000) -> None:
        self._hold_s = hold_s
        self._limit = limit
        self._max_losses = max_losses
        # One level, so that eviction takes constant time; small enough to search for the decisions of a part.
        self._decisions: OrderedDict[tuple[PartKey, bytes], tuple[float, int, Decision]] = OrderedDict()
        #: Hash of the part, and the time (monotonic s) at which its dropped decision would have expired.
        self._losses: OrderedDict[int, float] = OrderedDict()
        self._all_count_as_lost_until_s = float("-inf")

    def __len__(self) -> int:
        return len(self._decisions)

    def keep(self, key: PartKey, decision: Decision, now_s: float, now_us: int) -> bool:
        """Keep a decision with the time it was received; return False if it is already kept."""
        self._expire(now_s)
        entry = (key, content(decision))
        if entry in self._decisions:
            return False
        self._decisions[entry] = (now_s, now_us, decision)
        while len(self._decisions) > self._limit:
            (dropped, _), (received_s, _, _) = self._decisions.popitem(last=False)
            self._record_loss(hash(dropped), received_s + self._hold_s)
        return True

    def take(self, key: PartKey, now_s: float) -> list[tuple[float, int, Decision]]:
        """Remove and return the decisions of a part, oldest first: time received (monotonic s, UTC µs), decision."""
        self._expire(now_s)
        found = [entry for entry in self._decisions if entry[0] == key]
        return [self._decisions.pop(entry) for entry in found]

    def has_loss(self, key: PartKey, now_s: float) -> bool:
        """Return True if a decision for the part was dropped before it expired."""
        self._expire(now_s)
        return now_s <= self._all_count_as_lost_until_s or hash(key) in self._losses

    def _record_loss(self, name: int, until_s: float) -> None:
        self._losses[name] = until_s
        self._losses.move_to_end(name)
        if len(self._losses) > self._max_losses:
            self._all_count_as_lost_until_s = self._losses.popitem(last=False)[1]

    def _expire(self, now_s: float) -> None:
        while self._decisions and now_s - next(iter(self._decisions.values()))[0] > self._hold_s:
            self._decisions.popitem(last=False)
        while self._losses and next(iter(self._losses.values())) < now_s:
            self._losses.popitem(last=False)

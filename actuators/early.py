"""Decisions that overtook their trigger: kept for a short, bounded time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from actuators.passing import Key
from schemas.records import Decision


class EarlyDecisions:
    """Decisions by part, oldest first out.

    Parameters
    ----------
    hold_s
        How long one is kept, in seconds.
    limit
        How many are kept.
    """

    def __init__(self, hold_s: float, limit: int) -> None:
        self._hold_s = hold_s
        self._limit = limit
        # One level, so that the oldest goes in constant time; few enough that a part's own are found by looking.
        self._held: OrderedDict[tuple[Key, str, str], tuple[float, int, Decision]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, key: Key, decision: Decision, now_s: float, now_us: int) -> bool:
        """Keep a decision with the time it was received; False if it is here already."""
        self._expire(now_s)
        entry = (key, decision.decision_id, decision.action.value)
        if entry in self._held:
            return False
        self._held[entry] = (now_s, now_us, decision)
        while len(self._held) > self._limit:
            self._held.popitem(last=False)
        return True

    def take(self, key: Key, now_s: float, belongs: Callable[[Decision], bool]) -> list[tuple[float, int, Decision]]:
        """Hand out, and no longer keep, what came for a part: when (monotonic s, UTC µs) and what, oldest first."""
        self._expire(now_s)
        found = [entry for entry, held in self._held.items() if entry[0] == key and belongs(held[2])]
        return [self._held.pop(entry) for entry in found]

    def _expire(self, now_s: float) -> None:
        while self._held and now_s - next(iter(self._held.values()))[0] > self._hold_s:
            self._held.popitem(last=False)

"""Bounded collection of values under names from messages: cameras, or products of a camera.

A name costs its sender nothing, but its value costs memory. So the number is bounded, and the value unseen for longest
is evicted. A flood of invented names must not evict the real ones: a name that was seen only a few times is a newcomer,
and newcomers evict only each other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

V = TypeVar("V")

#: Number of times that a name must be seen before it may take the place of another one.
SETTLES_AFTER = 20


class Shelf(Generic[V]):
    """Collection of at most ``limit`` settled values, and a tenth more of newcomers.

    Parameters
    ----------
    limit
        Most settled values, 1 or more. Newcomers may use free places too.
    spare
        Called with a value; if it returns True, the value is evicted only if there are no others.

    Examples
    --------
    >>> shelf = Shelf[int](2)
    >>> for _ in range(20):
    ...     gone = shelf.see("a", 1) + shelf.see("b", 2)
    >>> shelf.see("c", 3), shelf.see("d", 4), shelf.see("e", 5)
    ([], [('c', 3)], [('d', 4)])
    >>> [name for name, _ in shelf.items()]
    ['a', 'b', 'e']
    """

    def __init__(self, limit: int, spare: Callable[[V], bool] = lambda value: False) -> None:
        self._limit = limit
        self._spare = spare
        self._most = limit + max(1, limit // 10)
        self._settled: OrderedDict[str, V] = OrderedDict()
        self._new: OrderedDict[str, V] = OrderedDict()
        self._seen: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def get(self, name: str) -> V | None:
        """Return the value of a name; None if the name is unknown."""
        found = self._settled.get(name)
        return self._new.get(name) if found is None else found

    def seen(self, name: str) -> int:
        """Return the number of times that a name was seen, at most `SETTLES_AFTER`."""
        return self._seen.get(name, 0)

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield names and values: settled ones, then newcomers; within each group the one unseen for longest first."""
        yield from [*self._settled.items(), *self._new.items()]

    def see(self, name: str, value: V, times: int = 1) -> list[tuple[str, V]]:
        """Record that a name is seen now, with its value; return the evicted names and values."""
        if name in self._settled:
            self._settled[name] = value
            self._settled.move_to_end(name)
            return []
        gone = []
        if name not in self._new and len(self._seen) >= self._most:
            gone.append(self._pop(self._new))
        seen = self._seen[name] = min(self._seen.get(name, 0) + times, SETTLES_AFTER)
        self._new[name] = value
        self._new.move_to_end(name)
        if seen >= SETTLES_AFTER:
            if len(self._settled) >= self._limit:
                gone.append(self._pop(self._settled))
            self._settled[name] = self._new.pop(name)
        return gone

    def drop(self, name: str) -> None:
        """Forget a name."""
        self._settled.pop(name, None)
        self._new.pop(name, None)
        self._seen.pop(name, None)

    def _pop(self, kept: OrderedDict[str, V]) -> tuple[str, V]:
        name = next((name for name, value in kept.items() if not self._spare(value)), next(iter(kept)))
        del self._seen[name]
        return name, kept.pop(name)

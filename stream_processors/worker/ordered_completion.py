"""Pipeline of items in flight that are acked in the order in which they came.

Work overlaps (decode and inference in threads, decisions on their way to the broker), but an item is acked only after
every item before it. So a committed offset never passes an unanswered frame, whichever frame was quicker. An item
that takes long delays the acks of the items behind it, not their work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

#: Interval between two checks for finished items, in seconds. Waking the loop for each item would delay the threads.
_LOOK_S = 0.010


class Entry(Generic[T]):
    """Item in flight."""

    __slots__ = ("is_aside", "is_done", "item")

    def __init__(self, item: T) -> None:
        self.item = item
        self.is_done = self.is_aside = False


class OrderedCompletion(Generic[T]):
    """Limit on the items in flight; calls ``ack`` on each item in order. Create it in a running event loop.

    Parameters
    ----------
    ack
        Called in the event loop when an item and all before it are done.
    limit
        Most items in flight, except those that gave up their slot or only wait for an earlier item.
    unacked
        Most items in flight in all.

    Examples
    --------
    >>> async def example() -> list[int]:
    ...     acked: list[int] = []
    ...     pipeline = OrderedCompletion(acked.append, limit=4)
    ...     one, two, three = [await pipeline.put(number) for number in (1, 2, 3)]
    ...     for entry in (three, one, two):
    ...         pipeline.done(entry)
    ...     await pipeline.drain()
    ...     return acked
    >>> asyncio.run(example())
    [1, 2, 3]
    """

    def __init__(self, ack: Callable[[T], object], limit: int, unacked: int = 256) -> None:
        self._ack = ack
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(limit)
        self._unacked = asyncio.Semaphore(max(limit, unacked))
        self._under_way: deque[Entry[T]] = deque()
        self._changed: deque[Entry[T]] = deque()  # filled by other threads since the loop's last check
        self._is_looking = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def put(self, item: T) -> Entry[T]:
        """Wait for a slot, and add an item."""
        await self._unacked.acquire()
        await self._room.acquire()
        entry = Entry(item)
        self._under_way.append(entry)
        self._empty.clear()
        self._look_later()
        return entry

    def step_aside(self, entry: Entry[T]) -> None:
        """Give up the slot of a task that waits for remote I/O; another item may enter. Thread-safe; call once."""
        entry.is_aside = True
        self._loop.call_soon_threadsafe(self._room.release)

    def done(self, entry: Entry[T]) -> None:
        """Mark an item as done. Thread-safe; call once."""
        self._changed.append(entry)

    async def drain(self) -> None:
        """Wait until no item is in flight."""
        await self._empty.wait()

    def _look_later(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(_LOOK_S, self._settle)

    def _settle(self) -> None:
        self._is_looking = False
        while self._changed:
            entry = self._changed.popleft()
            entry.is_done = True
            if not entry.is_aside:
                self._room.release()
        while self._under_way and self._under_way[0].is_done:
            self._ack(self._under_way.popleft().item)
            self._unacked.release()
        if self._under_way:
            self._look_later()
        else:
            self._empty.set()

"""Several items under way at once, finished with in the order in which they came.

Work overlaps (decode and inference in threads, decisions on their way to the broker), but an item is acked only after
every item before it: so a committed offset never passes a frame that is not answered, whichever was quicker. One that
takes long delays the acks of those behind it, not their work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

#: Between two looks at what is done, in seconds: to be woken for each item would cost the threads that work their turn.
_LOOK_S = 0.010


class Entry(Generic[T]):
    """An item under way."""

    __slots__ = ("is_aside", "is_done", "item")

    def __init__(self, item: T) -> None:
        self.item = item
        self.is_done = self.is_aside = False


class Pipeline(Generic[T]):
    """Bounds how many items are under way, and calls ``ack`` on each in order. To be made within a running event loop.

    Parameters
    ----------
    ack
        Called in the event loop when an item and all before it are done.
    limit
        Items under way at once, save those that stepped aside or only wait for an earlier one.
    unacked
        Items under way in all.

    Examples
    --------
    >>> async def example() -> list[int]:
    ...     acked: list[int] = []
    ...     pipeline = Pipeline(acked.append, limit=4)
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
        self._changed: deque[Entry[T]] = deque()  # by other threads, since the loop has last looked
        self._is_looking = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def put(self, item: T) -> Entry[T]:
        """Take an item in, as soon as there is room."""
        await self._unacked.acquire()
        await self._room.acquire()
        entry = Entry(item)
        self._under_way.append(entry)
        self._empty.clear()
        self._look_later()
        return entry

    def step_aside(self, entry: Entry[T]) -> None:
        """What works on an item waits for something far away: another may come in its place. From any thread, once."""
        entry.is_aside = True
        self._loop.call_soon_threadsafe(self._room.release)

    def done(self, entry: Entry[T]) -> None:
        """An item is done with. From any thread, once."""
        self._changed.append(entry)

    async def drain(self) -> None:
        """Wait until nothing is under way."""
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

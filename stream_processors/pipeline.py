"""Several items under way at once, finished with in the order in which they came.

Work overlaps (decode and inference in threads, sends on their way to the broker), but an item is acked only after every
item before it: so a committed offset never passes a frame that is not answered, whichever was quicker. One that takes
long delays the acks of those behind it, not their work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Pipeline(Generic[T]):
    """Runs ``work`` on up to ``limit`` items at once and calls ``ack`` on each in order.

    Parameters
    ----------
    work
        What is to be done with an item.
    ack
        Called when an item and all before it are done.
    fail
        Called with the error of an item whose work raised; nothing is acked from that item on.
    limit
        Items worked on at once, save those that stepped aside.
    unacked
        Items under way in all, with those that stepped aside or only wait for an earlier one.

    Examples
    --------
    >>> async def example() -> list[int]:
    ...     acked: list[int] = []
    ...     pipeline = Pipeline(lambda n: asyncio.sleep(0.01 / n), acked.append, print, limit=4)
    ...     for number in (1, 2, 3):
    ...         await pipeline.put(number)
    ...     await pipeline.drain()
    ...     return acked
    >>> asyncio.run(example())
    [1, 2, 3]
    """

    def __init__(
        self,
        work: Callable[[T], Awaitable[None]],
        ack: Callable[[T], object],
        fail: Callable[[BaseException], object],
        limit: int,
        unacked: int = 256,
    ) -> None:
        self._work = work
        self._ack = ack
        self._fail = fail
        self._room = asyncio.Semaphore(limit)
        self._unacked = asyncio.Semaphore(max(limit, unacked))
        self._aside: set[asyncio.Future[None] | None] = set()
        self._under_way: deque[tuple[T, asyncio.Future[None]]] = deque()
        self._failed = False

    async def put(self, item: T) -> None:
        """Begin work on an item, as soon as there is room."""
        await self._unacked.acquire()
        await self._room.acquire()
        task = asyncio.ensure_future(self._work(item))
        self._under_way.append((item, task))
        task.add_done_callback(self._settle)

    def step_aside(self) -> None:
        """Called by ``work`` that waits for something far away: another item may be worked on in its place."""
        if asyncio.current_task() not in self._aside:
            self._aside.add(asyncio.current_task())
            self._room.release()

    async def drain(self) -> None:
        """Wait until nothing is under way; acked or failed, each item has come to its end."""
        while self._under_way and not self._failed:
            await asyncio.wait([task for _, task in self._under_way])
            await asyncio.sleep(0)  # lets the callbacks of those tasks run

    def _settle(self, done: asyncio.Future[None]) -> None:
        if done in self._aside:
            self._aside.discard(done)
        else:
            self._room.release()
        while self._under_way and self._under_way[0][1].done() and not self._failed:
            item, task = self._under_way.popleft()
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is not None:
                self._failed = True
                self._fail(error)
                return
            self._ack(item)
            self._unacked.release()

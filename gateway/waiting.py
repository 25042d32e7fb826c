"""Requests that wait for a decision, by frame. Call from the event loop only, except for `is_waited_for`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.problems import Problem
from schemas.records import Decision


class WaitingRequests:
    """Futures of the requests that wait for a decision. A request that ends in any way leaves the table.

    Examples
    --------
    >>> waiting = WaitingRequests()
    >>> waiting.is_waited_for("press.top.1.00000000"), len(waiting)
    (False, 0)
    """

    def __init__(self) -> None:
        self._futures: dict[str, list[asyncio.Future[Decision]]] = {}
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def is_waited_for(self, frame_id: str) -> bool:
        """Return True if a request waits for the decision on a frame. Thread-safe."""
        return frame_id in self._futures

    @contextmanager
    def register(self, frame_id: str) -> Iterator[asyncio.Future[Decision]]:
        """Register a request for the time of the block; yield the future of its decision."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        futures = self._futures.setdefault(frame_id, [])
        futures.append(future)
        self._number += 1
        try:
            yield future
        finally:
            self._number -= 1
            futures.remove(future)
            if not futures:
                del self._futures[frame_id]
            if future.done() and not future.cancelled():
                future.exception()  # so that asyncio does not log an exception that nobody took
            future.cancel()

    def answer(self, decision: Decision) -> None:
        """Pass a decision to the requests that wait for it."""
        for future in self._futures.get(decision.frame_id, ()):
            if not future.done():
                future.set_result(decision)

    def fail(self, frame_id: str, problem: Problem) -> None:
        """End the requests that wait for a frame."""
        for future in self._futures.get(frame_id, ()):
            if not future.done():
                future.set_exception(problem)

    def fail_all(self, name: str, detail: str) -> None:
        """End all requests that wait."""
        for frame_id in list(self._futures):
            self.fail(frame_id, Problem(name, detail, retry_after_s=1, instance=frame_id))

"""Bounded queue between a camera and Kafka, with a stated policy for a full queue."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

#: Policy for a slow broker: drop the oldest waiting frame, drop the new frame, or let the camera wait.
Policy = Literal["drop-oldest", "drop-newest", "block"]


@dataclass(frozen=True, slots=True)
class PutResult(Generic[T]):
    """Result of `BoundedQueue.put`: True if the item was accepted, and the items that were evicted for it."""

    accepted: bool
    evicted: tuple[T, ...] = ()


class BoundedQueue(Generic[T]):
    """Queue, first in, first out, bounded by items and by bytes.

    Parameters
    ----------
    max_items, max_bytes
        Bounds; an item larger than ``max_bytes`` is accepted when the queue is empty.
    policy
        ``drop-oldest`` evicts items to make room, ``drop-newest`` refuses the new item, ``block`` waits for room.

    Examples
    --------
    >>> queue = BoundedQueue[str](2, 100, "drop-oldest")
    >>> [queue.put(item, 10).evicted for item in "abc"]
    [(), (), ('a',)]
    >>> queue.take(), queue.take()
    ('b', 'c')
    >>> queue.idle, queue.take(), queue.idle
    (False, None, True)
    """

    def __init__(self, max_items: int, max_bytes: int, policy: Policy) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._policy = policy
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._in_hand = False
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    @property
    def idle(self) -> bool:
        """True if the queue is open and empty, and the last item has been processed: a new item would be the next."""
        with self._changed:
            return not (self._items or self._in_hand or self._closed)

    def put(self, item: T, size_bytes: int) -> PutResult[T]:
        """Put an item into the queue; it is refused after `close`."""
        with self._changed:
            if self._policy == "block":
                self._changed.wait_for(lambda: self._closed or self._fits(size_bytes))
            if self._closed or (self._policy == "drop-newest" and not self._fits(size_bytes)):
                return PutResult(accepted=False)
            evicted = []
            while not self._fits(size_bytes):
                evicted.append(self._pop())
            self._items.append((item, size_bytes))
            self._bytes += size_bytes
            self._changed.notify_all()
            return PutResult(True, tuple(evicted))

    def take(self, timeout_s: float = 0.0) -> T | None:
        """Return the next item; None if no item comes in time. The caller has processed the item before."""
        with self._changed:
            self._in_hand = False
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            if not self._items:
                return None
            item = self._pop()
            self._in_hand = True
            self._changed.notify_all()
            return item

    def close(self) -> tuple[T, ...]:
        """Refuse items from now on, wake all waiting threads, and return the items that were still in the queue."""
        with self._changed:
            self._closed = True
            left = tuple(item for item, _ in self._items)
            self._items.clear()
            self._bytes = 0
            self._changed.notify_all()
            return left

    def _fits(self, size_bytes: int) -> bool:
        return not self._items or (len(self._items) < self._max_items and self._bytes + size_bytes <= self._max_bytes)

    def _pop(self) -> T:
        item, size_bytes = self._items.popleft()
        self._bytes -= size_bytes
        return item

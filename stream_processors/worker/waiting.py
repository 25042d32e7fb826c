"""Queue of frames that wait for a thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Waiting(Generic[T]):
    """Queue in which a newer item replaces an older one of the same camera. Not thread-safe.

    The newer item takes the turn of the older one: a camera with many frames waits no longer than one with few, and a
    free thread always finds the newest item.

    Examples
    --------
    >>> waiting = Waiting[str]()
    >>> waiting.put("a1", camera="a"), waiting.put("b1", camera="b"), waiting.put("c1"), waiting.put("a2", camera="a")
    (None, None, None, 'a1')
    >>> [waiting.take() for _ in range(len(waiting))]
    ['a2', 'b1', 'c1']
    """

    def __init__(self) -> None:
        self._items: OrderedDict[Hashable, T] = OrderedDict()
        self._next = self._before = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, camera: Hashable | None = None) -> T | None:
        """Add an item; return the older item of its ``camera`` that it replaces. Without a camera it replaces none."""
        if camera is None:
            self._next += 1
            self._items[self._next] = item
            return None
        key = ("camera", camera)
        older = self._items.get(key)
        self._items[key] = item
        return older

    def put_back(self, item: T) -> None:
        """Add an item in front of all others: it was taken before, and its turn has come."""
        self._before -= 1
        self._items[self._before] = item
        self._items.move_to_end(self._before, last=False)

    def take(self) -> T:
        """Take the next item; raise KeyError if there is no item."""
        return self._items.popitem(last=False)[1]

"""Frames in memory on their way to Kafka, and frames that are sent again because their batch was refused."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from producers.message import Message
from producers.spool.record import FrameKey

#: Most times that a frame is sent again because its batch was too large.
_TRIES = 5


@dataclass(slots=True)
class Moving:
    """Frame in memory on its way to Kafka.

    ``since_s`` is the time at which the Kafka client got the frame; None if it does not have the frame. ``on_disk`` is
    True if the frame is also on disk, and ``drained`` if it came from there. A frame that the disk has refused is
    offered to the disk again at ``store_again_s``.
    """

    message: Message
    since_s: float | None = None
    on_disk: bool = False
    drained: bool = False
    store_again_s: float = 0.0


def in_flight(frames: Mapping[FrameKey, Moving]) -> list[Moving]:
    """Return the frames that the Kafka client has."""
    return [moving for moving in frames.values() if moving.since_s is not None]


class SentAlone:
    """Frames whose batch was too large; each is sent again alone. Thread-safe.

    Parameters
    ----------
    takes_record
        Called with the size of a record; it returns True if the topic accepts the record in a batch of its own.
    """

    def __init__(self, takes_record: Callable[[int], bool]) -> None:
        self._takes_record = takes_record
        self._waiting: deque[tuple[Message, bool]] = deque()
        self._tries: dict[object, int] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, moving: Moving) -> bool:
        """Add a refused frame; return False if it does not fit alone either, or was sent too often."""
        message = moving.message
        with self._lock:
            tries = self._tries.pop(message.place, 0)
            if self._is_closed or tries >= _TRIES or not self._takes_record(len(message.value)):
                return False
            self._tries[message.place] = tries + 1
            if len(self._tries) > 10_000:  # the oldest has long been acknowledged
                del self._tries[next(iter(self._tries))]
            self._waiting.append((message, moving.drained))
            return True

    def take(self) -> tuple[Message, bool]:
        """Take the next frame, with True if it came from disk; raise IndexError if no frame waits."""
        return self._waiting.popleft()

    def put_back(self, message: Message, drained: bool) -> None:
        """Put back a frame that could not be sent now."""
        self._waiting.appendleft((message, drained))

    def close(self) -> list[Message]:
        """Refuse frames from now on; return the frames that wait."""
        with self._lock:
            self._is_closed = True
            left = [message for message, _ in self._waiting]
            self._waiting.clear()
            return left

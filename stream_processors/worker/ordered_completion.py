"""Completion of the frames in flight, in the order in which they came.

Work overlaps (decode and inference in threads, results on their way to the broker), but a frame is acknowledged to
Faust only after every frame before it. So a committed offset never passes an unanswered frame, whichever frame was
quicker. A frame that takes long delays the acknowledgement of the frames behind it, not their work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from stream_processors.worker.frame_task import FrameTask

#: Interval between two checks for completed frames, in seconds. Waking the loop for each frame would delay the threads.
_CHECK_S = 0.010


class TaskObserver(Protocol):
    """Receiver of the progress of frames, see `stream_processors.worker.feedback.Feedback`."""

    def admitted(self, task: FrameTask) -> None:
        """Record a frame that was added to the order."""

    def completed(self, task: FrameTask) -> None:
        """Record a frame whose result Kafka has acknowledged. Thread-safe."""

    def acknowledged(self, task: FrameTask) -> None:
        """Record a frame that was acknowledged to Faust."""


class OrderedCompletion:
    """Order of the frames in flight, with a limit on their number. Create it in a running event loop.

    Parameters
    ----------
    observer
        Receives each frame when it is admitted, completed and acknowledged.
    limit
        Most frames in flight, except those that gave up their slot or only wait for an earlier frame.
    unacknowledged
        Most frames in flight in all.
    """

    def __init__(self, observer: TaskObserver, limit: int, unacknowledged: int = 256) -> None:
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(limit)
        self._places = asyncio.Semaphore(max(limit, unacknowledged))
        self._in_flight: deque[FrameTask] = deque()
        self._completed: deque[FrameTask] = deque()  # filled by other threads since the loop's last check
        self._is_check_due = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def free_slot(self) -> None:
        """Wait for a slot for one more frame, and occupy it."""
        await self._places.acquire()
        await self._slots.acquire()

    def admit(self, task: FrameTask) -> FrameTask:
        """Add a frame behind all others, and return it. Call after `free_slot`."""
        self._in_flight.append(task)
        self._empty.clear()
        self._check_later()
        self._observer.admitted(task)
        return task

    def release_slot(self, task: FrameTask) -> None:
        """Give up the slot of a frame that waits for remote I/O; another frame may enter. Thread-safe; call once."""
        task.has_released_slot = True
        self._loop.call_soon_threadsafe(self._slots.release)

    def complete(self, task: FrameTask) -> None:
        """Mark a frame whose result Kafka has acknowledged. Thread-safe; call once."""
        self._observer.completed(task)
        self._completed.append(task)

    async def drain(self) -> None:
        """Wait until no frame is in flight."""
        await self._empty.wait()

    def _check_later(self) -> None:
        if not self._is_check_due:
            self._is_check_due = True
            self._loop.call_later(_CHECK_S, self._check)

    def _check(self) -> None:
        self._is_check_due = False
        while self._completed:
            task = self._completed.popleft()
            task.is_complete = True
            if not task.has_released_slot:
                self._slots.release()
        while self._in_flight and self._in_flight[0].is_complete:
            task = self._in_flight.popleft()
            task.event.ack()
            self._observer.acknowledged(task)
            self._places.release()
        if self._in_flight:
            self._check_later()
        else:
            self._empty.set()

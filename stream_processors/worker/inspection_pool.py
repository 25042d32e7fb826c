"""Pool of threads that inspect frames and fetch their images.

A thread takes several waiting frames together (`stream_processors.worker.batch`). On an idle line that is one frame. On
a busy line the frames share the hand-overs between threads, and the network stays in the caches. When a thread takes a
frame, it checks if the frame is still worth an inspection.

In the mode ``newest`` a frame replaces an older waiting frame of its camera (`stream_processors.worker.waiting`).
A thread sheds the replaced frames, and then takes waiting ones: it always finds the newest frame.

A store is remote and may be down; a frame that carries its image must not wait for it. So other threads fetch images,
and a frame that needs its image fetched first gives up its slot.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from schemas.records import Frame
from stream_processors.worker.batch import MOST, Batch
from stream_processors.worker.frame_processor import FrameProcessor, FrameWork
from stream_processors.worker.frame_task import FrameTask, ProcessingResult
from stream_processors.worker.overload import Overload
from stream_processors.worker.waiting import Waiting

#: Images fetched at once, and so the most images that are in memory before they are inspected.
FETCHES = 4


class ResultSink(Protocol):
    """Publisher of results, see `stream_processors.worker.result_publisher.ResultPublisher`."""

    def publish(self, task: FrameTask) -> None:
        """Send the result of a task. Thread-safe."""


class Slots(Protocol):
    """Slots of the frames in flight, see `stream_processors.worker.ordered_completion.OrderedCompletion`."""

    def release_slot(self, task: FrameTask) -> None:
        """Give up the slot of a frame that waits for remote I/O. Thread-safe."""


class InspectionPool:
    """Threads that take frames from their message to their result.

    Parameters
    ----------
    processor
        Reads, sheds and inspects.
    publisher
        Publishes each result; called in the thread that made it.
    slots
        Receives each frame that waits for its image from the store, to release its slot.
    threads
        Number of threads that inspect.
    fail
        Called with the exception if a thread fails, which should never happen.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        publisher: ResultSink,
        slots: Slots,
        threads: int,
        *,
        fail: Callable[[BaseException], object],
    ) -> None:
        self._processor = processor
        self._publisher = publisher
        self._slots = slots
        self._fail = fail
        self._waiting: Waiting[FrameTask] = Waiting()
        self._overtaken: deque[FrameTask] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"inspect-{number}", daemon=True) for number in range(threads)
        ]
        self._fetching = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")
        self._fetch_slots = threading.Semaphore(FETCHES)
        for thread in self._threads:
            thread.start()

    def submit(self, task: FrameTask) -> None:
        """Queue a frame."""
        message = task.message
        is_newest = self._processor.shedding.mode_of_key(message.key) is Overload.NEWEST
        with self._wake:
            older = self._waiting.put(task, (message.source.partition, message.key) if is_newest else None)
            if older is None:
                self._wake.notify()
            else:  # the notification of the older frame is enough for both
                self._overtaken.append(older)

    @property
    def is_busy(self) -> bool:
        """True if more frames wait than there are threads."""
        return len(self._waiting) > len(self._threads)

    def close(self) -> None:
        """End the threads after they have processed the waiting frames."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()
        self._fetching.shutdown()

    def _run(self) -> None:
        while self._await():
            try:
                overtaken = self._take_overtaken()
                self._shed(overtaken)
                self._process(is_overloaded=bool(overtaken))
            except BaseException as error:  # noqa: BLE001 - reported to the code that can end the process
                self._fail(error)
                return

    def _await(self) -> bool:
        """Wait for work; return False when no more work will come."""
        with self._wake:
            while not (self._waiting or self._overtaken or self._closed):
                self._wake.wait()
            return bool(self._waiting or self._overtaken)

    def _take_overtaken(self) -> list[FrameTask]:
        with self._wake:
            return [self._overtaken.popleft() for _ in range(len(self._overtaken))]

    def _take(self) -> FrameTask | None:
        with self._wake:
            return self._waiting.take() if self._waiting else None

    def _put_back(self, tasks: list[FrameTask]) -> None:
        with self._wake:
            for task in reversed(tasks):
                self._waiting.put_back(task)
            self._wake.notify(len(tasks))

    def _shed(self, tasks: list[FrameTask]) -> None:
        """Answer frames that lost their place; frames that must not be shed (published again) are queued again."""
        answered: list[FrameTask] = []
        for task in tasks:
            if answered and self._processor.is_suspect(task.message):
                self._publish(answered)  # the trial of the suspect takes seconds
                answered = []
            task.take()
            found = self._processor.read(task.message, overtaken=True)
            if isinstance(found, ProcessingResult):
                task.result = found
                answered.append(task)
            else:
                task.frame = found
                self._put_back([task])
        self._publish(answered)

    def _publish(self, tasks: Iterable[FrameTask]) -> None:
        # Without a pause: the client then sends them as one request, which costs the broker a fraction.
        for task in tasks:
            self._publisher.publish(task)

    def _process(self, *, is_overloaded: bool) -> None:
        """Take frames until there is a batch, and inspect it; those that are not worth an inspection are answered.

        ``is_overloaded`` is True if frames of cameras follow each other more quickly than they are inspected.
        """
        # A fair share for each thread. In an overload the other threads will have newer frames at once.
        share = len(self._waiting) if is_overloaded else len(self._waiting) // len(self._threads)
        batch = Batch(self._processor.shedding.times, min(MOST, max(1, share)))
        answered: list[FrameTask] = []
        while not batch.is_full and (task := self._take()) is not None:
            # A suspect is processed alone: no other frame waits for its trial, or dies with it.
            is_suspect = self._processor.is_suspect(task.message)
            if is_suspect and (batch or answered):
                self._put_back([task])
                break
            found = self._read(task)
            if isinstance(found, ProcessingResult):
                task.result = found
                answered.append(task)
                if len(answered) >= MOST:
                    self._publish(answered)
                    answered = []
            elif found is not None and not batch.add(task, found):
                self._put_back([task])
                break
            if is_suspect:
                break
        self._publish(answered)
        if batch:
            self._inspect(batch)

    def _inspect(self, batch: Batch) -> None:
        began_s = time.perf_counter()
        for task, result in zip(batch.tasks, self._processor.inspect_all(batch.works), strict=True):
            task.result = result
        self._publish(batch.tasks)
        batch.learn(1000 * (time.perf_counter() - began_s))

    def _read(self, task: FrameTask) -> FrameWork | ProcessingResult | None:
        """Return what an inspection needs; the result if there is one; None while the image is being fetched."""
        task.take()
        if task.holds_fetch_slot:
            task.holds_fetch_slot = False
            self._fetch_slots.release()
        if task.frame is not None:  # checked again after a wait
            shed = self._processor.shed(task.message, task.frame)
            if shed is not None:
                return shed
        else:
            found = self._processor.read(task.message)
            if isinstance(found, ProcessingResult):
                return found
            task.frame = found
        image = task.frame.image if task.image is None else task.image
        if image is not None:
            return task.message, task.frame, image
        self._slots.release_slot(task)
        self._fetching.submit(self._fetch, task, task.frame)
        return None

    def _fetch(self, task: FrameTask, frame: Frame) -> None:
        """Fetch the image of a frame from the store, and queue the frame again, before all others."""
        self._fetch_slots.acquire()
        try:
            # Checked again after each wait: a frame that is now too late is not fetched, or not inspected.
            found = self._processor.shed(task.message, frame) or self._processor.image(task.message, frame)
            if isinstance(found, bytes):
                task.image, task.holds_fetch_slot = found, True
                self._put_back([task])
                return
            self._fetch_slots.release()
            task.result = found
            self._publish([task])
        except BaseException as error:  # noqa: BLE001 - as above
            self._fail(error)

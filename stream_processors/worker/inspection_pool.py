"""Pool of threads that inspect frames and fetch their images.

A thread takes several waiting frames together. On an idle line that is one frame. On a busy line the frames share the
hand-overs between threads, and the network stays in the caches. Frames taken together are of one kind, so that no frame
waits for a much larger one. When a thread takes a frame, it checks if the frame is still worth an inspection.

In the mode ``newest`` a frame replaces an older waiting frame of its camera (`stream_processors.worker.waiting`).
A thread sheds some of the replaced frames, and then takes waiting ones: it always finds the newest frame.

A store is remote and may be down; a frame that carries its image must not wait for it. So other threads fetch images,
and a frame that needs its image fetched first gives up its slot.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from schemas.records import Frame
from stream_processors.worker.estimate import FrameKind, kind_of
from stream_processors.worker.frame_processor import FrameMessage, FrameProcessor, ProcessingResult
from stream_processors.worker.overload import Overload
from stream_processors.worker.waiting import Waiting

T = TypeVar("T")

#: Images fetched at once, and so the most images that are in memory before they are inspected.
FETCHES = 4
#: Frames are inspected together only if that takes no longer than this, in seconds.
_BATCH_S = 0.040
_MOST = 16


@dataclass(slots=True)
class Work(Generic[T]):
    """Message and its item, and, once known, its frame and its image."""

    message: FrameMessage
    item: T
    frame: Frame | None = None
    image: bytes | None = None
    #: Time at which a thread took the frame (`time.perf_counter`).
    began_s: float = 0.0
    #: True if the frame occupies one of the slots for fetching.
    is_fetched: bool = False


class InspectionPool(Generic[T]):
    """Threads that answer messages.

    Parameters
    ----------
    answer
        Makes the answers.
    threads
        Number of threads that inspect.
    publish
        Called with each answer, in the thread that made it.
    step_aside
        Called with an item before its image is fetched from the store.
    fail
        Called with the exception if a thread fails, which should never happen.
    """

    def __init__(
        self,
        answer: FrameProcessor,
        threads: int,
        *,
        publish: Callable[[Work[T], ProcessingResult], object],
        step_aside: Callable[[T], object],
        fail: Callable[[BaseException], object],
    ) -> None:
        self._answer = answer
        self._publish = publish
        self._step_aside = step_aside
        self._fail = fail
        self._waiting: Waiting[Work[T]] = Waiting()
        self._overtaken: deque[Work[T]] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._inspect, name=f"inspect-{number}", daemon=True) for number in range(threads)
        ]
        self._fetching = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")
        self._free_to_fetch = threading.Semaphore(FETCHES)
        for thread in self._threads:
            thread.start()

    def submit(self, message: FrameMessage, item: T) -> None:
        """Queue a message to be answered."""
        work, source = Work(message, item), message.source
        is_newest = self._answer.shedding.mode_of_key(message.key) is Overload.NEWEST
        with self._wake:
            older = self._waiting.put(work, (source.partition, message.key) if is_newest else None)
            if older is None:
                self._wake.notify()
            else:  # the notification of the older frame is enough for both
                self._overtaken.append(older)

    def close(self) -> None:
        """End the threads after they have answered the waiting messages."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()
        self._fetching.shutdown()

    def _inspect(self) -> None:
        while self._await():
            try:
                self._shed(self._take_overtaken())
                self._answer_all(self._take())
            except BaseException as error:  # noqa: BLE001 - reported to the code that can end the process
                self._fail(error)
                return

    def _await(self) -> bool:
        """Wait for work; return False when no more work will come."""
        with self._wake:
            while not (self._waiting or self._overtaken or self._closed):
                self._wake.wait()
            return bool(self._waiting or self._overtaken)

    def _take_overtaken(self) -> list[Work[T]]:
        with self._wake:
            return [self._overtaken.popleft() for _ in range(min(_MOST, len(self._overtaken)))]

    def _take(self) -> list[Work[T]]:
        with self._wake:
            # Half of a fair share: a frame waits for the frames taken with it no longer than for those before it.
            count = min(_MOST, max(1, len(self._waiting) // (2 * len(self._threads))))
            return [self._waiting.take() for _ in range(min(count, len(self._waiting)))]

    def _put_back(self, works: list[Work[T]]) -> None:
        with self._wake:
            for work in reversed(works):
                self._waiting.put_back(work)
            self._wake.notify(len(works))

    def _shed(self, works: list[Work[T]]) -> None:
        """Answer frames that lost their place; frames that must not be shed (published again) are queued again."""
        answered: list[tuple[Work[T], ProcessingResult]] = []
        for work in works:
            if answered and self._answer.is_suspect(work.message):
                self._publish_all(answered)  # its trial takes seconds
                answered = []
            work.began_s = time.perf_counter()
            found = self._answer.read(work.message, overtaken=True)
            if isinstance(found, ProcessingResult):
                answered.append((work, found))
            else:
                work.frame = found
                self._put_back([work])
        self._publish_all(answered)

    def _publish_all(self, answered: list[tuple[Work[T], ProcessingResult]]) -> None:
        # Without a pause: the client then sends them as one request, which costs the broker a fraction.
        for work, answer in answered:
            self._publish(work, answer)

    def _answer_all(self, works: list[Work[T]]) -> None:
        kind: FrameKind | None = None
        answered: list[tuple[Work[T], ProcessingResult]] = []
        ready: list[tuple[Work[T], Frame, bytes]] = []
        most = 1
        # A suspect is processed alone: no other frame waits for its trial, or dies with it.
        if len(works) > 1 and self._answer.is_suspect(works[0].message):
            self._put_back(works[1:])
            works = works[:1]
        for number, work in enumerate(works):
            if number and self._answer.is_suspect(work.message):
                self._put_back(works[number:])
                break
            seen = self._read(work)
            if isinstance(seen, ProcessingResult):
                answered.append((work, seen))
                continue
            if seen is None:
                continue
            if kind is None:
                kind = kind_of(seen[0])
                most = self._answer.shedding.together(kind, _BATCH_S, _MOST)
            if len(ready) >= most or kind_of(seen[0]) != kind:
                self._put_back(works[number:])
                break
            ready.append((work, *seen))
        self._publish_all(answered)
        if kind is None:
            return
        began_s = time.perf_counter()
        answers = self._answer.inspect_all([(work.message, frame, image) for work, frame, image in ready])
        for (work, _, _), answer in zip(ready, answers, strict=True):
            self._publish(work, answer)
        self._answer.shedding.times.taken(kind, 1000 * (time.perf_counter() - began_s) / len(ready))

    def _read(self, work: Work[T]) -> tuple[Frame, bytes] | ProcessingResult | None:
        """Return frame and image for inspection; the answer if there is one; None while the image is being fetched."""
        work.began_s = time.perf_counter()
        if work.is_fetched:
            work.is_fetched = False
            self._free_to_fetch.release()
        if work.frame is not None:  # checked again after a wait
            shed = self._answer.shed(work.message, work.frame)
            if shed is not None:
                return shed
        else:
            found = self._answer.read(work.message)
            if isinstance(found, ProcessingResult):
                return found
            work.frame = found
        image = work.frame.image if work.image is None else work.image
        if image is not None:
            return work.frame, image
        self._step_aside(work.item)
        self._fetching.submit(self._fetch, work)
        return None

    def _is_worth_it(self, work: Work[T]) -> bool:
        assert work.frame is not None
        shed = self._answer.shed(work.message, work.frame)
        if shed is not None:
            self._publish(work, shed)
        return shed is None

    def _fetch(self, work: Work[T]) -> None:
        assert work.frame is not None
        self._free_to_fetch.acquire()
        try:
            # Checked again after each wait: a frame that is now too late is not fetched, or not inspected.
            image = self._answer.image(work.message, work.frame) if self._is_worth_it(work) else None
            if isinstance(image, bytes):
                work.image, work.is_fetched = image, True
                self._put_back([work])
                return
            self._free_to_fetch.release()
            if image is not None:
                self._publish(work, image)
        except BaseException as error:  # noqa: BLE001 - as above
            self._fail(error)

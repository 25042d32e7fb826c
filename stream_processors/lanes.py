"""Where a frame is worked on: threads that inspect, and others that fetch images from a store.

A thread takes some of the frames that wait together: on an idle line that is one, on a busy one the hand-overs between
threads are shared, and the network stays in the caches. Whether a frame is worth an inspection is asked when a thread
takes it.

A store is far away and may be dead; a frame that carries its image must not wait for it. So fetching has threads of its
own, and a frame that needs one steps aside first.
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
from stream_processors.answer import Answer, Answerer, Received

T = TypeVar("T")

#: Images fetched at once, and so the most that are held in memory before they are inspected.
FETCHES = 4
#: Frames are taken together as long as that takes no longer, in seconds.
_BATCH_S = 0.040
_MOST = 16


@dataclass(slots=True)
class Work(Generic[T]):
    """A message, the item that it is of, and, as far as it has come, its frame and its image."""

    message: Received
    item: T
    frame: Frame | None = None
    image: bytes | None = None
    #: When a thread took it (`time.perf_counter`).
    began_s: float = 0.0


class Lanes(Generic[T]):
    """Answers messages in threads.

    Parameters
    ----------
    answer
        Says what is to be done.
    threads
        Threads that inspect.
    publish
        Called with each answer, in the thread that made it.
    step_aside
        Called with an item before its image is fetched from the store.
    fail
        Called with what was raised, which should never happen.
    """

    def __init__(
        self,
        answer: Answerer,
        threads: int,
        *,
        publish: Callable[[Work[T], Answer], object],
        step_aside: Callable[[T], object],
        fail: Callable[[BaseException], object],
    ) -> None:
        self._answer = answer
        self._publish = publish
        self._step_aside = step_aside
        self._fail = fail
        self._waiting: deque[Work[T]] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._together = 1
        self._threads = [
            threading.Thread(target=self._inspect, name=f"inspect-{number}", daemon=True) for number in range(threads)
        ]
        self._fetching = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")
        self._free_to_fetch = threading.Semaphore(FETCHES)
        for thread in self._threads:
            thread.start()

    def submit(self, message: Received, item: T) -> None:
        """Have a message answered."""
        with self._wake:
            self._waiting.append(Work(message, item))
            self._wake.notify()

    def close(self) -> None:
        """End the threads when they have answered what waits."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()
        self._fetching.shutdown()

    def _inspect(self) -> None:
        while works := self._take():
            try:
                self._answer_all(works)
            except BaseException as error:  # noqa: BLE001 - said to who can end the process
                self._fail(error)
                return

    def _take(self) -> list[Work[T]]:
        with self._wake:
            while not self._waiting and not self._closed:
                self._wake.wait()
            # Half of a fair share: a frame waits for those it is taken with no longer than for those before it.
            count = max(1, min(self._together, len(self._waiting) // (2 * len(self._threads))))
            return [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]

    def _answer_all(self, works: list[Work[T]]) -> None:
        began_s = time.perf_counter()
        ready = []
        for work in works:
            work.began_s = began_s
            if (seen := self._read(work)) is not None:
                ready.append((work, seen))
        if not ready:
            return
        answers = self._answer.inspect_all([(work.message, *seen) for work, seen in ready])
        for (work, _), answer in zip(ready, answers, strict=True):
            self._publish(work, answer)
        self._learn((time.perf_counter() - began_s) / len(ready))

    def _read(self, work: Work[T]) -> tuple[Frame, bytes] | None:
        """Frame and image, to be inspected; None where it has been answered, or is on its way to the store."""
        if work.frame is not None and work.image is not None:  # fetched
            self._free_to_fetch.release()
            return (work.frame, work.image) if self._is_worth_it(work) else None
        frame = self._answer.read(work.message)
        if isinstance(frame, Answer):
            self._publish(work, frame)
            return None
        work.frame = frame
        if frame.image is not None:
            return frame, frame.image
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
            # Asked again after each wait: what has become too late by now is not fetched, or not inspected.
            image = self._answer.image(work.message, work.frame) if self._is_worth_it(work) else None
            if isinstance(image, bytes):
                work.image = image
                with self._wake:
                    self._waiting.appendleft(work)
                    self._wake.notify()
                return
            self._free_to_fetch.release()
            if image is not None:
                self._publish(work, image)
        except BaseException as error:  # noqa: BLE001 - as above
            self._fail(error)

    def _learn(self, frame_s: float) -> None:
        """How many are taken together; threads may overwrite each other's, which does no harm."""
        self._together = max(1, min(_MOST, int(_BATCH_S / frame_s)))

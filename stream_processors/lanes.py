"""Where a frame is worked on: threads that inspect, and others that fetch images from a store.

A store is far away and may be dead; a frame that carries its image must not wait for it. So fetching has threads of its
own, and a frame that needs one steps aside first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from schemas.records import Frame
from stream_processors.answer import Answer, Answerer, Received

#: Images fetched at once, and so the most that are held in memory before they are inspected.
FETCHES = 4


class Lanes:
    """Answers messages in threads, at most so many at once.

    Parameters
    ----------
    answer
        Says what is to be done.
    threads
        Frames inspected at once.
    """

    def __init__(self, answer: Answerer, threads: int) -> None:
        self._answer = answer
        self._inspecting = ThreadPoolExecutor(threads, thread_name_prefix="inspect")
        self._fetching = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")
        self._free = asyncio.Semaphore(threads)
        self._free_to_fetch = asyncio.Semaphore(FETCHES)

    async def answer(self, message: Received, step_aside: Callable[[], object]) -> Answer:
        """Answer one message.

        Parameters
        ----------
        message
            As it was read.
        step_aside
            Called before it waits for the store.
        """
        # Whether it is worth an inspection is asked when a thread is free for it, and what is shed costs no thread.
        async with self._free:
            frame = self._answer.read(message)
            if isinstance(frame, Answer):
                return frame
            if frame.image is not None:
                return await self._inspect(message, frame, frame.image)
        step_aside()
        async with self._free_to_fetch:
            # Asked again after each wait: what has become too late by now is not fetched, or not inspected.
            if (shed := self._answer.shed(message, frame)) is not None:
                return shed
            loop = asyncio.get_running_loop()
            image = await loop.run_in_executor(self._fetching, self._answer.image, message, frame)
            if isinstance(image, Answer):
                return image
            async with self._free:
                return self._answer.shed(message, frame) or await self._inspect(message, frame, image)

    async def _inspect(self, message: Received, frame: Frame, image: bytes) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._inspecting, self._answer.inspect, message, frame, image)

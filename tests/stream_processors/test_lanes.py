"""Who waits for whom: a frame by reference for its store, a frame that carries its image for nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from models import Model, Source, default_model_path, load_model
from schemas import Frame, ImageReference, ResultState, encode
from schemas.clock import ManualClock
from schemas.image_store import ImageStore
from schemas.wire import Codec
from stream_processors.answer import Answer, Answerer, Received
from stream_processors.lanes import FETCHES, Lanes
from stream_processors.overload import OverloadPolicy
from stream_processors.pipeline import Pipeline
from tests.stream_processors.test_overload import JPEG, SHA256, make_frame

BY_REFERENCE = ImageReference(f"memory://images/1970-01-01/00/press.c/{SHA256}.jpeg", len(JPEG))


class HeldStore(ImageStore):
    """Gives images only once it is released; counts who asks."""

    def __init__(self) -> None:
        super().__init__("memory://images")
        self.released = threading.Event()
        self.asked = self.at_once = self.most = 0
        self._lock = threading.Lock()

    def get(self, reference: ImageReference, sha256: str) -> bytes:
        with self._lock:
            self.asked += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        assert self.released.wait(20)
        with self._lock:
            self.at_once -= 1
        return JPEG


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(default_model_path())


@pytest.fixture
def store() -> HeldStore:
    return HeldStore()


def referring(sequence: int) -> Frame:
    return replace(make_frame(sequence), image=None, reference=BY_REFERENCE)


def received(frame: Frame) -> Received:
    return Received(encode(frame), b"press/c", {}, Source("frames", 0, frame.sequence, 0))


async def until(true: Callable[[], bool]) -> None:
    for _ in range(4_000):
        if true():
            return
        await asyncio.sleep(0.005)
    pytest.fail("not within 20 s")


def test_frames_behind_a_stuck_fetch_are_answered_and_acked_in_order(model: Model, store: HeldStore) -> None:
    async def run() -> None:
        lanes = Lanes(Answerer(model, Codec(), ManualClock(), OverloadPolicy(), store), threads=2)
        answered: dict[int, Answer] = {}
        acked: list[int] = []

        async def work(frame: Frame) -> None:
            answered[frame.sequence] = await lanes.answer(received(frame), pipeline.step_aside)

        pipeline: Pipeline[Frame] = Pipeline(work, lambda frame: acked.append(frame.sequence), pytest.fail, limit=4)
        frames = [referring(n) if n < 20 else make_frame(n) for n in range(60)]
        for frame in frames:  # of 20 by reference all would take a place, and one ahead of the rest would hold all acks
            await asyncio.wait_for(pipeline.put(frame), 20)
        await until(lambda: len(answered) == 40)
        assert min(answered) == 20
        assert acked == []
        assert store.most == FETCHES
        store.released.set()
        await asyncio.wait_for(pipeline.drain(), 20)
        assert acked == list(range(60))
        states = {answer.decision.result_state for answer in answered.values() if answer.decision is not None}
        assert states == {ResultState.COMPLETED}

    asyncio.run(run())


def test_what_has_become_too_late_is_not_fetched(model: Model, store: HeldStore) -> None:
    async def run() -> None:
        clock = ManualClock()
        lanes = Lanes(Answerer(model, Codec(), clock, OverloadPolicy(), store), threads=2)
        tasks = [asyncio.ensure_future(lanes.answer(received(referring(n)), lambda: None)) for n in range(10)]
        await until(lambda: store.asked == FETCHES)
        clock.advance(0.6)  # their deadline is 0.5 s
        store.released.set()
        answers = await asyncio.gather(*tasks)
        assert [answer.shed for answer in answers] == ["deadline"] * 10
        assert store.asked == FETCHES
        late = await lanes.answer(received(referring(11)), lambda: None)
        assert (late.shed, store.asked) == ("deadline", FETCHES)

    asyncio.run(run())


def test_room_is_given_back_once_whether_or_not_an_item_stepped_aside() -> None:
    async def run() -> None:
        running = most = 0

        async def work(number: int) -> None:
            nonlocal running, most
            if number % 3 == 0:
                pipeline.step_aside()
                pipeline.step_aside()
                await asyncio.sleep(0.001)
                return
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.0001 * (number % 5))
            running -= 1

        acked: list[int] = []
        pipeline: Pipeline[int] = Pipeline(work, acked.append, pytest.fail, limit=3, unacked=10)
        for number in range(200):
            await asyncio.wait_for(pipeline.put(number), 20)
        await asyncio.wait_for(pipeline.drain(), 20)
        assert acked == list(range(200))
        assert most == 3

    asyncio.run(run())

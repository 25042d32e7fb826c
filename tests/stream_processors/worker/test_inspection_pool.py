"""Frames by reference wait for their store; frames that carry their image do not wait for them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType

import pytest

from models import FramePosition, Model, default_model_path, load_model
from schemas import Frame, ImageReference, ResultState
from schemas.clock import ManualClock
from schemas.codec import Codec, encode
from schemas.replay_headers import RETRY_HEADER
from stream_processors.worker.estimate import kind_of
from stream_processors.worker.frame_processor import FrameProcessor
from stream_processors.worker.frame_task import FrameMessage, FrameTask, ProcessingResult
from stream_processors.worker.inspection_pool import FETCHES, InspectionPool
from stream_processors.worker.ordered_completion import OrderedCompletion
from stream_processors.worker.overload import Overload, OverloadPolicy
from tests.support.press_frames import JPEG, SHA256, make_frame
from transport.image_store import ImageStore

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


def received(frame: Frame) -> FrameMessage:
    return FrameMessage(encode(frame), frame.key.encode(), {}, FramePosition("frames", 0, frame.sequence, 0))


async def until(true: Callable[[], bool]) -> None:
    for _ in range(4_000):
        if true():
            return
        await asyncio.sleep(0.005)
    pytest.fail("not within 20 s")


class Event:
    """Stands for Faust's event: records the ack."""

    def __init__(self, number: int, acked: list[int]) -> None:
        self.number, self._acked = number, acked

    def ack(self) -> None:
        self._acked.append(self.number)


class Line:
    """Pool and order of completion, with the results: by sequence, and the order of the acks."""

    def __init__(
        self,
        store: ImageStore,
        model: Model,
        clock: ManualClock,
        *,
        limit: int = 4,
        mode: Overload = Overload.DEADLINE,
    ) -> None:
        self.answers: dict[int, ProcessingResult] = {}
        self.acked: list[int] = []
        self.failed: list[BaseException] = []
        self.progress: list[str] = []
        self.completion = OrderedCompletion(self, limit)
        self.processor = FrameProcessor(model, Codec(), clock, OverloadPolicy(mode), store, is_retry=lambda _: True)
        self.pool = InspectionPool(self.processor, self, self.completion, 2, fail=self.failed.append)

    def publish(self, task: FrameTask) -> None:
        self.answers[task.event.number] = task.result
        self.completion.complete(task)

    def admitted(self, task: FrameTask) -> None:
        self.progress.append("admitted")

    def completed(self, task: FrameTask) -> None:
        self.progress.append("completed")

    def acknowledged(self, task: FrameTask) -> None:
        self.progress.append("acknowledged")

    async def put(self, frame: Frame, headers: Mapping[str, bytes] = MappingProxyType({})) -> None:
        await asyncio.wait_for(self.completion.free_slot(), 20)
        message = replace(received(frame), headers=headers)
        self.pool.submit(self.completion.admit(FrameTask(message, Event(frame.sequence, self.acked))))

    async def drain(self) -> None:
        await asyncio.wait_for(self.completion.drain(), 20)
        self.pool.close()
        assert self.failed == []


def test_frames_behind_a_stuck_fetch_are_answered_and_acked_in_order(model: Model, store: HeldStore) -> None:
    async def run() -> None:
        line = Line(store, model, ManualClock())
        frames = [referring(n) if n < 20 else make_frame(n) for n in range(60)]
        for frame in frames:  # of 20 by reference all would take a place, and one ahead of the rest would hold all acks
            await line.put(frame)
        await until(lambda: len(line.answers) == 40)
        assert min(line.answers) == 20
        assert line.acked == []
        assert store.most == FETCHES
        store.released.set()
        await line.drain()
        assert line.acked == list(range(60))
        states = {answer.decision.result_state for answer in line.answers.values() if answer.decision is not None}
        assert states == {ResultState.COMPLETED}

    asyncio.run(run())


def test_what_has_become_too_late_is_not_fetched(model: Model, store: HeldStore) -> None:
    async def run() -> None:
        clock = ManualClock()
        line = Line(store, model, clock, limit=16)
        for number in range(10):
            await line.put(referring(number))
        await until(lambda: store.asked == FETCHES)
        clock.advance(0.6)  # their deadline is 0.5 s
        store.released.set()
        await until(lambda: len(line.answers) == 10)
        assert [answer.shed for answer in line.answers.values()] == ["deadline"] * 10
        assert store.asked == FETCHES
        await line.put(referring(11))
        await line.drain()
        assert (line.answers[11].shed, store.asked) == ("deadline", FETCHES)

    asyncio.run(run())


def test_many_that_wait_are_taken_together_and_all_answered(model: Model, store: HeldStore) -> None:
    async def run() -> None:
        line = Line(store, model, ManualClock(), limit=64)
        looked = []
        real = line.processor.inspect_all
        line.processor.inspect_all = lambda works: (looked.append(len(works)), real(works))[1]  # type: ignore[assignment, method-assign]
        line.processor.shedding.times.frame_ms = lambda kind: 1.0  # type: ignore[method-assign]
        for number in range(200):
            await line.put(make_frame(number))
        await line.drain()
        assert line.acked == list(range(200))
        assert sum(looked) == 200
        assert max(looked) > 1

    asyncio.run(run())


def test_shed_frames_leave_room_in_the_batch(model: Model, store: HeldStore) -> None:
    """Frames that are too late are answered on the way to those that are inspected together."""

    async def run() -> None:
        line = Line(store, model, clock := ManualClock(), limit=64)
        real, sizes, released = line.processor.inspect_all, [], threading.Event()

        def look(works: Sequence[tuple[FrameMessage, Frame, bytes]]) -> list[ProcessingResult]:
            sizes.append(len(works))
            assert released.wait(20)
            return real(works)

        line.processor.inspect_all = look  # type: ignore[method-assign]
        line.processor.shedding.times.frame_ms = lambda kind: 1.0  # type: ignore[method-assign]
        for number in (0, 1):  # both threads are busy
            await line.put(make_frame(number))
            await until(lambda wanted=number + 1: len(sizes) == wanted)
        for number in range(2, 62):
            deadline_ms = 10_000 if number % 6 == 0 else 100
            await line.put(replace(make_frame(number), deadline_ms=deadline_ms))
        clock.advance(1.0)
        released.set()
        await line.drain()
        assert line.acked == list(range(62))
        assert (sum(sizes), len(sizes) <= 4) == (12, True)

    asyncio.run(run())


def test_frames_that_take_long_are_not_taken_with_others(model: Model, store: HeldStore) -> None:
    """Check that a quick frame does not wait for a slow one."""

    async def run() -> None:
        line = Line(store, model, ManualClock(), limit=64)
        kinds = []
        real = line.processor.inspect_all

        def look(works: Sequence[tuple[FrameMessage, Frame, bytes]]) -> list[ProcessingResult]:
            kinds.append({frame.width for _, frame, _ in works})
            return real(works)

        line.processor.inspect_all = look  # type: ignore[method-assign]
        slow = kind_of(replace(make_frame(0), width=9_000))
        line.processor.shedding.times.frame_ms = lambda kind: 50.0 if kind == slow else 1.0  # type: ignore[method-assign]
        for number in range(100):
            await line.put(replace(make_frame(number), width=300 if number % 5 else 9_000))
        await line.drain()
        assert line.acked == list(range(100))
        assert {len(each) for each in kinds} == {1}

    asyncio.run(run())


def test_a_free_thread_finds_the_newest_of_each_camera(model: Model, store: HeldStore) -> None:
    """Check that frames which came meanwhile are shed, except those that were published again on purpose."""

    async def run() -> None:
        line = Line(store, model, ManualClock(), limit=64, mode=Overload.NEWEST)
        real, looked, released = line.processor.inspect_all, [], threading.Event()

        def look(works: Sequence[tuple[FrameMessage, Frame, bytes]]) -> list[ProcessingResult]:
            looked.extend(frame.sequence for _, frame, _ in works)
            assert released.wait(20)
            return real(works)

        line.processor.inspect_all = look  # type: ignore[method-assign]
        for number in (0, 1):  # both threads are busy
            await line.put(make_frame(number, camera=f"busy{number}"))
            await until(lambda wanted=number + 1: len(looked) == wanted)
        for number in range(2, 50):
            headers = {RETRY_HEADER: b"0-1"} if number == 20 else {}
            await line.put(make_frame(number, camera=f"c{number % 3}"), headers)
        released.set()
        await line.drain()
        assert line.acked == list(range(50))
        assert sorted(looked) == [0, 1, 20, 47, 48, 49]
        shed = {number for number, answer in line.answers.items() if answer.shed == "overtaken"}
        assert shed == set(range(50)) - set(looked)

    asyncio.run(run())


def test_what_should_never_be_raised_is_said_and_nothing_is_acked(model: Model, store: HeldStore) -> None:
    async def run() -> None:
        line = Line(store, model, ManualClock())
        error = RuntimeError("a fault of ours")

        def fail(_: object) -> list[ProcessingResult]:
            raise error

        line.processor.inspect_all = fail  # type: ignore[method-assign, assignment]
        await line.put(make_frame(0))
        await until(lambda: bool(line.failed))
        line.pool.close()
        assert line.failed == [error]
        assert line.acked == []

    asyncio.run(run())


def test_a_slot_is_released_once_whether_or_not_a_task_gave_it_up(model: Model, store: HeldStore) -> None:
    async def run() -> None:
        line = Line(store, model, ManualClock())
        completion = OrderedCompletion(line, limit=3, unacknowledged=10)
        in_flight: set[int] = set()
        most = 0

        def work(task: FrameTask) -> None:
            number = task.event.number
            if number % 3 == 0:
                completion.release_slot(task)
            time.sleep(0.0001 * (number % 5))
            in_flight.discard(number)
            completion.complete(task)

        with ThreadPoolExecutor(8) as pool:
            for number in range(200):
                await asyncio.wait_for(completion.free_slot(), 20)
                task = completion.admit(FrameTask(received(make_frame(number)), Event(number, line.acked)))
                if number % 3:
                    in_flight.add(number)
                    most = max(most, len(in_flight))
                pool.submit(work, task)
            await asyncio.wait_for(completion.drain(), 20)
        assert line.acked == list(range(200))
        assert most <= 3
        assert completion._slots._value == 3
        assert completion._places._value == 10
        assert sorted(line.progress) == sorted(["admitted", "completed", "acknowledged"] * 200)

    asyncio.run(run())

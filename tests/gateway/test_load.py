"""Requests that are refused because their decision would be late."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from gateway.load import Load
from gateway.problems import Problem


class Clock:
    """Seconds that the test sets."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def load(clock: Clock) -> Load:
    return Load(64, 64, 5.0, 600.0, clock)


def answer(load: Load, clock: Clock, count: int, *, first_s: float, each_s: float) -> None:
    """Send frames at the same moment; answer the first one, and then the others one after the other."""
    frames = [f"{clock.now_s}.{number}" for number in range(count)]
    for frame in frames:
        load.sent(frame)
    clock.now_s += first_s
    for frame in frames:
        load.answered(frame)
        clock.now_s += each_s


def test_a_queue_that_takes_too_long_is_refused(load: Load, clock: Clock) -> None:
    answer(load, clock, 8, first_s=0.1, each_s=0.1)
    with ExitStack() as stack:
        for number in range(4):
            load.require_answers(0.45)
            load.sent(f"waiting-{number}")
            stack.enter_context(load.waits(f"waiting-{number}"))
        with pytest.raises(Problem, match=r"4 frames wait, a decision would take about 0\.5 s"):
            load.require_answers(0.45)
        load.require_answers(0.55)
        assert load.retry_after_s == pytest.approx(0.4)
    load.require_answers(0.45)


def test_who_waits_for_a_frame_of_nobody_is_no_queue(load: Load, clock: Clock) -> None:
    """Others may ask for frames that were never published, that have their answer, or that are lost."""
    answer(load, clock, 8, first_s=0.1, each_s=0.1)
    load.sent("lost")
    clock.now_s += 70
    load.sent("recent")
    load.answered("recent")
    with ExitStack() as stack:
        for number in range(30):
            stack.enter_context(load.waits(f"unknown-{number}"))
        for frame in ("lost", "recent", "1000.0.0"):
            stack.enter_context(load.waits(frame))
        load.require_answers(0.15)
        assert load.waiting_frames == 0


def test_one_frame_that_many_wait_for_is_one_frame(load: Load, clock: Clock) -> None:
    answer(load, clock, 8, first_s=0.1, each_s=0.1)
    load.sent("one")
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(load.waits("one"))
        assert load.waiting_frames == 1
        load.require_answers(0.15)


@pytest.mark.parametrize("outage_s", [4.0, 40.0])
def test_the_start_of_the_worker_is_no_rate(load: Load, clock: Clock, outage_s: float) -> None:
    """The first request waits until a worker has started; a batch follows."""
    answer(load, clock, 1, first_s=outage_s, each_s=1.0)
    answer(load, clock, 1, first_s=outage_s, each_s=1.0)
    with ExitStack() as stack:
        for number in range(16):
            load.require_answers(10.0)
            load.sent(f"batch-{number}")
            stack.enter_context(load.waits(f"batch-{number}"))


def test_an_outage_is_no_rate(load: Load, clock: Clock) -> None:
    answer(load, clock, 8, first_s=0.1, each_s=0.1)
    interval_s = load.interval_s
    assert interval_s == pytest.approx(0.1)
    frames = [f"held-{number}" for number in range(4)]
    for frame in frames:
        load.sent(frame)
    load.answered(frames[0])
    interval_s = load.interval_s
    clock.now_s += 60
    for frame in frames[1:]:
        load.answered(frame)
    assert load.interval_s is not None
    assert load.interval_s <= (interval_s or 0.0)

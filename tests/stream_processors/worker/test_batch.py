"""Batches: frames are inspected together as long as that is quick."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models import FramePosition
from schemas import Frame
from stream_processors.worker.batch import MOST, MOST_MS, Batch
from stream_processors.worker.estimate import Times, kind_of
from stream_processors.worker.frame_task import FrameMessage, FrameTask
from tests.support.press_frames import JPEG, make_frame

SMALL = make_frame()
LARGE = replace(SMALL, width=9_000, height=9_000)
#: Of about the size of the small one, beyond the next power of two.
OTHER = replace(SMALL, image=JPEG + bytes(len(JPEG)))


@pytest.fixture
def times() -> Times:
    found = Times()
    for frame, took_ms in ((SMALL, 5.0), (OTHER, 5.0), (LARGE, 30.0)):
        found.taken(kind_of(frame), took_ms)
    return found


def add(batch: Batch, frame: Frame) -> bool:
    message = FrameMessage(None, None, {}, FramePosition("frames", 0, 0, 0))
    return batch.add(FrameTask(message, None), (message, frame, b""))


def filled(batch: Batch, *frames: Frame) -> int:
    while all(add(batch, frame) for frame in frames):
        pass
    return len(batch)


def test_frames_of_several_kinds_are_inspected_together(times: Times) -> None:
    assert kind_of(SMALL) != kind_of(OTHER)
    assert filled(Batch(times, MOST), SMALL, OTHER) == MOST_MS / 5.0


def test_no_frame_waits_long_for_slower_ones(times: Times) -> None:
    batch = Batch(times, MOST)
    assert [add(batch, frame) for frame in (SMALL, LARGE, LARGE, SMALL, SMALL)] == [True, True, False, True, False]
    batch = Batch(times, MOST)
    times.taken(kind_of(LARGE), 1_000.0)
    assert [add(batch, frame) for frame in (LARGE, SMALL)] == [True, False]
    assert batch.is_full


def test_a_frame_of_an_unknown_kind_is_inspected_alone(times: Times) -> None:
    unknown = replace(SMALL, width=20_000)
    batch = Batch(times, MOST)
    assert [add(batch, frame) for frame in (SMALL, unknown)] == [True, False]
    batch = Batch(times, MOST)
    assert [add(batch, frame) for frame in (unknown, SMALL, unknown)] == [True, False, False]
    assert batch.is_full


def test_the_number_of_frames_is_limited(times: Times) -> None:
    assert filled(Batch(times, 3), SMALL) == 3
    times = Times()
    times.taken(kind_of(SMALL), 0.0)
    assert filled(Batch(times, MOST), SMALL) == MOST


def test_times_are_learnt_from_a_batch_of_several_kinds(times: Times) -> None:
    batch = Batch(times, MOST)
    assert all(add(batch, frame) for frame in (SMALL, SMALL, LARGE))
    batch.learn(80.0)  # twice as long as expected
    small_ms, large_ms = times.frame_ms(kind_of(SMALL)), times.frame_ms(kind_of(LARGE))
    assert (small_ms, large_ms) == (5.0 + 5.0 / 4, 30.0 + 30.0 / 4)


def test_the_time_of_an_unknown_kind_is_learnt() -> None:
    batch = Batch(times := Times(), MOST)
    add(batch, SMALL)
    batch.learn(7.0)
    assert times.frame_ms(kind_of(SMALL)) == 7.0

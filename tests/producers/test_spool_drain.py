"""Rules of the disk beside a sender: a true spool, a clock in hand, no Kafka."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from producers.message import Message, PublishedFrame
from producers.moving import Moving
from producers.options import CameraIdentity
from producers.spool import LazySpool, Spool, SpooledFrame, SpoolOptions, SpoolUnwritable, read_counts
from producers.spool.record import FrameKey
from producers.spool_drain import LIVE_IN_A_ROW, SpoolDrain
from producers.stats import PublisherCounters, PublisherMetrics
from schemas.clock import ManualClock

CAMERA = CameraIdentity("line", "press", "top")
MIB = 1024 * 1024


def message(number: int, size_bytes: int = 1000) -> Message:
    frame = PublishedFrame(f"f{number}", CAMERA, number, number, 1, 1, size_bytes, {})
    return Message(frame, 1, bytes(size_bytes), 0.0)


class Disk:
    """Spool drain with the frames of a sender that does nothing."""

    def __init__(self, spool: Spool | None, options: SpoolOptions) -> None:
        self.moving: dict[FrameKey, Moving] = {}
        self.clock = ManualClock(1_000_000)
        self.counters = PublisherCounters("press/top", PublisherMetrics())
        self.lines: list[str] = []
        self.changes: list[bool] = []
        self.drain = SpoolDrain(
            spool, options, self.moving, started_at_us=1, counters=self.counters, clock=self.clock,
            warn=lambda topic, line: self.lines.append(topic), on_change=self.changes.append,
        )  # fmt: skip

    def move(self, number: int, size_bytes: int = 1000, **changes: Any) -> Moving:
        """Put a frame in flight now."""
        frame = message(number, size_bytes)
        self.moving[frame.place] = moving = Moving(frame, self.clock.monotonic_s(), **changes)
        return moving

    def store(self, *numbers: int) -> None:
        for number in numbers:
            assert self.drain.store_or_drop(message(number), "queue-full", "")

    def next(self) -> list[int]:
        return [found.frame.sequence for found in self.drain.next_frames()]


@pytest.fixture
def options(tmp_path: Path) -> SpoolOptions:
    return SpoolOptions(directory=tmp_path, sync="normal", max_bytes=MIB, when_full="drop-newest")


@pytest.fixture
def disk(tmp_path: Path, options: SpoolOptions) -> Iterator[Disk]:
    made = Disk(Spool(tmp_path / "inspection" / "press.top.spool", options), options)
    with closing(made.drain):
        yield made


def test_without_a_spool_frames_are_dropped_and_no_broker_is_unreachable(options):
    disk = Disk(None, options)
    moving = disk.move(0)
    disk.clock.advance(1000)
    disk.drain.check()
    assert not disk.drain.store_or_drop(message(1), "closed", "closed")
    disk.drain.record_loss((1, 1))
    assert (disk.drain.is_used, disk.drain.takes_every_frame, disk.drain.unreachable) == (False, False, False)
    assert (moving.on_disk, disk.drain.holds_back(), disk.next(), len(disk.drain)) == (False, False, [], 0)
    assert disk.drain.may_be_in_flight(100 * MIB)
    assert disk.counters.snapshot().dropped_by_reason == {"closed": 1}
    assert disk.lines == ["closed"]


def test_frames_in_flight_go_to_disk_once_the_broker_is_unreachable(disk):
    first = disk.move(0)
    disk.clock.advance(0.9)
    second = disk.move(1)
    disk.drain.check()
    assert not disk.drain.unreachable
    disk.clock.advance(0.2)
    disk.drain.check()
    assert disk.drain.unreachable
    assert (first.on_disk, second.on_disk, len(disk.drain)) == (True, True, 2)
    assert disk.drain.holds_back()
    assert disk.next() == []  # they are in flight
    disk.drain.acknowledged(disk.moving.pop((1, 0)))
    assert (disk.drain.unreachable, disk.changes, len(disk.drain)) == (False, [True, False], 1)


def test_an_unreachable_broker_gets_one_frame_as_a_test_after_a_pause(disk):
    disk.store(*range(20))
    disk.drain.failed()
    assert disk.next() == []
    disk.clock.advance(1.1)
    assert disk.next() == [0]
    disk.move(0, on_disk=True, drained=True)
    assert disk.next() == []


def test_a_reachable_broker_gets_some_frames_at_once(disk):
    disk.store(*range(20))
    assert disk.next() == list(range(16))
    for number in range(10):
        disk.move(number, on_disk=True, drained=True)
    assert disk.next() == list(range(10, 16))


def test_frames_on_disk_get_their_turn_in_gaps_and_between_live_frames(disk):
    turns = [disk.drain.is_turn(after_live=True) for _ in range(3 * LIVE_IN_A_ROW)]
    assert turns == 3 * [*[False] * (LIVE_IN_A_ROW - 1), True]
    assert [disk.drain.is_turn(after_live=False) for _ in range(3)] == [True] * 3


@pytest.mark.parametrize(("order", "holds_back"), [("live-first", False), ("order-first", True)])
def test_live_frames_wait_for_earlier_ones_if_the_order_counts(tmp_path, order, holds_back):
    options = SpoolOptions(directory=tmp_path, sync="normal", order=order)
    disk = Disk(Spool(tmp_path / "inspection" / "press.top.spool", options), options)
    assert not disk.drain.holds_back()
    disk.store(0)
    assert disk.drain.holds_back() == holds_back
    disk.move(0, on_disk=True, drained=True)
    assert not disk.drain.holds_back()
    disk.drain.close()


def test_frames_in_flight_fill_at_most_half_a_spool(disk):
    assert disk.drain.may_be_in_flight(2 * MIB)
    disk.move(0, MIB // 4)
    assert disk.drain.may_be_in_flight(MIB // 4)
    assert not disk.drain.may_be_in_flight(MIB // 4 + 1)


def test_a_full_disk_is_asked_again_after_a_pause_and_no_frame_is_dropped_yet(disk):
    disk.store(0)
    moving = disk.move(1, 2 * MIB)
    disk.clock.advance(2)
    for _ in range(3):
        disk.drain.check()
    assert not moving.on_disk
    assert disk.lines == ["unsaved"]
    disk.clock.advance(1.1)
    disk.drain.check()
    assert disk.lines == ["unsaved", "unsaved"]
    assert disk.counters.snapshot().dropped == 0
    assert not disk.drain.store_or_drop(moving.message, "queue-full", "")
    assert disk.counters.snapshot().dropped_by_reason == {"spool-full": 1}


def test_acknowledged_frames_are_deleted_in_a_gap_or_several_at_once(disk, tmp_path):
    disk.store(*range(20))
    for number in range(20):
        disk.drain.acknowledged(Moving(message(number), on_disk=True))
        if number == 14:
            disk.drain.forget(is_idle=False)
            assert frames(tmp_path) == 20
        if number == 15:
            disk.drain.forget(is_idle=False)
            assert frames(tmp_path) == 4
    disk.drain.forget(is_idle=True)
    assert frames(tmp_path) == 0


def test_losses_are_counted_on_disk(disk, tmp_path):
    disk.store(0, 1)
    disk.drain.record_loss((1, 0), deleted_because="too-large")
    disk.drain.record_loss((1, 2))
    disk.drain.close()
    disk.drain.close()
    assert not disk.drain.is_used
    with closing(Spool(tmp_path / "inspection" / "press.top.spool", SpoolOptions())) as spool:
        assert (spool.counts.frames, spool.counts.dropped, spool.counts.refused) == (1, 2, 1)


def test_losses_from_before_a_lazy_spool_is_open_reach_the_disk(tmp_path):
    path = tmp_path / "inspection" / "press.top.spool"
    path.mkdir(parents=True)  # a folder in the place of the file cannot be opened
    with closing(LazySpool(path, SpoolOptions(sync="normal"), retry_s=0.01)) as spool:
        spool.record_loss((1, 0))
        spool.record_loss((1, 7))
        with pytest.raises(SpoolUnwritable):
            spool.append(SpooledFrame.of(message(8)))
        assert (spool.frames, spool.bytes, spool.counts.refused, spool.oldest(5)) == (0, 0, 0, [])
        path.rmdir()
        while not is_stored(spool, message(8)):
            time.sleep(0.01)
        spool.record_loss((1, 9))
        assert (spool.frames, spool.counts.refused) == (1, 3)


def is_stored(spool: LazySpool, frame: Message) -> bool:
    try:
        spool.append(SpooledFrame.of(frame))
    except SpoolUnwritable:
        return False
    return True


def frames(directory: Path) -> int:
    """Return the number of frames in the file, acknowledged ones included."""
    return read_counts(directory / "inspection" / "press.top.spool").frames

"""Estimates that were once too high: they come down again, and hopeless frames are still shed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import FramePosition
from schemas import Encoding
from schemas.clock import ManualClock
from schemas.records import MICROSECONDS_PER_MS
from stream_processors.worker.estimate import DurationEstimate, Times, capped_ms, kind_of
from stream_processors.worker.overload import Overload, OverloadPolicy
from stream_processors.worker.probes import PROBE_S, SHARE, Probes
from stream_processors.worker.shedding import Shedding
from stream_processors.worker.waiting import Waiting
from tests.support.press_frames import make_frame

DEADLINE_MS = 500


class Line:
    """Cameras whose frames are checked and, unless they are shed, answered at once."""

    def __init__(self, mode: Overload = Overload.DEADLINE) -> None:
        self.clock = ManualClock(utc_us=10**15)
        self.shedding = Shedding(OverloadPolicy(mode), self.clock)
        self._offset = 0

    def frame(
        self,
        camera: str = "c",
        *,
        inspection_ms: float = 12,
        publishing_ms: float = 3,
        age_ms: float = 4,
        **given: object,
    ) -> bool:
        """Check a frame and answer it; return True if it was inspected."""
        self._offset += 1
        captured_at_us = self.clock.utc_us() - round(age_ms * MICROSECONDS_PER_MS)
        frame = replace(make_frame(self._offset, captured_at_us=captured_at_us, camera=camera), **given)
        source = FramePosition("frames", 0, self._offset, self.clock.utc_us())
        shed = self.shedding.shed_reason(frame, frame.key.encode(), source)
        if shed is None:
            self.shedding.learn(frame, source, inspection_ms, publishing_ms)
        return shed is None

    def run(self, seconds: float, cameras: int = 1, fps: float = 20, **given: object) -> list[tuple[float, str, bool]]:
        """Return for each frame the time since the start, its camera, and True if it was inspected."""
        found = []
        for number in range(round(seconds * fps)):
            for camera in range(cameras):
                found.append((number / fps, f"c{camera}", self.frame(f"c{camera}", **given)))
            self.clock.advance(1 / fps)
        return found


def assert_recovers(found: list[tuple[float, str, bool]]) -> None:
    """Check that each camera has an inspected frame within 2 s, and that no frame is shed after it."""
    for camera in {camera for _, camera, _ in found}:
        assert min(at_s for at_s, its, inspected in found if its == camera and inspected) <= 2
    assert all(inspected for at_s, _, inspected in found if at_s > 2)


def one_slow_frame(line: Line) -> None:
    line.frame("c0", inspection_ms=2_000)


def sixteen_slow_frames(line: Line) -> None:
    for _ in range(16):
        line.frame("c0", inspection_ms=2_700)
        line.clock.advance(0.2)


def large_images_without_a_deadline(line: Line) -> None:
    for _ in range(16):
        line.frame("big", inspection_ms=2_700, width=10_000, height=10_000, deadline_ms=None, encoding=Encoding.PNG)


def frames_without_a_deadline(line: Line) -> None:
    for _ in range(16):
        line.frame("c0", inspection_ms=60_000, deadline_ms=None)


def a_broker_that_pauses(line: Line) -> None:
    for _ in range(64):
        line.frame("c0", publishing_ms=4_000)
    line.clock.advance(4)


def a_worker_that_was_stopped(line: Line) -> None:
    for _ in range(64):
        line.frame("c0", inspection_ms=4_000, publishing_ms=4_000)


@pytest.mark.parametrize("cameras", [1, 12])
@pytest.mark.parametrize("warm_s", [0, 10])
@pytest.mark.parametrize(
    "moment",
    [
        one_slow_frame,
        sixteen_slow_frames,
        large_images_without_a_deadline,
        frames_without_a_deadline,
        a_broker_that_pauses,
        a_worker_that_was_stopped,
    ],
)
def test_a_slow_moment_passes(moment: Callable[[Line], None], warm_s: int, cameras: int) -> None:
    line = Line()
    line.run(warm_s, cameras)
    moment(line)
    assert_recovers(line.run(10, cameras))


def test_ten_thousand_quick_frames_and_a_slow_one() -> None:
    line = Line()
    line.run(500)
    one_slow_frame(line)
    found = line.run(5_000 / 20, age_ms=1)
    assert_recovers(found)


def test_cameras_of_many_sizes_recover_within_two_seconds() -> None:
    line = Line()
    sizes = [(2**number, 2**number) for number in range(4, 14)]
    for number, (width, height) in enumerate(sizes):
        for _ in range(20):
            line.frame(f"c{number}", inspection_ms=5_000, width=width, height=height)
    inspected_s: dict[int, float] = {}
    for tick in range(40):
        for number, (width, height) in enumerate(sizes):
            if line.frame(f"c{number}", width=width, height=height):
                inspected_s.setdefault(number, tick / 20)
        line.clock.advance(1 / 20)
    assert len(inspected_s) == len(sizes), inspected_s


def test_large_images_do_not_speak_for_small_ones() -> None:
    line = Line()
    line.run(1)
    large_images_without_a_deadline(line)
    assert all(inspected for _, _, inspected in line.run(1))


def test_slow_publishing_is_learnt_from_frames_that_are_shed() -> None:
    line = Line()
    line.run(5)
    a_broker_that_pauses(line)
    frame = make_frame(captured_at_us=line.clock.utc_us())
    before_ms = line.shedding.times.needed_ms(kind_of(frame), line.clock.monotonic_s())
    for _ in range(60):
        line.shedding.times.published(capped_ms(3.0, DEADLINE_MS), line.clock.monotonic_s())
    assert line.shedding.times.needed_ms(kind_of(frame), line.clock.monotonic_s()) < before_ms / 4


@given(age_ms=st.floats(DEADLINE_MS + 1, 1e6), quiet_s=st.floats(0, 100))
def test_a_frame_whose_deadline_has_passed_is_never_a_probe(age_ms: float, quiet_s: float) -> None:
    line = Line()
    line.frame()
    line.clock.advance(quiet_s)
    assert not line.frame(age_ms=age_ms)


def test_times_that_vary_much_do_not_shed_what_is_most_likely_in_time() -> None:
    """Use a mean of 200 ms with a deadline of 500; with four deviations it exceeds the deadline."""
    line, inspected = Line(), []
    for number in range(200):
        inspected.append(line.frame(inspection_ms=100 if number % 2 else 300))
        line.clock.advance(0.05)
    assert all(inspected)
    # A frame that has waited until an inspection would hardly be in time is shed.
    assert not line.frame(age_ms=350)


@given(st.lists(st.floats(0, 1e4), min_size=1), st.floats(1, 1e4))
def test_what_is_needed_lies_between_the_mean_and_the_deadline(took: list[float], deadline_ms: float) -> None:
    times, kind = Times(), kind_of(make_frame())
    for one in took:
        times.inspected(kind, one, 0.0)
        times.published(one / 10, 0.0)
    mean_ms = times._kinds[kind].inspection.mean_ms(0.0) + times._publishing.mean_ms(0.0)
    needed_ms = times.needed_ms(kind, 0.0, deadline_ms)
    assert mean_ms - 1e-6 <= needed_ms <= times.needed_ms(kind, 0.0) + 1e-6
    if mean_ms < deadline_ms:
        assert needed_ms < deadline_ms + 1e-6


def test_where_each_inspection_takes_longer_than_its_deadline_few_are_inspected() -> None:
    line = Line()
    line.run(5, inspection_ms=700)
    found = line.run(60, inspection_ms=700)
    assert 1 <= sum(inspected for *_, inspected in found) <= 60 / PROBE_S + 1


@pytest.mark.parametrize("cameras", [1, 100, 5_000])
def test_probes_take_a_bounded_share(cameras: int) -> None:
    """Check that invented cameras, each new to the worker, do not avoid the bound."""
    probes, now_s, busy_s, took_s = Probes(), 0.0, 0.0, 0.020
    for number in range(20_000):
        if probes.take((0, str(number % cameras).encode()), now_s):
            probes.ended(took_s * 1_000)
            busy_s += took_s
        now_s += 0.001
    assert 0 < busy_s <= SHARE * now_s + took_s
    assert len(probes._inspected_s) <= 10_000


def test_a_probe_that_never_ends_does_not_end_probing() -> None:
    probes = Probes()
    assert probes.take((0, b"a"), 0.0)
    assert not probes.take((0, b"b"), 0.4)
    assert probes.take((0, b"b"), 0.5)


def test_what_strangers_claim_does_not_grow_memory() -> None:
    line = Line()
    for number in range(2_000):
        line.frame(f"c{number}", width=2 ** (number % 31), height=2 ** (number // 31 % 31), deadline_ms=1 + number)
        line.frame(f"c{number}", width=-5, height=2**31, deadline_ms=-(2**31))
    assert len(line.shedding.times._kinds) <= 256
    assert len(line.shedding._probes._inspected_s) <= 10_000
    assert len(line.shedding._under_way) <= 1_000


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 10)), min_size=1))
def test_the_estimate_is_bounded_by_what_was_seen(samples: list[tuple[float, float]]) -> None:
    estimate, at_s = DurationEstimate(), 0.0
    for took_ms, gap_s in samples:
        at_s += gap_s
        estimate.update(took_ms, at_s)
    assert 0 <= estimate.ms(at_s) <= 5 * max(took for took, _ in samples) + 1e-6
    assert estimate.ms(at_s + 20) <= estimate.ms(at_s) / 1_000 + 1e-6


@given(st.lists(st.floats(0, 1e5), min_size=1))
def test_without_pauses_the_estimate_is_not_below_the_quickest(took: list[float]) -> None:
    estimate = DurationEstimate()
    for number, one in enumerate(took):
        estimate.update(one, number / 20)
    assert estimate.ms(len(took) / 20) >= min(took) - 1e-6


def test_times_of_a_kind_that_is_not_known() -> None:
    assert Times().needed_ms(kind_of(make_frame()), 0.0) == 0


@pytest.mark.parametrize(
    ("key", "mode"), [(b"press/c", "newest"), (b"saw/c", "deadline"), (None, "deadline"), (b"\xff", "deadline")]
)
def test_the_mode_that_a_key_names(key: bytes | None, mode: str) -> None:
    policy = OverloadPolicy(stations={"press": Overload.NEWEST})
    assert Shedding(policy, ManualClock()).mode_of_key(key) == mode


def test_what_is_remembered_of_long_keys_is_small() -> None:
    """Read messages whose keys have a megabyte each: anyone may write them, and their cameras are remembered."""
    shedding = Shedding(OverloadPolicy(Overload.NEWEST), clock := ManualClock(utc_us=10**15))
    tracemalloc.start()
    try:
        for number in range(30):
            key = number.to_bytes(2, "big") * 500_000
            for offset in (2 * number, 2 * number + 1):
                shedding.newest.read(0, key, offset)
                clock.advance(1)
            shedding.newest.read(0, key, 1_000)
            source = FramePosition("frames", 0, 2 * number, clock.utc_us())
            frame = make_frame(number, captured_at_us=clock.utc_us())
            shed = shedding.shed_reason(frame, key, source)
            assert shed is not None
            assert shed[0] == "overtaken"
            assert shedding.shed_reason(frame, key, replace(source, offset=2_000)) is None
        del key
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


@given(st.lists(st.none() | st.integers(0, 4) | st.just("take") | st.just("back"), max_size=80))
def test_what_waits_is_taken_once_or_lost_its_place_to_a_newer_one(steps: list[object]) -> None:
    waiting: Waiting[tuple[object, int]] = Waiting()
    put: list[tuple[object, int]] = []
    left: list[tuple[object, int]] = []
    for number, step in enumerate(steps):
        if step in ("take", "back"):
            if len(waiting):
                taken = waiting.take()
                if step == "back":
                    waiting.put_back(taken)
                    assert waiting.take() == taken
                left.append(taken)
            continue
        item = (step, number)
        put.append(item)
        older = waiting.put(item, step)
        if older is not None:
            assert older[0] == step
            assert older[1] < number
            left.append(older)
    left += [waiting.take() for _ in range(len(waiting))]
    assert sorted(left, key=lambda item: item[1]) == put

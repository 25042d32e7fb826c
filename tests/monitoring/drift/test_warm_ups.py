"""Lamps that warm up at the start of a day: declared, it is shown and has no consequence."""

from __future__ import annotations

import dataclasses

import pytest

from schemas.records import WARM_UP, Decision, EpisodeState
from tests.support.streams import NOW_US, decision, fed, number_of, opened, rows, watch

DAY_US = 86_400_000_000


def days(count: int, warm_frames: int, *, frames: int = 500, first: int = 0) -> list[Decision]:
    """Return decisions of days that begin with a lamp that warms up: five deviations lower, rising to the usual."""
    stream = []
    for day in range(count):
        for n, row in enumerate(rows(frames, day)):
            lower = 5 * (1 - n / warm_frames) if n < warm_frames and day >= first else 0
            at_us = NOW_US + day * DAY_US + n * 500_000
            dimmed = {**row, "brightness": row["brightness"] - 20 * lower}
            number = day * frames + n
            stream.append(decision(number, dimmed, captured_at_us=at_us, decided_at_us=at_us + 5000))
    return stream


@pytest.mark.parametrize("options", [{"warm_up_frames": 300}, {"warm_up_s": 150.0}], ids=["frames", "time"])
def test_a_declared_warm_up_is_shown_and_marked(options):
    watched = watch(**options)
    stream = days(2, 200)
    events = [event for one in stream for event in watched.decision(one, now_us=one.decided_at_us)]
    assert len(opened(events)) == 2
    assert {event.cause for event in events} == {WARM_UP}
    assert all("warms up" in event.reason for event in events)
    assert [event.closed_because for event in events if event.state is EpisodeState.CLOSED] == [
        "reset: the warm-up is over"
    ] * 2
    assert watched.counts["warm-up"] == 600
    assert watched.counts["watched"] == 1000


def test_days_that_are_published_again_within_minutes_warm_up_each():
    watched = watch(warm_up_frames=300, simulated=True)
    stream = [dataclasses.replace(one, is_simulated=True, decided_at_us=NOW_US + 90 * DAY_US + n)
              for n, one in enumerate(days(2, 200))]  # fmt: skip
    events = fed(watched, stream, NOW_US + 90 * DAY_US)
    assert [event.cause for event in opened(events)] == [WARM_UP, WARM_UP]
    assert watched.counts["warm-up"] == 600


def test_without_a_declaration_a_warm_up_is_drift_as_any_other():
    stream = days(2, 200, first=1)
    watched = watch()
    events = [event for one in stream for event in watched.decision(one, now_us=one.decided_at_us)]
    assert {event.cause for event in opened(events)} == {""}


def test_what_is_off_after_the_warm_up_has_consequences():
    watched = watch(warm_up_frames=100)
    stream = days(2, 10_000, first=1)
    events = [event for one in stream[:750] for event in watched.decision(one, now_us=one.decided_at_us)]
    assert [event.cause for event in opened(events)] == [WARM_UP, ""]
    assert 600 <= number_of(opened(events)[1].detected_frame_id) < 700


def test_a_sensor_that_lies_in_a_warm_up_has_consequences():
    watched = watch(warm_up_frames=300)
    stream = days(1, 200)[:200]
    black = [dataclasses.replace(one, signals={**one.signals, "dark_share": 1.0}) if n >= 100 else one
             for n, one in enumerate(stream)]  # fmt: skip
    events = [event for one in black for event in watched.decision(one, now_us=one.decided_at_us)]
    assert events[0].cause == WARM_UP
    assert events[-1].cause == "black"


def test_a_clock_that_jumps_and_a_worker_that_lags_make_no_warm_up():
    watched = watch(warm_up_frames=100, warm_up_gap_s=3600)
    stream = days(1, 1)
    jumps = [dataclasses.replace(one, captured_at_us=one.captured_at_us + (n > 300) * 2 * 3_600_000_000)
             for n, one in enumerate(stream)]  # fmt: skip
    for n, one in enumerate(jumps):
        watched.decision(one, now_us=stream[n].decided_at_us + 10 * DAY_US)
    assert watched.counts["warm-up"] == 100

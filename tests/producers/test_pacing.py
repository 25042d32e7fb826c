"""Pace without drift and without bursts."""

from __future__ import annotations

import math

import pytest

from producers.pacing import Pacer
from schemas.clock import ManualClock


def moments(work_s: list[float], fps: float) -> list[float]:
    """When captures happen, if each takes so long."""
    clock = ManualClock()
    pacer = Pacer(fps, clock)
    at = []
    for seconds in work_s:
        clock.advance(pacer.delay_s())
        at.append(clock.monotonic_s())
        clock.advance(seconds)
    return at


def test_work_does_not_add_up() -> None:
    at = moments([0.03, 0.09, 0.001] * 1000, 10)
    assert at[-1] == pytest.approx(299.9)


def test_a_late_frame_makes_no_burst() -> None:
    at = moments([0.0, 0.0, 0.55, 0.0, 0.0, 0.0], 10)
    # The third took 0.55 s: the next goes at once (0.75), then the grid goes on; missed beats are not made up for.
    assert at == pytest.approx([0.0, 0.1, 0.2, 0.75, 0.8, 0.9])


def test_skipped_beats_are_counted() -> None:
    clock = ManualClock()
    pacer = Pacer(10, clock)
    captures = 0
    for work_s in (0.0, 0.05, 0.55, 0.05, 3.05, 0.0):
        clock.advance(pacer.delay_s())
        captures += 1
        clock.advance(work_s)
    clock.advance(pacer.delay_s())
    assert pacer.missed == 4 + 29
    # Captures and missed beats make up the whole grid.
    assert captures + pacer.missed == round(clock.monotonic_s() * 10)


def test_without_a_rate_it_never_waits() -> None:
    pacer = Pacer(None, ManualClock())
    assert [pacer.delay_s() for _ in range(3)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("fps", [0, -1, math.nan, math.inf, 1e-300, 1e300])
def test_impossible_rates(fps: float) -> None:
    with pytest.raises(ValueError, match="from one frame a day"):
        Pacer(fps)


def test_a_phase_moves_the_grid() -> None:
    clock = ManualClock()
    pacer = Pacer(10, clock, phase=0.5)
    assert pacer.delay_s() == pytest.approx(0.05)
    clock.advance(0.05)
    assert pacer.delay_s() == pytest.approx(0.1)
    with pytest.raises(ValueError, match="share of the period"):
        Pacer(10, clock, phase=1)

"""Percentiles and schedules of the load, without a broker."""

import doctest
import itertools

import pytest

from benchmarks import open_loop, percentiles
from benchmarks.open_loop import Schedule


@pytest.mark.parametrize("module", [percentiles, open_loop])
def test_examples(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [(1000, 99.9, 999), (1001, 99.9, 1000), (100, 99.9, 100), (1, 1, 1), (200, 99, 198)],
)
def test_nearest_rank(count: int, percent: float, expected: int) -> None:
    assert percentiles.percentile(range(count, 0, -1), percent) == expected


def test_each_camera_keeps_its_period() -> None:
    shots = Schedule(rate=30, seconds=10, cameras=3, seed=7).shots()
    assert len(shots) == 300
    assert [shot.at_s for shot in shots] == sorted(shot.at_s for shot in shots)
    for camera in range(3):
        at = [shot.at_s for shot in shots if shot.camera == camera]
        assert [shot.number for shot in shots if shot.camera == camera] == list(range(100))
        assert all(later - earlier == pytest.approx(0.1) for earlier, later in itertools.pairwise(at))


def test_phases_come_from_the_seed_and_differ() -> None:
    def phases(seed: int) -> list[float]:
        return [shot.at_s for shot in Schedule(10, 1, 10, seed).shots() if shot.number == 0]

    assert phases(1) == phases(1) != phases(2)
    assert len(set(phases(1))) == 10

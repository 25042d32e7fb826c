"""The line through memory samples, without a broker."""

import doctest
import random

import pytest

from benchmarks import slopes
from benchmarks.slopes import slope


def test_examples() -> None:
    assert doctest.testmod(slopes).failed == 0


def test_error_covers_the_truth() -> None:
    inside = 0
    for seed in range(200):
        noise = random.Random(seed)
        found, error = slope(range(400), [3 * at + noise.gauss(0, 50) for at in range(400)])
        inside += abs(found - 3) < 2 * error
    assert inside > 180


def test_too_few() -> None:
    with pytest.raises(ValueError, match="2 points"):
        slope([1, 2], [1, 2])

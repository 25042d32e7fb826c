"""One contract for every detector: what it says is a function of what it was fed, it serialises, it stays small."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.drift.budget import Budget, cusum_run_length, cusum_threshold
from monitoring.drift.detectors import Adwin, Detector, PageHinkley, Shape

MAKERS = {
    "page-hinkley": lambda: PageHinkley(threshold=12, slack=0.4),
    "adwin": lambda: Adwin(delta=1e-5),
    "shape": lambda: Shape(p_value=1e-5, images=1000),
    "shape, few bins": lambda: Shape(p_value=1e-5, images=1000, shares=[0.6] + [0.0] * 7 + [0.1, 0.3]),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def normal(count: int, seed: int, mean: float = 0.0) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1, count).tolist()


def alarms(detector: Detector, scores: list[float]) -> list[int]:
    return [number for number, score in enumerate(scores) if detector.update(score)]


def test_the_same_scores_give_the_same_alarms(make):
    scores = normal(1000, 1) + normal(1000, 2, 1.5)
    assert alarms(make(), scores) == alarms(make(), scores) != []


def test_asking_changes_nothing(make):
    scores, asked, plain = normal(400, 3) + normal(400, 4, 1.5), make(), make()
    for score in scores:
        before = asked.state()
        assert asked.started == asked.started
        assert asked.state() == before
        assert asked.update(score) == plain.update(score)


@pytest.mark.parametrize("at", [0, 1, 31, 199, 200, 777])
def test_it_goes_on_from_its_state(make, at):
    scores, whole, first = normal(1000, 5) + normal(600, 6, 1.2), make(), make()
    expected = [whole.update(score) for score in scores]
    said = [first.update(score) for score in scores[:at]]
    second = make()
    second.restore(json.loads(json.dumps(first.state())))
    assert second.started == first.started
    assert said + [second.update(score) for score in scores[at:]] == expected


@pytest.mark.parametrize(
    "garbage", [None, "", "x", 7, [], [1], {}, [[], True], [-1, 0, 0, 0], ["nan"] * 4, "0" * 40, b"\0"]
)
def test_it_refuses_what_is_no_state(make, garbage):
    detector = make()
    if detector.name == "shape" and garbage == [[], True]:
        garbage = [[-1], True]
    with pytest.raises((ValueError, TypeError, KeyError, IndexError)):
        detector.restore(garbage)


def test_its_memory_is_bounded(make):
    detector, sizes = make(), []
    for part in range(4):
        alarms(detector, normal(20_000, 10 + part))
        sizes.append(len(json.dumps(detector.state())))
    assert sizes[-1] <= 4096
    assert sizes[-1] <= 1.5 * sizes[0]


def test_it_is_quiet_while_nothing_changes(make):
    scores = np.array(normal(50_000, 20))
    if len(make().state()) == 2 and len(make().state()[0]) < Shape.BINS:
        # Its reference has 6 of 10 ranks tied in the lowest one, and nothing up to the eighth.
        scores = np.where(scores < 0.2533, -2.0, np.where(scores < 0.5244, 1.0, 2.0))
    assert alarms(make(), scores.tolist()) == []


@given(st.lists(st.floats(-4, 4), max_size=500))
@settings(max_examples=50)
def test_no_scores_break_it(scores):
    for maker in MAKERS.values():
        detector = maker()
        for score in scores:
            detector.update(score)
            assert 0 <= detector.started <= len(scores)


def test_page_hinkley_does_not_get_used_to_a_slow_drift():
    """River's own test follows the mean and never sees it."""
    from river.drift import PageHinkley as Rivers

    scores = [score + number * 1.0 / 20_000 for number, score in enumerate(normal(20_000, 30))]
    ours, theirs = PageHinkley(threshold=20, slack=0.4), Rivers(threshold=20, delta=0.4, alpha=1.0)
    found = alarms(ours, scores)
    for score in scores:
        theirs.update(score)
    assert found
    assert 4_000 < found[0] < 14_000
    assert not theirs.drift_detected


def test_page_hinkley_knows_when_it_began():
    detector = PageHinkley(threshold=20, slack=0.4)
    for score in normal(1000, 40):
        assert not detector.update(score)
    for number, score in enumerate(normal(200, 41, 2.0), 1):
        if detector.update(score):
            assert abs(detector.started - number) <= 10
            return
    pytest.fail("not found")


def test_shape_sees_what_the_mean_does_not():
    narrow = [0.3 * score for score in normal(400, 50)]
    assert alarms(PageHinkley(threshold=25, slack=0.4), narrow) == []
    assert alarms(Shape(p_value=1e-6, images=1000), narrow) == [199, 399]


def test_a_budget_of_more_alarms_than_windows_is_not_blind() -> None:
    assert alarms(Shape(p_value=5.0, images=1000), [3.0] * 400) == [199, 399]


@pytest.mark.parametrize("slack", [0.2, 0.4, 1.0])
def test_the_threshold_keeps_to_the_run_length(slack):
    for run_length in (1e3, 1e5, 1e8):
        assert cusum_run_length(cusum_threshold(run_length, slack), slack) == pytest.approx(run_length, rel=1e-3)


def test_the_run_length_is_what_is_seen():
    """One-sided, 300 runs: within a fifth of Siegmund's formula."""
    threshold, lengths = cusum_threshold(400, 0.5), []
    rng = np.random.default_rng(60)
    for _ in range(300):
        total, steps = 0.0, 0
        while total <= threshold:
            total, steps = max(0.0, total + rng.normal() - 0.5), steps + 1
        lengths.append(steps)
    assert np.mean(lengths) == pytest.approx(400, rel=0.2)


@pytest.mark.parametrize("values", [(0, 1000), (-1, 1000), (1, 0), (math.nan, 1), (1, math.inf), (1e9, 1)])
def test_a_budget_is_a_budget(values):
    from schemas.errors import SettingsError

    with pytest.raises(SettingsError):
        Budget(*values)

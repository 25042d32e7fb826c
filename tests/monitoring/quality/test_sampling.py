"""Which frames are marked for review."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quality.sampling import EPISODE_SHARE, review_priority, review_reason
from schemas import ResultState
from tests.support.quality_records import make_decision
from tests.support.strategies import decisions

SPREAD = {"good": 0.34, "crack": 0.33, "stain": 0.33}


@pytest.mark.parametrize(
    ("name", "changes", "options", "reason"),
    [
        ("clear", {}, {}, None),
        ("all at random", {}, {"random_share": 1.0}, "random"),
        ("random goes first", {"score": 0.5}, {"random_share": 1.0}, "random"),
        ("near", {"score": 0.46}, {}, "near-threshold"),
        ("near, above", {"score": 0.54}, {}, "near-threshold"),
        ("at the edge of the band", {"score": 0.75}, {"band": 0.25}, None),
        ("a wide band", {"score": 0.56}, {"band": 0.1}, "near-threshold"),
        ("no band", {"score": 0.5}, {"band": 0.0}, None),
        ("spread labels", {"labels": SPREAD}, {}, "disagreement"),
        ("sure labels", {"labels": {"good": 0.98, "crack": 0.01, "stain": 0.01}}, {}, None),
        ("never inspected", {"score": 0.5, "result_state": ResultState.ABORTED}, {"random_share": 1.0}, None),
        ("no score", {"score": None}, {}, None),
        ("score is no number", {"score": math.nan}, {}, None),
        ("labels are no numbers", {"labels": {"good": math.nan, "crack": math.inf}}, {}, None),
        ("labels below zero", {"labels": {"a": -0.01, **dict.fromkeys("bcdefghij", 0.11)}}, {}, None),
        ("labels are all zero", {"labels": {"good": 0.0, "crack": 0.0}}, {}, None),
    ],
)
def test_reasons(name: str, changes: dict[str, Any], options: dict[str, Any], reason: str | None) -> None:
    decision = make_decision(1, **changes)
    given_options = {"random_share": 0.0, "band": 0.05, "in_episode": False, **options}
    assert review_reason(decision, **given_options) == reason
    assert (review_priority(decision, **given_options) > 0) == (reason is not None)


def test_shares_are_as_stated() -> None:
    made = [make_decision(number) for number in range(20_000)]
    random = sum(review_reason(one, in_episode=False, random_share=0.02) == "random" for one in made)
    assert 0.017 < random / len(made) < 0.023
    assert all(review_reason(one, in_episode=False, random_share=0.0) is None for one in made)
    episode = sum(review_reason(one, in_episode=True, random_share=0.0) == "episode" for one in made)
    assert 0.8 * EPISODE_SHARE < episode / len(made) < 1.2 * EPISODE_SHARE


def test_the_order_of_priorities() -> None:
    options: dict[str, Any] = {"in_episode": True, "random_share": 0.0, "band": 0.1}
    in_episode = next(one for one in map(make_decision, range(1000)) if review_reason(one, **options) == "episode")
    ranked = [
        review_priority(make_decision(1), in_episode=False, random_share=1.0),
        review_priority(make_decision(1, score=0.51), **options),
        review_priority(make_decision(1, score=0.58), **options),
        review_priority(make_decision(1, labels=SPREAD), **options),
        review_priority(in_episode, **options),
    ]
    assert ranked == sorted(ranked, reverse=True)
    assert len(set(ranked)) == len(ranked)


@given(decisions, st.booleans())
def test_any_decision_has_a_priority(decision, in_episode) -> None:
    priority = review_priority(decision, in_episode=in_episode, random_share=0.3)
    assert 0.0 <= priority <= 1.0
    assert priority == review_priority(decision, in_episode=in_episode, random_share=0.3)

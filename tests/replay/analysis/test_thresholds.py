"""Curves over thresholds, and the recommended one, against brute force and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.analysis.calibration import calibrate
from replay.analysis.points import MAX_POINTS, Labelled, Points, average_precision, curve_of, roc_auc
from replay.analysis.rates import rates_of
from replay.analysis.recommend import recommend
from replay.analysis.table import Table
from replay.analysis.view import decider_view
from tests.support.tables import labels, make_table, population, with_columns

LABELS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1), st.booleans(), st.integers(1, 9)),
    min_size=1, max_size=40,
)  # fmt: skip


def labelled(rows: list[tuple[float, bool, int]]) -> Labelled:
    rows = sorted(rows)
    score, bad, weight = (np.array(column) for column in zip(*rows, strict=True))
    return Labelled(score, bad, weight.astype(float), score >= 0.5, np.zeros(len(rows), np.int64), "")


def brute_force(labels: Labelled, threshold: float, ratio: float) -> float:
    escapes = labels.weight[labels.is_defective & (labels.score < threshold)].sum()
    return float(ratio * escapes + labels.weight[~labels.is_defective & (labels.score >= threshold)].sum())


@given(LABELS)
def test_escapes_rise_and_overkill_falls_with_the_threshold(rows: Any) -> None:
    points = Points.of(labelled(rows), 0.5)
    assert (np.diff(points.thresholds) > 0).all()
    assert (np.diff(points.escapes) >= 0).all()
    assert (np.diff(points.overkill) <= 0).all()
    assert (points.escapes[0], points.overkill[0]) == (0.0, points.good)


@given(LABELS, st.sampled_from([0.5, 1.0, 20.0]))
def test_points_are_those_of_brute_force(rows: Any, ratio: float) -> None:
    found = labelled(rows)
    points = Points.of(found)
    for threshold, cost in zip(points.thresholds, points.cost(ratio), strict=True):
        assert cost == pytest.approx(brute_force(found, threshold, ratio))


@given(LABELS)
def test_ranking_figures_are_those_of_their_definitions(rows: Any) -> None:
    found = labelled(rows)
    pairs = [
        (w1 * w2, 1.0 if s1 > s2 else 0.5 if s1 == s2 else 0.0)
        for s1, bad1, w1 in rows for s2, bad2, w2 in rows if bad1 and not bad2
    ]  # fmt: skip
    auc = roc_auc(found)
    assert auc == (pytest.approx(sum(w * x for w, x in pairs) / sum(w for w, _ in pairs)) if pairs else None)
    total = sum(w for _, bad, w in rows if bad)
    precision_sum, before = 0.0, 0.0
    for threshold in sorted({s for s, *_ in rows}, reverse=True):
        hits = sum(w for s, bad, w in rows if bad and s >= threshold)
        precision_sum += (hits - before) * hits / sum(w for s, _, w in rows if s >= threshold)
        before = hits
    assert average_precision(found) == (pytest.approx(precision_sum / total) if total else None)


def table_of(rows: list[tuple[float, bool, int]], threshold: float = 0.5) -> Table:
    score = np.array([row[0] for row in rows])
    return make_table(
        len(rows), recorded__score=score, recorded__threshold=threshold, **labels([int(row[1]) for row in rows])
    )


@settings(max_examples=40)
@given(LABELS, st.sampled_from([0.3, 1.0, 20.0]), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_the_recommended_threshold_is_the_cheapest_there_is(rows: Any, ratio: float, present: float) -> None:
    view = decider_view(table_of(rows, present))
    found = Labelled.of(view)
    best = recommend(view, found, ratio)
    if len({bad for _, bad, _ in rows}) == 1:
        assert best.threshold is None
        assert "no good part is labelled" in best.why_not or "no defective part is labelled" in best.why_not
        return
    assert best.threshold is not None
    everywhere = [0.0, 1.0, *(row[0] for row in rows)]
    lowest = min(brute_force(found, threshold, ratio) for threshold in everywhere)
    assert brute_force(found, best.threshold, ratio) == pytest.approx(lowest)
    assert best.is_change == (brute_force(found, present, ratio) > lowest + 1e-9)
    if not best.is_change:
        assert (best.threshold, best.moved, best.rows, best.saving_per_1000) == (present, (), (), 0.0)
    assert best.low is not None
    assert best.high is not None
    assert 0.0 <= best.low <= best.threshold <= best.high <= 1.0
    moved = sum(moved.parts for moved in best.moved)
    assert moved == sum((row[0] >= best.threshold) != (row[0] >= present) for row in rows if best.is_change)


def test_the_threshold_in_use_is_where_the_rates_are() -> None:
    view = decider_view(population(1, 4000, random_share=0.1))
    curve = curve_of(view, Labelled.of(view), 20.0, 0.5, None)
    assert curve.present_at is not None
    assert curve.thresholds[curve.present_at] == 0.5
    rates = rates_of(view)
    assert curve.escape_rate[curve.present_at] == pytest.approx(rates.escape_rate.value)
    assert curve.overkill_rate[curve.present_at] == pytest.approx(rates.overkill_rate.value)
    assert curve.recall[curve.present_at] == pytest.approx(1 - (rates.escape_rate.value or 0))
    assert curve.precision[curve.present_at] == pytest.approx(1 - (rates.overkill_among_rejects.value or 0))
    assert curve.rejected[curve.present_at] == (view.action == 1).sum()


def test_a_curve_of_many_scores_is_thinned_and_keeps_its_marks() -> None:
    view = decider_view(population(2, 30_000))
    curve = curve_of(view, Labelled.of(view), 20.0, 0.5, 0.4321)
    assert len(curve.thresholds) <= MAX_POINTS + 2
    assert curve.recommended_at is not None
    assert curve.thresholds[curve.recommended_at] == pytest.approx(0.4321, abs=1e-3)
    assert curve.thresholds[curve.present_at or 0] == 0.5


def test_a_score_that_equals_the_threshold_is_rejected() -> None:
    rows = [(0.4, False, 1)] * 30 + [(0.6, True, 1)] * 30 + [(0.6, False, 1)]
    best = recommend(decider_view(table_of(rows, 0.6)), Labelled.of(decider_view(table_of(rows, 0.6))))
    assert (best.threshold, best.is_change) == (0.6, False)
    best = recommend(decider_view(table_of(rows, 0.61)), Labelled.of(decider_view(table_of(rows, 0.61))))
    assert best.threshold == pytest.approx(0.5, abs=0.1)
    [moved] = best.moved
    assert (moved.was, moved.becomes, moved.parts, moved.good, moved.defective) == ("ACCEPT", "REJECT", 31, 1, 30)
    assert (best.escape_rate, best.present_escape_rate) == (0.0, 1.0)
    assert best.overkill_rate == pytest.approx(1 / 31)
    assert best.saving_on_stretch == 20 * 30 - 1


def test_labels_by_hand_have_the_weight_of_their_action() -> None:
    # 10 accepted, 2 of them drawn: each speaks for 5. The defective one of them makes 5 escapes.
    score = np.array([0.1] * 9 + [0.4] + [0.9] * 3)
    truth = np.array([0] + [-1] * 8 + [1] + [1, 1, 0])
    because = ["random"] * 10 + ["reject"] * 3
    view = decider_view(make_table(13, recorded__score=score, **labels(truth, because)))
    points = Points.of(Labelled.of(view), 0.5)
    at = {threshold: place for place, threshold in enumerate(points.thresholds.tolist())}
    assert (points.escapes[at[0.5]], points.overkill[at[0.5]]) == (5.0, 1.0)
    assert (points.escapes[at[0.4]], points.overkill[at[0.4]]) == (0.0, 1.0)
    assert (points.escapes[at[1.0]], points.defective, points.good) == (7.0, 7.0, 6.0)


def test_without_random_labels_nothing_is_recommended() -> None:
    view = decider_view(population(3, 1000, random_share=0.0))
    found = Labelled.of(view)
    best = recommend(view, found)
    assert best.threshold is None
    assert best.why_not == "cannot be recommended: no accepted part was labelled at random"
    curve = curve_of(view, found, 20.0, 0.5, None)
    assert curve.why_not == "no accepted part was labelled at random"
    assert calibrate(view, found).why_not == "cannot be estimated: no accepted part was labelled at random"


def test_few_labels_and_useless_scores_are_said() -> None:
    view = decider_view(table_of([(0.2, False, 1)] * 5 + [(0.8, True, 1)] * 5))
    assert [warning.partition(":")[0] for warning in recommend(view, Labelled.of(view)).warnings] == [
        "the threshold rests on labels of 5 defective parts", "the threshold rests on labels of 5 good parts",
    ]  # fmt: skip
    view = decider_view(table_of([(0.8, False, 1)] * 30 + [(0.2, True, 1)] * 30))
    assert "rejects every part" in recommend(view, Labelled.of(view)).warnings[0]
    view = decider_view(with_columns(table_of([(0.2, False, 1), (0.8, True, 1)]), recorded__threshold=[0.5, 0.6]))
    best = recommend(view, Labelled.of(view))
    assert best.present_threshold is None
    assert "several thresholds were in use" in best.warnings[-1]


@pytest.mark.long
def test_the_interval_holds_the_best_threshold_and_the_saving_is_not_flattered() -> None:
    # Of scores Beta(2, 5) and Beta(5, 2), 10 % defective, 20 overkills an escape: by bisection of the densities.
    best, seen, hits, looks, expected = 0.43385, [], 0, [], []
    for seed in range(40):
        view = decider_view(population(seed, 1000))
        found = recommend(view, Labelled.of(view))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= best <= found.high
        seen.append(found.high - found.low)
        looks.append((found.saving_on_stretch or 0.0) * 1000 / len(view))
        expected.append(found.saving_per_1000 or 0.0)
    assert hits >= 36
    assert np.median(seen) < 0.35
    # What it truly saves is 27 at most.
    assert np.mean(looks) > 45
    assert np.mean(expected) < 35


@given(LABELS)
def test_the_parts_of_the_brier_score_add_up(rows: Any) -> None:
    view = decider_view(table_of(rows))
    found = calibrate(view, Labelled.of(view))
    bad = np.array([row[1] for row in rows])
    assert found.brier == pytest.approx(np.mean((np.array([row[0] for row in rows]) - bad) ** 2))
    assert found.reliability is not None
    assert found.resolution is not None
    assert sum(one.parts for one in found.bins) == sum(one.labelled for one in found.bins) == len(rows)
    error = sum(one.parts * abs(one.mean_score - one.defective_share) for one in found.bins) / len(rows)
    assert found.expected_error == pytest.approx(error)
    if all(one.low == one.high for one in found.bins):
        assert found.within_bins == pytest.approx(0.0, abs=1e-12)


def test_calibration_of_scores_that_are_probabilities_and_of_others() -> None:
    random = np.random.default_rng(0)
    score = random.random(20_000)
    bad = (random.random(20_000) < score).astype(np.int8)
    view = decider_view(make_table(20_000, recorded__score=score, **labels(bad)))
    found = calibrate(view, Labelled.of(view))
    assert found.expected_error is not None
    assert found.expected_error < 0.02
    assert len(found.bins) == 10
    assert all(1990 <= one.parts <= 2010 for one in found.bins)
    assert sum(one.share_low <= one.mean_score <= one.share_high for one in found.bins) >= 8
    view = decider_view(make_table(20_000, recorded__score=score**3, **labels(bad)))
    worse = calibrate(view, Labelled.of(view))
    assert worse.expected_error is not None
    assert worse.expected_error > 0.2


def test_bins_by_hand() -> None:
    rows = [(0.0, False, 1)] * 10 + [(0.5, True, 1)] * 5 + [(0.5, False, 1)] * 5 + [(1.0, True, 1)] * 20
    view = decider_view(table_of(rows))
    bins = calibrate(view, Labelled.of(view)).bins
    assert [(one.low, one.high, one.parts, one.labelled, one.defective_share) for one in bins] == [
        (0.0, 0.0, 10, 10, 0.0), (0.5, 0.5, 10, 10, 0.5), (1.0, 1.0, 20, 20, 1.0),
    ]  # fmt: skip

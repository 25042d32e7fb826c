"""Rates of an analysis: those of `inspection quality` on the same data, and of variants by what the line did."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.quality.concept_monitor import ConceptMonitor
from monitoring.quality.label_index import LabelIndex
from replay.analysis.rates import confusion_of, rates_of
from replay.analysis.table import build_table
from replay.analysis.view import decider_view, unrepresented_action
from replay.past.replayed_frame import ReplayedFrame
from schemas import Action, ResultState, Verdict
from schemas.errors import SettingsError
from tests.support.quality_records import make_decision, make_label
from tests.support.tables import labels, make_table, population, with_columns
from transport.stored_message import MessagePosition

PART = st.tuples(
    st.sampled_from(list(Action)),
    st.sampled_from([ResultState.COMPLETED] * 4 + [ResultState.ABORTED]),
    st.none() | st.tuples(st.sampled_from(list(Verdict)), st.sampled_from(["random", "reject", "review", "x", ""])),
)


@settings(max_examples=60)
@given(st.lists(PART, min_size=1, max_size=60))
def test_figures_are_those_of_inspection_quality(parts: list[Any]) -> None:
    decisions, given_labels = [], []
    for number, (action, state, label) in enumerate(parts):
        decisions.append(make_decision(number, action, result_state=state))
        if label is not None:
            given_labels.append(make_label(number, label[0], sampled_because=label[1]))
    monitor = ConceptMonitor("s/c")
    for decision in decisions:
        monitor.decision(decision)
    for label in given_labels:
        monitor.label(label)
    figures = monitor.figures("camera")[0]
    frames = [
        ReplayedFrame(position=MessagePosition("t", 0, d.sequence), timestamp_us=1, recorded=d) for d in decisions
    ]
    view = decider_view(build_table(frames, LabelIndex(given_labels)))
    found, confusion = rates_of(view), confusion_of(view)
    assert found.escape_rate == figures.escape_rate
    assert found.overkill_rate == figures.overkill_rate
    assert found.accuracy == figures.accuracy
    assert found.escapes_among_accepts == figures.escapes_among_accepts
    assert found.overkill_among_rejects == figures.overkill_among_rejects
    assert (confusion.escapes, confusion.overkill) == (figures.escapes, figures.overkill)
    assert sum(row.parts for row in confusion.rows) == figures.parts
    why_not = found.escape_rate.why_not
    assert unrepresented_action(view) == (why_not.partition(": ")[2] if "labelled" in why_not else "")


def by_hand() -> Any:
    """The example of `estimates.escape_rate`: 900 accepted, 100 of them labelled, 2 defective; 100 rejected, 80 so."""
    score = np.array([0.1] * 900 + [0.9] * 100)
    truth = np.array([1] * 2 + [0] * 98 + [-1] * 800 + [1] * 80 + [0] * 20)
    return make_table(1000, recorded__score=score, **labels(truth, ["random"] * 900 + ["reject"] * 100))


def test_by_hand() -> None:
    view = decider_view(by_hand())
    found = rates_of(view)
    assert found.escape_rate.value == pytest.approx(18 / 98)
    assert found.overkill_rate.value == pytest.approx(20 / 902)
    assert found.accuracy.value == pytest.approx(962 / 1000)
    assert Counter(view.weight.tolist()) == {0.0: 800, 1.0: 100, 9.0: 100}
    accept, reject, review = confusion_of(view).rows
    assert (accept.parts, accept.good, accept.defective, accept.unlabelled) == (900, 98, 2, 800)
    assert (accept.good_estimated, accept.defective_estimated) == (882.0, 18.0)
    assert (reject.good, reject.defective, reject.unlabelled) == (20, 80, 0)
    assert review.parts == 0


def test_labels_of_accepted_parts_that_were_chosen_speak_for_nobody() -> None:
    table = with_columns(by_hand(), sampled_because=["near-threshold"] * 100 + [None] * 800 + ["reject"] * 100)
    view = decider_view(table)
    assert unrepresented_action(view) == "no accepted part was labelled at random"
    assert rates_of(view).escape_rate.why_not == "cannot be estimated: no accepted part was labelled at random"
    assert all(row.defective_estimated is None for row in confusion_of(view).rows)


def test_a_variant_that_decides_alike_has_the_same_rates() -> None:
    table = by_hand()
    same = {f"new.{name}": table[f"recorded.{name}"] for name in
            ("score", "threshold", "verdict", "action", "result_state", "model", "reason")}  # fmt: skip
    found = rates_of(decider_view(type(table)(("recorded", "new"), {**table.columns, **same}), "new"))
    recorded = rates_of(decider_view(table))
    for name in ("escape_rate", "overkill_rate", "accuracy", "escapes_among_accepts", "overkill_among_rejects"):
        one, two = getattr(found, name), getattr(recorded, name)
        assert one.value == pytest.approx(two.value)
        # "Among" has Wilson's interval of the recorded decider.
        assert "among" in name or (one.low, one.high) == pytest.approx((two.low, two.high), abs=0.02)


def test_a_variant_is_judged_by_why_parts_were_labelled_on_the_line() -> None:
    # It accepts what the line rejected: those labels were given because of the rejection, and speak for these parts.
    table = by_hand()
    score = np.where(np.arange(1000) < 950, 0.1, 0.9)
    table = make_table(
        1000, variants=("new",), new__score=score, recorded__score=table["recorded.score"], truth=table["truth"],
        sampled_because=table["sampled_because"],
    )  # fmt: skip
    found = rates_of(decider_view(table, "new"))
    assert found.escape_rate.value == pytest.approx((18 + 50) / 98)
    assert found.overkill_rate.value == pytest.approx(20 / 902)


def test_intervals_of_a_variant_hold_its_true_rates() -> None:
    hits = 0
    for seed in range(60):
        table = population(seed, 3000, random_share=0.1)
        score = np.clip(table["recorded.score"] + np.random.default_rng(seed).normal(0, 0.1, 3000), 0, 1)
        rows = {name: column for name, column in table.columns.items() if name.startswith("recorded.")}
        new = {name.replace("recorded", "new"): column for name, column in rows.items()}
        new |= {"new.score": score, "new.action": np.where(score >= 0.5, "REJECT", "ACCEPT").astype(object)}
        view = decider_view(type(table)(("recorded", "new"), {**table.columns, **new}), "new")
        bad = table["hidden"] == 1
        true = float((score[bad] < 0.5).mean())
        found = rates_of(view).escape_rate
        hits += found.low <= true <= found.high
    assert hits >= 54


def test_an_unknown_decider_is_named() -> None:
    with pytest.raises(SettingsError, match="no decider 'new'; there are recorded"):
        decider_view(make_table(1), "new")


def test_parts_of_a_cell_without_a_label_are_like_the_others_of_their_action() -> None:
    # 100 accepted on the line, 50 drawn, 5 of these bad; 20 rejected, all bad. The variant rejects 10 that nobody drew.
    score = np.array([0.1] * 100 + [0.9] * 20)
    truth = np.array([1] * 5 + [0] * 45 + [-1] * 50 + [1] * 20)
    new = np.where(np.arange(120) >= 90, 0.9, 0.1)
    table = make_table(120, variants=("new",), recorded__score=score, new__score=new, **labels(truth))
    view = decider_view(table, "new")
    found = rates_of(view).escape_rate
    assert found.value == pytest.approx(9 / 30)
    assert found.low < 9 / 30 < found.high
    assert view.weight.sum() == pytest.approx(120)

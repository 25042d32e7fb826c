"""Rates: what labels can say, and what they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.quality.estimates import Estimate, Stratum, accuracy, escape_rate, overkill_rate, share
from monitoring.quality.figures import MAX_SLICES, QualityFigures
from monitoring.quality.outcome import Change, DecisionSummary, Outcome, Truth, reason
from monitoring.quality.slice_counts import MAX_DEFECTS
from schemas import Action, Verdict
from tests.support.quality_records import make_decision, make_label

OK, NOT_OK = Verdict.OK, Verdict.NOT_OK


def outcome(number: int, action: Action, truth: Verdict | None, because: str = "", **changes: str) -> Outcome:
    judged = DecisionSummary.of(make_decision(number, action, **{k: v for k, v in changes.items() if k != "defect"}))
    label = None
    if truth is not None:
        label = Truth.of(make_label(number, truth, sampled_because=because, defect=changes.get("defect")))
    return Outcome(judged, label)


def fill(*groups: tuple[int, Action, Verdict | None, str]) -> QualityFigures:
    figures, number = QualityFigures("s/c"), 0
    for count, action, truth, because in groups:
        for _ in range(count):
            figures.apply(Change(None, outcome(number, action, truth, because)))
            number += 1
    return figures


def test_labels_of_rejected_parts_say_nothing_of_escapes() -> None:
    rejects_only = fill((900, Action.ACCEPT, None, ""), (80, Action.REJECT, NOT_OK, ""), (20, Action.REJECT, OK, ""))
    [found] = rejects_only.figures()
    assert found.escape_rate == Estimate(None, why_not="cannot be estimated: no accepted part was labelled at random")
    assert found.escapes_among_accepts.value is None
    assert found.overkill_among_rejects.value == 0.2
    assert found.labelled_only["accuracy"] == 0.8  # River's, of the labelled parts as they are
    # Accepted parts that were labelled for a cause are no sample either, ...
    [found] = fill((900, Action.ACCEPT, None, ""), (9, Action.ACCEPT, NOT_OK, "complaint")).figures()
    assert (found.escape_rate.value, found.escapes) == (None, 9)
    # ... unless all of them have a label.
    [found] = fill((8, Action.ACCEPT, OK, "audit"), (2, Action.ACCEPT, NOT_OK, "audit")).figures()
    assert (found.escapes_among_accepts.value, found.escape_rate.value) == (0.2, 1.0)


def test_the_weights_undo_the_selection() -> None:
    [found] = fill(
        (800, Action.ACCEPT, None, ""), (98, Action.ACCEPT, OK, "random"), (2, Action.ACCEPT, NOT_OK, "random"),
        (5, Action.ACCEPT, NOT_OK, "near-threshold"), (80, Action.REJECT, NOT_OK, "reject"),
        (20, Action.REJECT, OK, "reject"),
    ).figures()  # fmt: skip
    assert found.parts == 1005
    assert found.escape_rate.value == pytest.approx(905 * 0.02 / (905 * 0.02 + 80))
    assert found.overkill_rate.value == pytest.approx(20 / (905 * 0.98 + 20))
    assert found.accuracy.value == pytest.approx((905 * 0.98 + 80) / 1005)
    assert found.escapes == 7


@pytest.mark.parametrize(("rate", "labelled"), [(0.02, 200), (0.005, 300), (0.1, 60)])
def test_the_interval_covers_the_truth(rate: float, labelled: int) -> None:
    # Labels drawn from a population that is known; 95 % of the intervals should hold its escape rate.
    chance, parts, rejected = np.random.default_rng(7), 20_000, 400
    truth = parts * rate / (parts * rate + rejected * 0.8)
    inside = 0
    for _ in range(300):
        hits = int(chance.binomial(labelled, rate))
        strata = {
            Action.ACCEPT: Stratum(parts, labelled, hits),
            Action.REJECT: Stratum(rejected, 100, int(chance.binomial(100, 0.8))),
        }
        found = escape_rate(strata)
        inside += found.low <= truth <= found.high
    assert 0.92 <= inside / 300 <= 0.995


@pytest.mark.parametrize(
    ("strata", "rate", "why"),
    [
        ({}, escape_rate, "no defective part"),
        ({Action.ACCEPT: Stratum(10, 10, 0)}, escape_rate, "no defective part"),
        ({Action.ACCEPT: Stratum(10, 10, 10)}, overkill_rate, "no good part"),
        ({Action.ACCEPT: Stratum(9, 2, 1), Action.REVIEW: Stratum(1)}, escape_rate, "no part sent to review"),
        ({Action.REJECT: Stratum(9)}, accuracy, "no rejected part was labelled"),
    ],
)
def test_what_cannot_be_said_is_not_said(strata, rate, why) -> None:
    found = rate(strata)
    assert found.value is None
    assert why in found.why_not
    assert found.word(0.5) == "cannot be estimated"


def test_few_labels_and_good_are_told_apart() -> None:
    assert share(0, 30).word(0.01) == "few labels"
    assert share(0, 1000).word(0.01) == "good"
    assert share(50, 1000).word(0.01) == "bad"
    assert share(0, 30).high > 0.1


def test_slices() -> None:
    figures = QualityFigures("s/c")
    rows = [
        (0, Action.ACCEPT, NOT_OK, "random", {"lot": "A", "defect": "crack"}),
        (1, Action.REJECT, NOT_OK, "reject", {"lot": "A", "defect": "crack"}),
        (2, Action.REJECT, NOT_OK, "reject", {"lot": "B", "defect": "stain"}),
        (3, Action.ACCEPT, OK, "random", {"lot": "B", "model_version": "2"}),
    ]
    for number, action, truth, because, more in rows:
        figures.apply(Change(None, outcome(number, action, truth, because, **more)))
    lots = {found.name: (found.parts, found.escapes) for found in figures.figures("lot")}
    assert lots == {"A": (2, 1), "B": (2, 0)}
    classes = {found.name: found.escape_rate.value for found in figures.figures("class")}
    assert classes == {"crack": 0.5, "stain": 0.0}
    assert [found.name for found in figures.figures("model")] == ["m 1 m1", "m 2 m1"]


def test_slices_and_classes_are_bounded() -> None:
    figures = QualityFigures("s/c")
    for number in range(MAX_SLICES + 30):
        made = outcome(number, Action.REJECT, NOT_OK, "reject", lot=f"L{number}", defect=f"d{number}")
        figures.apply(Change(None, made))
    assert len(figures.figures("lot")) == MAX_SLICES
    assert figures.dropped == {"lot": 30}
    classes = {found.name: found.labelled for found in figures.figures("class")}
    assert len(classes) == MAX_DEFECTS + 1
    assert classes["other"] == MAX_SLICES + 30 - MAX_DEFECTS
    # A lot that has gone is not brought back, nor another pushed out, by taking something of it back.
    before, after = (outcome(0, Action.REJECT, NOT_OK, "reject", lot=lot) for lot in ("L0", f"L{MAX_SLICES}"))
    figures.apply(Change(before, after))
    assert [found.parts for found in figures.figures("lot")].count(1) == MAX_SLICES - 1


def test_reasons_are_a_closed_list() -> None:
    assert [reason(text) for text in (" Near threshold", "EPISODE", "", "x" * 500)] == [
        "near-threshold", "episode", "unstated", "other",
    ]  # fmt: skip

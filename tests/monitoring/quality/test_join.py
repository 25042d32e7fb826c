"""Decisions and labels meet, in whatever order and however often they come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.quality.figures import BY, QualityFigures
from monitoring.quality.label_join import LabelJoin
from schemas import Action, Decision, Label, ResultState, Verdict
from tests.support.quality_records import make_decision, make_label

OK, NOT_OK = Verdict.OK, Verdict.NOT_OK
ABORTED: dict[str, Any] = {"result_state": ResultState.ABORTED, "verdict": Verdict.NOT_DECIDABLE}


def play(events: list[Decision | Label], join: LabelJoin | None = None) -> QualityFigures:
    join = join or LabelJoin()
    figures = QualityFigures("s/c")
    for event in events:
        for change in join.decision(event) if isinstance(event, Decision) else join.label(event):
            figures.apply(change)
    return figures


NAMES_BOTH = make_label(0, NOT_OK, part_id="P0")
BY_PART = make_label(0, NOT_OK, frame_id=None, part_id="P0")


@pytest.mark.parametrize(
    ("name", "events", "labelled", "escapes"),
    [
        ("label after decision", [make_decision(0), make_label(0, NOT_OK)], 1, 1),
        ("label before decision", [make_label(0, NOT_OK), make_decision(0)], 1, 1),
        ("by part", [make_decision(0), BY_PART], 1, 1),
        ("by part, before", [BY_PART, make_decision(0)], 1, 1),
        ("by part, of a barcode reader", [make_decision(0), replace(BY_PART, part_id="P0\r")], 1, 1),
        ("by part, in a decision of another writer", [replace(make_decision(0), part_id="\x02P0 "), BY_PART], 1, 1),
        ("part with two frames", [make_decision(0), make_decision(1, part_id="P0"), BY_PART], 2, 2),
        ("the same label twice", [make_decision(0), make_label(0, NOT_OK), make_label(0, NOT_OK)], 1, 1),
        ("the same decision twice", [make_decision(0), make_decision(0), make_label(0, NOT_OK)], 1, 1),
        ("a newer label replaces", [make_decision(0), make_label(0, NOT_OK), make_label(0, OK, 200)], 1, 0),
        ("an older one does not", [make_decision(0), make_label(0, OK, 200), make_label(0, NOT_OK)], 1, 0),
        ("at one time defective counts", [make_decision(0), make_label(0, NOT_OK), make_label(0, OK)], 1, 1),
        ("not about this frame", [make_decision(0), make_label(1, NOT_OK)], 0, 0),
        ("says nothing", [make_decision(0), make_label(0, Verdict.NOT_DECIDABLE)], 0, 0),
        ("never inspected", [make_decision(0, Action.REJECT, **ABORTED), make_label(0, NOT_OK)], 0, 0),
        (
            "shed, inspected later",
            [make_decision(0, Action.REJECT, **ABORTED), make_label(0, NOT_OK), make_decision(0)],
            1,
            1,
        ),
        ("a replay", [make_decision(0, is_simulated=True), make_label(0, NOT_OK)], 0, 0),
        ("a challenger", [make_decision(0, model_stage="challenger"), make_label(0, NOT_OK)], 0, 0),
        (
            "of two models the first counts",
            [
                make_decision(0, Action.REJECT, model_sha256="m2", decided_at_us=99),
                make_decision(0),
                make_label(0, NOT_OK),
            ],
            1,
            0,
        ),
        ("frame and part: the frame alone", [make_decision(0), make_decision(1, part_id="P0"), NAMES_BOTH], 1, 1),
        (
            "sent to review is no escape",
            [make_decision(0, Action.REVIEW), make_label(0, NOT_OK)],
            1,
            0,
        ),
    ],
)
def test_one_frame(name: str, events: list[Decision | Label], labelled: int, escapes: int) -> None:
    [figures] = play(events).figures()
    assert (figures.labelled, figures.escapes) == (labelled, escapes)


truths = st.sampled_from([OK, NOT_OK])
numbers = st.integers(0, 5)
some_decisions = st.builds(
    lambda number, action, model, state: make_decision(
        number, action if state is ResultState.COMPLETED else Action.REJECT, model_sha256=model, result_state=state
    ),
    numbers,
    st.sampled_from(Action),
    st.sampled_from(["m1", "m2"]),
    st.sampled_from([ResultState.COMPLETED, ResultState.COMPLETED, ResultState.FAILED]),
)
some_labels = st.builds(
    lambda number, truth, at, because, defect: make_label(
        number, truth, at, label_id=f"{number}{truth}{at}{because}{defect}", sampled_because=because, defect=defect
    ),
    numbers, truths, st.integers(1, 3), st.sampled_from(["random", "reject", ""]), st.sampled_from([None, "crack"]),
)  # fmt: skip
part_labels = st.builds(
    lambda number, truth, at: make_label(number, truth, at, frame_id=None, part_id=f"P{number}"),
    numbers,
    truths,
    st.integers(1, 3),
)


@given(st.data())
@settings(max_examples=150)
def test_the_order_does_not_matter(data: st.DataObject) -> None:
    # One action for a decision id, as in life: what a model says of a frame does not change.
    decisions = data.draw(st.lists(some_decisions, max_size=8, unique_by=lambda decision: decision.decision_id))
    labels = data.draw(st.lists(some_labels | part_labels, max_size=10))
    events = [*decisions, *labels]
    again = data.draw(st.lists(st.sampled_from(events), max_size=5)) if events else []
    shuffled = data.draw(st.permutations([*events, *again]))
    one, other = play(list(events)), play(list(shuffled))
    for by in BY:
        assert one.figures(by) == other.figures(by)


def test_what_falls_out_is_counted() -> None:
    join = LabelJoin(max_decisions=10, max_labels=3)
    play([make_decision(number) for number in range(15)], join)
    assert (join.store.decisions, join.counts.forgotten_decisions) == (10, 5)
    play([make_label(number, NOT_OK) for number in range(15, 20)], join)
    assert (join.waiting_labels, join.counts.lost_labels) == (3, 2)
    # Too late for frame 0, in time for frame 14; no label that found its decision is lost.
    [figures] = play([make_label(0, NOT_OK), make_label(14, NOT_OK)], join).figures()
    assert figures.escapes == 1
    old = LabelJoin(max_age_h=1)
    play([make_decision(0), make_decision(3_601)], old)
    assert old.counts.forgotten_decisions == 1


def test_with_a_label_that_falls_out_goes_its_decision() -> None:
    join = LabelJoin(max_labels=1)
    first = [make_decision(0), make_decision(1), make_label(0, NOT_OK, 50), make_label(1, NOT_OK)]
    # Were the decision still there, the older label would count a second outcome for frame 0.
    [figures] = play([*first, make_label(0, OK, 10)], join).figures()
    assert (figures.labelled, figures.escapes, figures.overkill) == (2, 2, 0)


def test_who_was_drawn_blindly_stays_so() -> None:
    drawn = make_label(0, OK, 100, sampled_because="random")
    complaint = make_label(0, NOT_OK, 200, sampled_because="complaint")
    others = [make_decision(number) for number in range(1, 10)]
    for labels in ([drawn, complaint], [complaint, drawn]):
        [figures] = play([make_decision(0), *others, *labels]).figures()
        assert (figures.escapes_among_accepts.value, figures.escapes_among_accepts.labels) == (1.0, 1)


def test_counts() -> None:
    join = LabelJoin()
    label = make_label(0, NOT_OK)
    play(
        [
            make_decision(0), make_decision(0), replace(make_decision(1), is_simulated=True), label, label,
            make_label(0, OK), make_label(0, OK, 300), make_label(7),
        ],
        join,
    )  # fmt: skip
    found = {name: count for name, count in join.counts.as_dict().items() if count}
    assert found == {
        "decisions": 1, "labels": 4, "duplicate_decisions": 1, "duplicate_labels": 1, "shadow_decisions": 1,
        "corrections": 2, "contradictions": 1,
    }  # fmt: skip

"""The live join, `inspection quality` and `inspection analyse` take the same decision and the same label of a frame."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.quality.figures import QualityFigures
from monitoring.quality.label_index import LabelIndex
from monitoring.quality.label_join import LabelJoin
from operations import publish_labels
from replay.analysis.rates import confusion_of
from replay.analysis.table import build_table
from replay.analysis.view import decider_view
from replay.past.decision_index import DecisionIndex
from replay.past.replayed_frame import ReplayedFrame
from schemas import Action, Decision, KafkaSettings, Label, ResultState, Verdict
from tests.support.quality_lines import decision, publish, run
from tests.support.quality_records import make_decision, make_label

OK, NOT_OK = Verdict.OK, Verdict.NOT_OK
TOPIC = "t"

Counts = tuple[int, int, int]


def live(decisions: list[Decision], labels: list[Label], *, labels_first: bool) -> Counts:
    """Return labelled, escapes and overkill of the join that a watch and `inspection quality` use."""
    join, figures = LabelJoin(), QualityFigures("s/c")
    for event in [*labels, *decisions] if labels_first else [*decisions, *labels]:
        for change in join.decision(event) if isinstance(event, Decision) else join.label(event):
            figures.apply(change)
    [found] = figures.figures()
    return found.labelled, found.escapes, found.overkill


def table(decisions: list[Decision], labels: list[Label]) -> Counts:
    """Return the same of the index and the table that `inspection analyse` uses."""
    index = DecisionIndex(TOPIC)
    for one in decisions:
        index.add(one)
    frames = [ReplayedFrame(position=place, timestamp_us=0, recorded=recorded) for place, recorded in index]
    index.close()
    if not frames:
        return 0, 0, 0
    view = decider_view(build_table(frames, LabelIndex(labels)))
    found = confusion_of(view)
    return int(view.labelled.sum()), found.escapes, found.overkill


def decisions() -> st.SearchStrategy[Decision]:
    """Decisions of two frames of one part: repeated, at two places, shed, failed, of a replay or a challenger."""
    return st.builds(
        lambda number, action, state, decided, name, copy, stage, is_simulated: make_decision(
            number, action, result_state=state, decided_at_us=decided, decision_id=name, part_id="P",
            source_offset=number + 10 * copy, model_stage=stage, is_simulated=is_simulated,
        ),
        st.integers(0, 1), st.sampled_from(Action), st.sampled_from([ResultState.COMPLETED, ResultState.ABORTED]),
        st.integers(1, 2), st.sampled_from("abcd"), st.booleans(),
        st.sampled_from(["champion", "champion", "challenger"]), st.sampled_from([False, False, True]),
    )  # fmt: skip


def labels() -> st.SearchStrategy[Label]:
    """Labels of the same frames or their part: repeated, corrected, contradicting, with an id that is taken."""
    return st.builds(
        lambda number, by_part, truth, at, name: make_label(
            number, truth, at, label_id=name, part_id="P" if by_part else None,
            **({"frame_id": None} if by_part else {}),
        ),
        st.integers(0, 2), st.booleans(), st.sampled_from(Verdict), st.integers(100, 101), st.sampled_from("xyz"),
    )  # fmt: skip


@settings(max_examples=60)
@given(st.lists(decisions(), max_size=6), st.lists(labels(), max_size=6), st.booleans())
def test_both_ways_count_the_same(some: list[Decision], given_labels: list[Label], labels_first: bool) -> None:
    # One id names one decision, whatever it says: a second one is a repetition.
    some = list({one.decision_id: one for one in some}.values())
    assert live(some, given_labels, labels_first=labels_first) == table(some, given_labels)


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_of_two_decisions_of_one_moment_the_same_one_counts(names: str) -> None:
    one, other = (
        make_decision(0, action, decision_id=name, source_offset=offset)
        for action, name, offset in ((Action.ACCEPT, names[0], 0), (Action.REJECT, names[1], 10))
    )
    assert live([one, other], [make_label(0, NOT_OK)], labels_first=False) == table(
        [other, one], [make_label(0, NOT_OK)]
    )


def test_an_undecided_label_hides_no_label_of_its_id() -> None:
    """Found by the property above: three labels with one id, of which two are about one frame."""
    labels = [make_label(0, OK, label_id="x"), *(make_label(1, t, label_id="x") for t in (Verdict.NOT_DECIDABLE, OK))]
    one = make_decision(1, Action.ACCEPT, decision_id="a")
    assert live([one], labels, labels_first=False) == table([one], labels) == (1, 0, 0)


def test_a_label_id_of_another_camera_hides_no_label() -> None:
    one = make_label(0, NOT_OK, label_id="x")
    found = LabelIndex([replace(one, camera_id="other"), one])
    assert found.counts.duplicates == 0
    assert found.of_frame("s/c", one.frame_id or "", None) is not None


@pytest.mark.broker
def test_the_two_commands_report_the_same(line: KafkaSettings) -> None:
    def of(number: int, action: Action = Action.ACCEPT, **changes: Any) -> Decision:
        values = {"source_topic": line.frames, "source_offset": number, **changes}
        return decision(number, action, **values)

    shed = of(6, Action.REJECT, result_state=ResultState.ABORTED, verdict=Verdict.NOT_DECIDABLE)
    sent = [of(number, Action.REJECT if number in (3, 4) else Action.ACCEPT) for number in range(12)]
    again = of(7, Action.REJECT, decided_at_us=sent[7].decided_at_us + 5, source_offset=70, decision_id="later")
    publish(line, line.decisions, [shed, *sent, sent[0], again, replace(sent[1], is_simulated=True, decision_id="r")])
    publish_labels(line, [
        make_label(0, NOT_OK), make_label(0, NOT_OK),  # repeated
        make_label(1, NOT_OK), make_label(1, OK, 200),  # corrected
        make_label(2, OK), make_label(2, NOT_OK),  # contradicting
        make_label(3, OK), make_label(4, NOT_OK),
        make_label(5, frame_id=None, part_id="P5", truth=NOT_OK), make_label(5, OK, 50),  # by part, and an older one
        make_label(6, NOT_OK), make_label(7, NOT_OK),
        make_label(8, OK, label_id="x"), make_label(9, NOT_OK, label_id="x"),  # an id that is taken
        make_label(10, Verdict.NOT_DECIDABLE), make_label(99, NOT_OK),
        make_label(11, OK, 4_102_444_800_000_000), make_label(11, NOT_OK, 100),  # a clock ahead, written first
    ])  # fmt: skip
    [figures] = json.loads(run(line, "quality", "--json").stdout)["figures"]
    analysis = json.loads(run(line, "analyse", "--json").stdout)
    reported = (analysis["extent"]["labelled"], analysis["confusion"]["escapes"], analysis["confusion"]["overkill"])
    assert (figures["labelled"], figures["escapes"], figures["overkill"]) == reported
    assert reported[0] == 11
    for name in ("escape_rate", "overkill_rate", "accuracy"):
        assert figures[name]["value"] == analysis["rates"][name]["value"]

"""Frames of a stretch as columns, and what labels say of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quality.label_index import LabelIndex
from monitoring.quality.label_join import LabelJoin
from replay.analysis.overview import analyse
from replay.analysis.table import DEFECTIVE, GOOD, MAX_COLUMNS, UNKNOWN, build_table
from replay.export import Rows
from replay.past.replayed_frame import RECORDED, ReplayedFrame
from schemas import Action, Decision, ResultState, Verdict
from tests.support.quality_records import make_decision, make_label
from transport.stored_message import MessagePosition

SHED: dict[str, Any] = {"result_state": ResultState.ABORTED, "verdict": Verdict.NOT_DECIDABLE, "score": None}


def replayed(recorded: Decision | None, *variants: Decision, offset: int | None = None) -> ReplayedFrame:
    sure = recorded or variants[0]
    place = MessagePosition("t.frames", 0, sure.sequence if offset is None else offset)
    return ReplayedFrame(position=place, timestamp_us=7, recorded=recorded, replayed=variants)


def test_a_frame_is_a_row() -> None:
    decision = make_decision(
        3, Action.REJECT, score=0.75, signals={"brightness": 80.0}, attributes={"product": "x1"}, reason="score",
        durations_ms={"queue": 1.0, "decode": 2.0}, deadline_at_us=3_000_001, is_late=True, model_sha256="0123456789ab",
    )  # fmt: skip
    table = build_table([replayed(decision)], LabelIndex([make_label(3, Verdict.NOT_OK, defect="crack")]))
    row = {name: column[0] for name, column in table.columns.items()}
    assert np.isnan(row.pop("recorded.infer_ms"))
    assert row == {
        "frame_id": decision.frame_id, "part_id": "P3", "line": "l", "station": "s", "camera": "s/c", "lot": "L0",
        "image_sha256": "aa", "topic": "t.frames", "partition": 0, "offset": 3, "captured_at_us": 3_000_000,
        "timestamp_us": 7, "copies": 1, "truth": DEFECTIVE, "defect": "crack", "sampled_because": "unstated",
        "attribute.product": "x1", "signal.brightness": 80.0, "recorded.score": 0.75, "recorded.threshold": 0.5,
        "recorded.verdict": "NOT_OK", "recorded.action": "REJECT", "recorded.result_state": "COMPLETED",
        "recorded.model": "m 1 01234567", "recorded.reason": "score", "recorded.latency_ms": 50.0,
        "recorded.queue_ms": 1.0, "recorded.decode_ms": 2.0, "recorded.is_late": 1,
    }  # fmt: skip


@pytest.mark.parametrize("number", [1e300, -1e300, math.inf, math.nan])
def test_a_number_that_is_none_makes_no_figure_fail(number: float) -> None:
    odd = {"score": number, "threshold": number, "signals": {"noise": number}, "durations_ms": {"queue": number}}
    decisions = [make_decision(n) for n in range(20)] + [make_decision(20, **odd)]
    truths = LabelIndex([make_label(n, Verdict.OK if n % 2 else Verdict.NOT_OK) for n in range(21)])
    table = build_table(map(replayed, decisions), truths)
    for name in ("recorded.score", "recorded.threshold", "recorded.queue_ms", "signal.noise"):
        assert np.isnan(table[name][20]), name
    assert analyse(table).calibration.why_not == ""


def test_no_frames_make_an_empty_table() -> None:
    table = build_table([], variants=("new",))
    assert len(table) == 0
    assert table["recorded.score"].dtype == table["new.score"].dtype == np.float64
    assert table.deciders == (RECORDED, "new")


def test_what_only_some_frames_have_is_empty_in_the_others() -> None:
    frames = [
        replayed(make_decision(0)),
        replayed(make_decision(1, signals={"noise": 2.0}, attributes={"shift": "A"})),
        replayed(make_decision(2, part_id=None, lot=None, deadline_at_us=9_000_000, **SHED)),
    ]
    table = build_table(frames)
    assert np.isnan(table["signal.noise"]).tolist() == [True, False, True]
    assert table["attribute.shift"].tolist() == [None, "A", None]
    assert np.isnan(table["recorded.score"]).tolist() == [False, False, True]
    assert table["part_id"].tolist() == ["P0", "P1", None]
    assert table["recorded.is_late"].tolist() == [-1, -1, 0]
    assert table["truth"].tolist() == [UNKNOWN] * 3
    assert table.signals == ("noise",)


def test_invented_names_make_no_more_columns() -> None:
    """With a column for each name, 2,000 frames of 64 new attributes would take a gigabyte."""
    frames = [
        replayed(
            make_decision(
                number,
                signals={f"s{number}.{each}": 1.0 for each in range(30)},
                attributes={f"a{number}.{each}": "x" for each in range(30)} | {"truth": "good"},
            )
        )
        for number in range(100)
    ]
    table = build_table(frames)
    assert len(table.signals) == len([name for name in table.columns if name.startswith("attribute.")]) == MAX_COLUMNS
    assert "signal.s0.0" in table.columns
    table = build_table(frames[50:] + frames[:50], truth_attribute="truth")
    assert (table["attribute.truth"] == "good").all()
    assert (table["truth"] == GOOD).all()
    names = {name for batch in Rows(lambda: iter(frames)).batches(5) for name in batch.schema.names}
    assert len([name for name in names if name.startswith("attribute.")]) == MAX_COLUMNS


def test_rows_are_in_order_of_capture() -> None:
    table = build_table([replayed(make_decision(n)) for n in (2, 0, 1)])
    assert table["offset"].tolist() == [0, 1, 2]
    assert table.where(table["offset"] > 0)["part_id"].tolist() == ["P1", "P2"]
    assert table.where(np.array([2, 0]))["part_id"].tolist() == ["P2", "P0"]


def test_the_inspection_that_was_decided_first_counts_whatever_is_read_first() -> None:
    first, later = make_decision(0, score=0.1), make_decision(0, score=0.9, decided_at_us=80_000)
    shed = make_decision(0, Action.REJECT, decided_at_us=1, **SHED)
    frames = [replayed(one, offset=n) for n, one in enumerate((first, later, shed, None)) if one is not None]
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)):
        table = build_table([frames[n] for n in order])
        assert (table["recorded.score"].tolist(), table["copies"].tolist()) == ([0.1], [3])
        assert table["offset"].tolist() == [0]


def test_variants_have_columns_beside_the_recorded_ones() -> None:
    one, two = make_decision(0, Action.REJECT, score=0.8), make_decision(0, score=0.3, model_version="2")
    frames = [replayed(make_decision(0), one, two), replayed(None, make_decision(1), make_decision(1))]
    table = build_table(frames, variants=("new", "newer"))
    assert table["new.action"].tolist() == ["REJECT", "ACCEPT"]
    assert table["newer.model"].tolist() == ["m 2 m1", "m 1 m1"]
    assert table["recorded.action"].tolist() == ["ACCEPT", None]
    assert np.isnan(table["recorded.latency_ms"]).tolist() == [False, True]
    with pytest.raises(ValueError, match=r"shorter|longer"):
        build_table(frames, variants=("new",))


def test_an_attribute_says_the_truth_where_no_label_does() -> None:
    texts = ("Functional ", "defective", "  ", "crack", None)
    decisions = [make_decision(n, attributes={} if text is None else {"label": text}) for n, text in enumerate(texts)]
    truths = LabelIndex([make_label(1, Verdict.OK)])
    table = build_table(map(replayed, decisions), truths, truth_attribute="label")
    assert table["truth"].tolist() == [GOOD, GOOD, UNKNOWN, DEFECTIVE, UNKNOWN]
    assert table["defect"].tolist() == [None, None, None, "crack", None]
    assert table["sampled_because"].tolist() == ["random", "unstated", None, "random", None]
    assert build_table(map(replayed, decisions))["truth"].tolist() == [UNKNOWN] * 5


def test_texts_that_many_rows_share_are_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.analysis.table._MAX_SHARED", 12)
    decisions = [replace(make_decision(n), lot="".join(["L", "7"])) for n in range(50)]
    lots = build_table(map(replayed, decisions))["lot"]
    assert len({id(lot) for lot in lots}) == 1


def test_a_label_by_part_is_about_every_frame_of_the_camera() -> None:
    truths = LabelIndex([make_label(0, Verdict.NOT_OK, frame_id=None, part_id="P7", defect="stain")])
    decisions = [
        make_decision(0, part_id="P7"), make_decision(1, part_id="P7"), make_decision(2),
        make_decision(3, part_id=None), make_decision(4, part_id="P7", camera_id="other"),
    ]  # fmt: skip
    assert build_table(map(replayed, decisions), truths)["truth"].tolist() == [DEFECTIVE, DEFECTIVE, *[UNKNOWN] * 3]
    assert truths.waiting == 0


def test_labels_that_name_nothing_wait() -> None:
    truths = LabelIndex([make_label(5), make_label(0, frame_id=None, part_id="nowhere")])
    assert truths.of(make_decision(4)) is None
    assert truths.waiting == 2
    assert truths.of(make_decision(5)) is not None
    assert truths.waiting == 1


def test_a_label_of_the_frame_and_one_of_the_part_the_newest_counts() -> None:
    by_part = make_label(0, Verdict.NOT_OK, at=200, frame_id=None, part_id="P0")
    truths = LabelIndex([by_part, make_label(0, Verdict.OK, at=100)])
    found = truths.of(make_decision(0))
    assert found is not None
    assert found.is_defective
    truths.add(make_label(0, Verdict.OK, at=300))
    found = truths.of(make_decision(0))
    assert found is not None
    assert not found.is_defective


def test_what_became_of_labels_is_counted() -> None:
    good, bad = make_label(0, Verdict.OK, at=5), make_label(0, Verdict.NOT_OK, at=5)
    truths = LabelIndex([good, good, make_label(0, Verdict.NOT_DECIDABLE, at=9), bad, make_label(0, Verdict.OK, at=7)])
    counts = truths.counts
    assert (counts.labels, counts.duplicates, counts.undecided) == (4, 1, 1)
    assert (counts.corrections, counts.contradictions) == (2, 1)
    found = truths.of(make_decision(0))
    assert found is not None
    assert not found.is_defective


LABEL = st.builds(
    lambda frame, truth, at, by_part, because, who: make_label(
        frame, truth, at, sampled_because=because, label_id=f"{frame}{truth}{at}{by_part}{because}{who}",
        **({"frame_id": None, "part_id": f"P{frame % 2}"} if by_part else {}),
    ),
    st.integers(0, 2), st.sampled_from(list(Verdict)), st.integers(1, 3), st.booleans(),
    st.sampled_from(["random", "reject", "complaint", ""]), st.integers(0, 1),
)  # fmt: skip


@given(st.lists(LABEL, max_size=12), st.randoms(use_true_random=False))
def test_truths_are_those_of_the_live_join_in_any_order(labels: list[Any], random: Any) -> None:
    decisions = [make_decision(n, part_id=f"P{n % 2}") for n in range(3)]
    join = LabelJoin()
    now = {}
    for change in [c for one in labels for c in join.label(one)] + [c for d in decisions for c in join.decision(d)]:
        now[change.after.decision.frame_id] = change.after.truth
    random.shuffle(labels)
    truths = LabelIndex(labels)
    for decision in decisions:
        found, live = truths.of(decision), now[decision.frame_id]
        assert (found is None) == (live is None)
        if found is not None and live is not None:
            assert (found.is_defective, found.sampled_because, found.label_id) == (
                live.is_defective,
                live.sampled_because,
                live.label_id,
            )

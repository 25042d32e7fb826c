"""Truths of labels whose time or id cannot be right."""

from __future__ import annotations

import pytest

from monitoring.quality.label_index import LabelIndex
from schemas.clock import ManualClock
from schemas.records import Label, Verdict

NOW_US = 1_795_000_000_000_000
IN_2100_US = 4_102_444_800_000_000
MINUTE_US = 60_000_000


def label(name: str, truth: Verdict, at_us: int, **changes: str) -> Label:
    values = {"station": "s", "camera_id": "c", "frame_id": "f", "labelled_by": "ada", **changes}
    return Label(label_id=name, truth=truth, labelled_at_us=at_us, **values)


def truths(*labels: Label) -> LabelIndex:
    return LabelIndex(labels, clock=ManualClock(NOW_US))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_label_of_the_future_does_not_win_for_ever(order):
    labels = [label("1", Verdict.OK, IN_2100_US), label("2", Verdict.NOT_OK, NOW_US - MINUTE_US)]
    found = truths(*(labels[number] for number in order))
    assert found.of_frame("s/c", "f", None).is_defective
    assert found.counts.future == 1


def test_a_label_of_the_future_counts_from_when_it_was_written():
    found = LabelIndex(clock=ManualClock(NOW_US))
    found.add(label("1", Verdict.OK, NOW_US - 30 * MINUTE_US), NOW_US - 30 * MINUTE_US)
    found.add(label("2", Verdict.NOT_OK, IN_2100_US), NOW_US - 20 * MINUTE_US)
    assert found.of_frame("s/c", "f", None).is_defective
    found.add(label("3", Verdict.OK, NOW_US - 10 * MINUTE_US), NOW_US - 10 * MINUTE_US)
    assert not found.of_frame("s/c", "f", None).is_defective
    assert found.counts.future == 1


def test_a_time_of_the_future_loses_also_when_it_is_past_by_now():
    """Check a label of yesterday with a time of this morning, corrected yesterday: today the correction counts."""
    found = LabelIndex(clock=ManualClock(NOW_US))
    found.add(label("1", Verdict.OK, NOW_US - MINUTE_US), NOW_US - 1440 * MINUTE_US)
    found.add(label("2", Verdict.NOT_OK, NOW_US - 1400 * MINUTE_US), NOW_US - 1400 * MINUTE_US)
    assert found.of_frame("s/c", "f", None).is_defective


def test_five_minutes_are_no_future():
    found = truths(label("1", Verdict.OK, NOW_US + 4 * MINUTE_US), label("2", Verdict.NOT_OK, NOW_US))
    assert not found.of_frame("s/c", "f", None).is_defective
    assert found.counts.future == 0


@pytest.mark.parametrize(
    "other",
    [
        label("1", Verdict.NOT_OK, NOW_US - MINUTE_US),
        label("1", Verdict.NOT_OK, NOW_US - 2 * MINUTE_US, defect="crack"),
    ],
    ids=["later", "same time"],
)
def test_the_id_of_another_label_hides_nothing(other):
    first = label("1", Verdict.OK, NOW_US - 2 * MINUTE_US)
    for labels in ([first, other, first, other], [other, first, other, first]):
        found = truths(*labels)
        assert found.of_frame("s/c", "f", None).is_defective
        assert (found.counts.labels, found.counts.duplicates) == (2, 2)
        assert found.counts.contradictions >= 1


def test_a_copy_is_a_duplicate():
    one = label("1", Verdict.OK, NOW_US - MINUTE_US)
    found = truths(one, one)
    assert (found.counts.duplicates, found.counts.contradictions) == (1, 0)


@pytest.mark.parametrize(("labelled", "decided"), [("P-7\r", "P-7"), ("P-7", " P-7")])
def test_blanks_around_the_id_of_a_part_do_not_matter(labelled: str, decided: str) -> None:
    found = LabelIndex([label("1", Verdict.NOT_OK, NOW_US - MINUTE_US, frame_id=None, part_id=labelled)])
    truth = found.of_frame("s/c", "f", decided)
    assert (truth is not None, found.waiting) == (True, 0)

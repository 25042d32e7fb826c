"""Times in the future, and ids of other records, in the join of decisions and labels."""

from __future__ import annotations

from monitoring.quality.label_join import LabelJoin
from schemas import Verdict
from schemas.clock import ManualClock
from tests.support.quality_records import make_decision, make_label

NOW_US = 1_795_000_000_000_000
IN_2100_US = 4_102_444_800_000_000


def join() -> LabelJoin:
    return LabelJoin(clock=ManualClock(NOW_US))


def test_one_decision_of_the_future_makes_no_other_one_too_old():
    found = join()
    for number in range(100):
        found.decision(make_decision(number, captured_at_us=NOW_US - number))
    found.decision(make_decision(100, captured_at_us=IN_2100_US))
    assert (found.store.decisions, found.counts.forgotten_decisions, found.counts.future_decisions) == (101, 0, 1)
    [change] = found.label(make_label(5, Verdict.NOT_OK, at=NOW_US))
    assert change.after.is_escape


def test_a_newest_time_of_an_older_state_is_not_believed():
    found = join()
    found.newest_us = IN_2100_US
    for number in range(10):
        found.decision(make_decision(number, captured_at_us=NOW_US - number))
    assert found.store.decisions == 10


def test_a_label_of_the_future_counts_from_when_it_was_written():
    found = join()
    found.decision(make_decision(1, captured_at_us=NOW_US))
    found.label(make_label(1, Verdict.OK, at=IN_2100_US), NOW_US - 2000)
    [change] = found.label(make_label(1, Verdict.NOT_OK, at=NOW_US - 1000), NOW_US - 1000)
    assert change.after.is_escape
    assert found.counts.future_labels == 1


def test_the_id_of_another_label_hides_nothing():
    found = join()
    for number in (1, 2):
        found.decision(make_decision(number, captured_at_us=NOW_US))
    found.label(make_label(1, Verdict.OK, label_id="same"))
    [change] = found.label(make_label(2, Verdict.NOT_OK, label_id="same"))
    assert change.after.is_escape
    assert found.label(make_label(2, Verdict.NOT_OK, label_id="same")) == []
    assert (found.counts.contradictions, found.counts.duplicate_labels, found.counts.labels) == (1, 1, 2)

"""What the topic has of a start of a camera, against what the edge has counted."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.audit.edge import NoEdgeReport, read_report, read_spool
from operations.audit.reconcile import EdgeStart, StartCounts, merge, reconcile
from producers.spool import Spool, SpooledFrame, SpoolFile, SpoolOptions


def report(captured: int, **figures: int) -> EdgeStart:
    return EdgeStart(camera="s/c", started_at_us=1, reported=True, captured=captured, **figures)


def spool(captured: int, lost: int = 0, waiting_sequences: set[int] | None = None) -> EdgeStart:
    return EdgeStart(
        camera="s/c",
        started_at_us=1,
        captured=captured,
        lost=lost,
        waiting_sequences=frozenset(waiting_sequences or ()),
    )


@pytest.mark.parametrize(
    ("name", "seen", "edge", "unexplained", "surplus"),
    [
        ("all there", range(100), report(100), 0, 0),
        ("lost at the end", range(1), report(100), 99, 0),
        ("absent from the topic", (), report(100), 100, 0),
        ("nothing captured", (), report(0), 0, 0),
        ("dropped at the end", range(90), report(100, lost=10), 0, 0),
        ("500 drops, 2 gaps", range(2, 600), report(600, lost=500), 0, 498),
        ("left in the spool", range(60), report(100, spooled=40), 0, 0),
        ("left in the spool, since sent", range(100), report(100, spooled=40), 0, 0),
        ("no answer, sent or not", range(98), report(100, unsure=2), 0, 0),
        ("no answer, and sent", range(100), report(100, unsure=2), 0, 0),
        ("more missing than unsure", range(97), report(100, unsure=2), 1, 0),
        ("the spool alone: drops", {0, 1, 5}, spool(6, lost=3), 0, 0),
        ("the spool alone: drops after the last frame", {0, 1}, spool(6, lost=4), 0, 0),
        ("the spool alone: too few", {0, 1}, spool(6, lost=3), 1, 0),
        ("the spool alone: too many", {0, 1, 2}, spool(3, lost=1), 0, 1),
        ("waiting in the spool", {0, 1}, spool(4, waiting_sequences={2, 3}), 0, 0),
        ("in the spool and in the topic", {0, 1, 2}, spool(3, waiting_sequences={1, 2}), 0, 0),
        ("only the spool knows of it", (), spool(40, lost=3, waiting_sequences={38, 39}), 0, 0),
    ],
)
def test_a_start_read_from_its_begin(
    name: str, seen: range | set[int], edge: EdgeStart, unexplained: int, surplus: int
) -> None:
    counts = reconcile(set(seen), edge, whole=True)
    assert (counts.unexplained_gaps, counts.surplus_drops) == (unexplained, surplus)


def test_report_and_spool_do_not_count_a_drop_twice() -> None:
    for pair in ([report(10, lost=4), spool(10, lost=4)], [spool(10, lost=4), report(10, lost=4)]):
        (one,) = merge(pair).values()
        assert reconcile(set(range(6)), one, whole=True) == StartCounts(10, 4, 4, 0, 0, 0)
    # Two were left in the spool; a later run has dropped one of them and holds the other.
    (one,) = merge([report(10, lost=4, spooled=2), spool(10, lost=5, waiting_sequences={9})]).values()
    assert reconcile(set(range(4)), one, whole=True) == StartCounts(10, 6, 5, 1, 0, 0)
    # The same report twice, or an older one of the same start.
    (one,) = merge([report(10, lost=4), report(10, lost=4), report(5)]).values()
    assert (one.captured, one.lost) == (10, 4)


def test_a_part_of_a_start_is_judged_by_what_is_in_it() -> None:
    edge = report(100, lost=50)
    assert reconcile({40, 41}, edge, whole=False, open_end=False) == StartCounts(2, 0, 0, 0, 0, 0)
    assert reconcile({40, 43}, edge, whole=False, open_end=False) == StartCounts(4, 2, 2, 0, 0, 0)
    assert reconcile({40, 43}, None, whole=False, elsewhere={41}).unexplained_gaps == 1
    # The newest frame went out live before the range, and the spool of the older ones within it.
    edge = EdgeStart(camera="s/c", started_at_us=1, reported=True, captured=5)
    assert reconcile({1, 2, 3}, edge, whole=False, elsewhere={4}).unexplained_gaps == 0
    # Cut at the begin, read to the end: what is missing there is missing.
    assert reconcile({40, 41}, report(100), whole=False).unexplained_gaps == 58
    assert reconcile(set(), edge, whole=False) == StartCounts(0, 0, 0, 0, 0, 0)


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(0, 70))
def test_true_books_close_and_one_frame_less_does_not(
    published: set[int], dropped: set[int], waiting_sequences: set[int], captured: int
) -> None:
    every = set(range(captured))
    dropped = dropped & every
    waiting_sequences = waiting_sequences & every - dropped
    published = every - dropped - waiting_sequences
    true = merge(
        [
            report(captured, lost=len(dropped), spooled=len(waiting_sequences)),
            spool(captured, len(dropped), waiting_sequences),
        ]
    )["s/c", 1]  # fmt: skip
    counts = reconcile(published, true, whole=True)
    assert (counts.unexplained_gaps, counts.surplus_drops, counts.gaps) == (0, 0, captured - len(published))
    if published:
        assert reconcile(published - {min(published)}, true, whole=True).unexplained_gaps == 1
        assert reconcile(published, replace(true, lost=true.lost + 1), whole=True).surplus_drops == 1


def test_a_report_is_read_as_produce_prints_it(tmp_path: Path) -> None:
    path = tmp_path / "edge.json"
    row = {
        "name": "s/c", "started_at_us": 7, "captured": 20, "published": 9, "dropped": 3, "failed": 4, "spooled": 2,
        "failed_by_reason": {"undelivered": 1, "unencodable": 3},
    }  # fmt: skip
    path.write_text(json.dumps({"cameras": [row]}))
    (start,) = read_report(path)
    assert (start.started_at_us, start.captured, start.lost, start.spooled, start.unsure) == (7, 20, 6, 2, 3)
    for wrong in ("[]", '{"cameras": [{"name": "s/c", "dropped": -1, "failed": 0}]}', '{"cameras": [5]}', "\xff"):
        path.write_text(wrong, encoding="latin-1")
        with pytest.raises(NoEdgeReport):
            read_report(path)


def test_a_spool_is_read_start_by_start(tmp_path: Path) -> None:
    path = tmp_path / "inspection" / "s.c.spool"
    with closing(Spool(path, SpoolOptions(sync="normal"))) as one:
        for started, sequence in ((1, 0), (1, 1), (2, 5)):
            one.append(SpooledFrame(started, sequence, "{}", b"x"))
        one.delete([(1, 0)], drained=True)
        one.record_loss((1, 2))
        one.record_loss((3, 8))
        starts = read_spool(SpoolFile(path, "inspection", "s/c"))
    assert [(s.started_at_us, s.captured, s.lost, s.waiting_sequences) for s in starts] == [
        (1, 3, 1, frozenset({1})),
        (2, 6, 0, frozenset({5})),
        (3, 9, 1, frozenset()),
    ]

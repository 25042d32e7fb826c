"""Hash chain of the audit log: what was changed or removed is named, and writers at the same time are not accused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.audit_chain import START, ChainCheck, ChainPoint, digest_of, end_of_chain

#: Offset, value, and the point that the message states.
Row = tuple[int, bytes, ChainPoint | None]


def write(count: int, *, behind: int = 0, seed: int = 0) -> list[Row]:
    """Write a log; each writer may have missed up to ``behind`` of the newest events."""
    chosen, points, rows = random.Random(seed), [START], []
    for offset in range(count):
        seen = max(0, offset - chosen.randint(0, behind))
        value = f"event {offset} states {points[seen].sha256}".encode()
        rows.append((offset, value, points[seen]))
        points.append(points[-1].then(digest_of(value)))
    return rows


def check(rows: list[Row]) -> ChainCheck:
    found = ChainCheck()
    for row in rows:
        found.add(*row)
    return found


@given(st.integers(0, 40), st.integers(0, 4), st.integers(0, 9))
def test_a_log_that_nobody_touched_is_whole(count: int, behind: int, seed: int) -> None:
    rows = write(count, behind=behind, seed=seed)
    found = check(rows)
    assert found.breaks == []
    if rows:
        assert found.head == end_of_chain(rows)
        assert found.head is not None
        assert found.head.offset == count - 1


@given(st.integers(2, 30), st.data())
def test_the_changed_event_is_named(count: int, data: st.DataObject) -> None:
    rows = write(count)
    at = data.draw(st.integers(0, count - 2))
    rows[at] = (at, b"another", rows[at][2])
    assert [(each.kind, each.first, each.last, each.at) for each in check(rows).breaks] == [("changed", at, at, at + 1)]


@given(st.integers(1, 30), st.data())
def test_an_event_that_is_published_again_is_named(count: int, data: st.DataObject) -> None:
    rows = write(count)
    at = data.draw(st.integers(0, count - 1))
    found = check([*rows, (count, *rows[at][1:])])
    assert [str(each) for each in found.breaks] == [f"event {count}: event {at}, published again"]


@given(st.integers(3, 30), st.data())
def test_the_removed_event_is_named(count: int, data: st.DataObject) -> None:
    rows = write(count)
    at = data.draw(st.integers(1, count - 2))
    del rows[at]
    found = check(rows)
    assert [(each.kind, each.first, each.last) for each in found.breaks] == [("removed", at, at)]
    assert found.head is not None


@given(st.integers(4, 30), st.integers(1, 3), st.integers(0, 9), st.data())
def test_with_writers_at_the_same_time_the_change_is_among_the_named(
    count: int, behind: int, seed: int, data: st.DataObject
) -> None:
    rows = write(count, behind=behind, seed=seed)
    covered = max(row[2].offset for row in rows if row[2] is not None)
    if covered < 0:
        return
    at = data.draw(st.integers(0, covered))
    rows[at] = (at, b"another", rows[at][2])
    [found] = check(rows).breaks
    assert found.first <= at <= found.last


def test_older_events_may_go_with_their_retention() -> None:
    found = check(write(20, behind=2)[7:])
    assert found.breaks == []
    assert found.head == check(write(20, behind=2)).head


def test_a_message_that_is_no_event_is_a_part_of_the_chain() -> None:
    rows: list[Row] = write(2)
    rows.append((2, b"\xff garbage", None))
    end = end_of_chain(rows)
    assert end is not None
    assert end.offset == 2
    rows.append((3, b"next", end))
    assert check(rows).breaks == []
    rows[2] = (2, b"\xff other garbage", None)
    assert [each.kind for each in check(rows).breaks] == ["changed"]


@pytest.mark.parametrize(
    "claim",
    [ChainPoint(3, "0" * 64), ChainPoint(-2, "0" * 64), ChainPoint(2**62, "0" * 64), ChainPoint(0, ""),
     ChainPoint(0, "Z" * 64), ChainPoint(0, "A" * 64), ChainPoint(0, "0" * 65)],
)  # fmt: skip
def test_a_claim_that_nobody_can_know(claim: ChainPoint) -> None:
    found = check([*write(3), (3, b"forged", claim)])
    assert [(each.kind, each.at) for each in found.breaks] == [("false-claim", 3)]


def test_a_forged_claim_is_told_once() -> None:
    rows = write(3)
    rows.append((3, b"forged", ChainPoint(2, "ab" * 32)))
    point = ChainPoint(2, "ab" * 32).then(digest_of(b"forged"))
    for offset in range(4, 9):
        value = b"honest %d" % offset
        rows.append((offset, value, point))
        point = point.then(digest_of(value))
    assert [(each.kind, each.at) for each in check(rows).breaks] == [("changed", 3)]


def test_a_head_that_was_noted_shows_a_log_that_was_written_anew() -> None:
    noted = check(write(10)).head
    assert noted is not None
    anew = [(offset, value + b"!", claim) for offset, value, claim in write(5)]
    assert check(write(15)).point(noted.offset) == noted
    assert check(anew).point(noted.offset) != noted


def test_a_flood_of_forged_events_takes_no_longer_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forge events that state old points, each another one; a reader must not follow the chain from each."""
    follow, steps = ChainPoint.then, []

    def counted(point: ChainPoint, value_sha256: bytes) -> ChainPoint:
        steps.append(point.offset)
        return follow(point, value_sha256)

    rows = write(1_000)
    forged = [(1_000 + number, b"forged %d" % number, ChainPoint(number, "0" * 64)) for number in range(700)]
    monkeypatch.setattr(ChainPoint, "then", counted)
    found = check([*rows, *forged])
    assert len(found.breaks) == 700
    assert len(steps) < 3_000
    assert found.point(999) == end_of_chain(rows)

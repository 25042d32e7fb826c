"""Ranges of offsets behave as sets of offsets."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from transport.offset_ranges import holds, intersect, merged, subtract, total, within


def spans(*pairs: tuple[int, int]) -> dict[int, tuple[tuple[int, int], ...]]:
    return {0: tuple(pairs)} if pairs else {}


INTERVALS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6).map(
    lambda pairs: spans(*merged((min(pair), max(pair)) for pair in pairs))
)


@given(INTERVALS, INTERVALS)
def test_ranges_are_sets_of_offsets(one, other):
    def offsets(ranges):
        return {at for at in range(50) if holds(ranges, 0, at)}

    assert offsets(intersect(one, other)) == offsets(one) & offsets(other)
    assert offsets(subtract(one, other)) == offsets(one) - offsets(other)
    assert total(one) == len(offsets(one))
    assert offsets(spans(*within(one.get(0, ()), 10, 30))) == offsets(one) & set(range(10, 30))


def test_many_ranges_take_no_time_of_their_square():
    """The rejected frames of a month are 100,000 places. By pairs they would take hours."""
    many = spans(*((at, at + 1) for at in range(0, 10_000_000, 100)))
    began_s = time.monotonic()
    assert intersect(many, many) == many
    assert subtract(many, many) == {}
    assert all(holds(many, 0, at) for at in range(0, 10_000_000, 100))
    assert time.monotonic() - began_s < 30

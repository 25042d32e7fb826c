"""Sets of offsets by partition: union, intersection, difference and size."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping

#: Half-open intervals; `merged` makes them ascending and disjoint.
Spans = tuple[tuple[int, int], ...]
#: Intervals of offsets by partition. All functions here take time in proportion to the number of intervals.
OffsetRanges = Mapping[int, Spans]


def merged(intervals: Iterable[tuple[int, int]], *, gap: int = 0) -> tuple[tuple[int, int], ...]:
    """Merge intervals into ascending, disjoint ones; join those up to ``gap`` offsets apart, and drop empty ones.

    Examples
    --------
    >>> merged([(5, 9), (0, 3), (3, 4), (7, 12), (20, 20)])
    ((0, 4), (5, 12))
    >>> merged([(0, 4), (5, 12)], gap=1)
    ((0, 12),)
    """
    found: list[tuple[int, int]] = []
    for begin, end in sorted(interval for interval in intervals if interval[0] < interval[1]):
        if found and begin <= found[-1][1] + gap:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return tuple(found)


def intersect(one: OffsetRanges, other: OffsetRanges) -> OffsetRanges:
    """Return the offsets that are in both.

    Examples
    --------
    >>> intersect({0: ((0, 10),), 1: ((0, 5),)}, {0: ((2, 4), (8, 20))})
    {0: ((2, 4), (8, 10))}
    """
    both = {number: _common(merged(spans), merged(other.get(number, ()))) for number, spans in one.items()}
    return {number: spans for number, spans in both.items() if spans}


def _common(one: Spans, other: Spans) -> Spans:
    found = []
    at = other_at = 0
    while at < len(one) and other_at < len(other):
        (begin, end), (other_begin, other_end) = one[at], other[other_at]
        if max(begin, other_begin) < min(end, other_end):
            found.append((max(begin, other_begin), min(end, other_end)))
        if end < other_end:
            at += 1
        else:
            other_at += 1
    return merged(found)


def subtract(one: OffsetRanges, other: OffsetRanges) -> OffsetRanges:
    """Return the offsets of the first that are not in the second.

    Examples
    --------
    >>> subtract({0: ((0, 10),), 1: ((0, 5),)}, {0: ((2, 4), (8, 20)), 1: ((0, 5),)})
    {0: ((0, 2), (4, 8))}
    """
    left = {}
    for number, intervals in one.items():
        rest = []
        taken = merged(other.get(number, ()))
        for begin, end in merged(intervals):
            at = begin
            for low, high in within(taken, begin, end):
                if low > at:
                    rest.append((at, low))
                at = high
            if at < end:
                rest.append((at, end))
        if rest:
            left[number] = tuple(rest)
    return left


def within(spans: Spans, begin: int, end: int) -> Spans:
    """Return the parts of merged intervals that are between two offsets.

    Examples
    --------
    >>> within(((0, 2), (4, 8), (9, 12)), 5, 10)
    ((5, 8), (9, 10))
    """
    first = bisect_right(spans, begin, key=lambda span: span[1])
    last = bisect_left(spans, end, key=lambda span: span[0])
    return tuple((max(low, begin), min(high, end)) for low, high in spans[first:last])


def total(ranges: OffsetRanges) -> int:
    """Return the number of offsets.

    Examples
    --------
    >>> total({0: ((0, 2), (4, 8)), 3: ((1, 2),)})
    7
    """
    return sum(end - begin for intervals in ranges.values() for begin, end in intervals)


def holds(ranges: OffsetRanges, partition: int, offset: int) -> bool:
    """Return True if merged ranges contain an offset.

    Examples
    --------
    >>> holds({0: ((0, 2), (4, 8))}, 0, 3), holds({0: ((0, 2), (4, 8))}, 0, 4)
    (False, True)
    """
    return bool(within(ranges.get(partition, ()), offset, offset + 1))

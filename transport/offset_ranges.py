"""Sets of offsets by partition: union, intersection, difference and size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: Half-open intervals of offsets by partition; `merged` makes them ascending and disjoint.
OffsetRanges = Mapping[int, tuple[tuple[int, int], ...]]


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
    both = {
        number: merged(
            (max(a, c), min(b, d)) for a, b in intervals for c, d in other.get(number, ()) if max(a, c) < min(b, d)
        )
        for number, intervals in one.items()
    }
    return {number: intervals for number, intervals in both.items() if intervals}


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
            for low, high in taken:
                if high <= at or low >= end:
                    continue
                if low > at:
                    rest.append((at, low))
                at = high
            if at < end:
                rest.append((at, end))
        if rest:
            left[number] = tuple(rest)
    return left


def total(ranges: OffsetRanges) -> int:
    """Return the number of offsets.

    Examples
    --------
    >>> total({0: ((0, 2), (4, 8)), 3: ((1, 2),)})
    7
    """
    return sum(end - begin for intervals in ranges.values() for begin, end in intervals)


def holds(ranges: OffsetRanges, partition: int, offset: int) -> bool:
    """Return True if the ranges contain an offset.

    Examples
    --------
    >>> holds({0: ((0, 2), (4, 8))}, 0, 3), holds({0: ((0, 2), (4, 8))}, 0, 4)
    (False, True)
    """
    return any(begin <= offset < end for begin, end in ranges.get(partition, ()))

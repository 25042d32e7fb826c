"""Contenders in turns: each round runs all of them in a rotated order, so that a slow minute affects all alike."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


def in_turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Yield round and name; each round begins with the next name.

    Examples
    --------
    >>> list(in_turns(["a", "b"], 2))
    [(0, 'a'), (0, 'b'), (1, 'b'), (1, 'a')]
    """
    for number in range(rounds):
        for place in range(len(names)):
            yield number, names[(place + number) % len(names)]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lowest and highest of several figures.

    Examples
    --------
    >>> str(Spread.of([3.0, 1.0, 2.0]))
    '2.00 (1.00 to 3.00)'
    """

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one figure."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        digits = 0 if self.median >= 100 else 1 if self.median >= 10 else 2
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f} to {self.highest:.{digits}f})"


def ratios(figures: Mapping[str, Sequence[float]], beside: str) -> dict[str, list[float]]:
    """Return each contender's figures divided by those of ``beside`` in the same rounds.

    Examples
    --------
    >>> ratios({"ours": [9.0, 8.0], "limit": [10.0, 10.0]}, "limit")
    {'ours': [0.9, 0.8], 'limit': [1.0, 1.0]}
    """
    return {
        name: [value / other for value, other in zip(values, figures[beside], strict=True)]
        for name, values in figures.items()
    }

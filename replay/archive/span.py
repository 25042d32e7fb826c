"""Span of a partition: all offsets that were ever archived; it shows that the first or the last commits are missing.

The commits between two others need no such file: they follow one another. The span is written after each commit, so it
never names an offset without a commit. Two sinks at once may write an older span over a newer one, which shows less and
nothing wrong. Archives of earlier versions have no spans; the next run writes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from replay.archive.commits import FORMAT, Commit, check_format
from replay.archive.errors import ArchiveError
from replay.archive.layout import parse_span_name, span_name
from replay.archive.store import ArchiveStore


@dataclass(frozen=True, slots=True)
class ArchivedSpan:
    """Offsets [begin, end) of a partition, from the first to the last that was ever archived.

    Examples
    --------
    >>> span = ArchivedSpan("a.b", "x", 0, 5, 9)
    >>> ArchivedSpan.from_bytes(span.to_bytes(), span.path) == span
    True
    """

    topic: str
    topic_id: str
    partition: int
    begin: int
    end: int

    @property
    def path(self) -> str:
        """Path of the span, below the archive's URI."""
        return span_name(self.topic, self.partition)

    def to_bytes(self) -> bytes:
        """Return the written form."""
        return json.dumps({"format": FORMAT, **asdict(self)}).encode()

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> ArchivedSpan:
        """Return the span that is stored at a path.

        Raises
        ------
        ArchiveError
            If it is damaged, or of a later format.
        """
        try:
            values = json.loads(data)
            check_format(values.pop("format"), path)
            span = cls(**values)
            if {type(span.partition), type(span.begin), type(span.end)} != {int}:
                raise ValueError("its numbers are no whole numbers")
            if span.path != path or not 0 <= span.begin <= span.end:
                raise ValueError("it belongs to another path, or its offsets cannot be")
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ArchiveError(
                f"{path} is damaged: {type(error).__name__}: {error}; delete it, and the next run writes it again"
            ) from error
        return span


def span_of(commits: Iterable[Commit], before: ArchivedSpan | None = None) -> ArchivedSpan | None:
    """Return the span of commits of one partition, with that of earlier ones; None without any.

    Examples
    --------
    >>> made = [Commit(topic="a.b", topic_id="x", partition=0, begin=b, end=e) for b, e in ((5, 9), (3, 5))]
    >>> span = span_of(made)
    >>> span.begin, span.end
    (3, 9)
    >>> span_of([made[0]], span) == span
    True
    """
    span = before
    for one in commits:
        begin, end = (one.begin, one.end) if span is None else (min(span.begin, one.begin), max(span.end, one.end))
        span = ArchivedSpan(one.topic, one.topic_id, one.partition, begin, end)
    return span


def load_spans(
    store: ArchiveStore, paths: Iterable[str], on_damage: Callable[[ArchiveError], object]
) -> list[ArchivedSpan]:
    """Return the spans among the files at some paths.

    Parameters
    ----------
    on_damage
        Called with the error of each damaged span, which is then left out.

    Raises
    ------
    ArchiveError
        If the store does not answer.
    """
    spans = []
    for path, data in store.read_small([path for path in paths if parse_span_name(path) is not None]):
        try:
            spans += [] if data is None else [ArchivedSpan.from_bytes(data, path)]
        except ArchiveError as error:
            on_damage(error)
    return spans

"""Counts and choices from the rows of a run, in one pass and with bounded memory."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from replay.predict.rows import FileRow
from schemas.records import Action, ResultState

#: Bins of the histogram of scores, from 0 to 1.
BINS = 50
#: Rows that are kept for the gallery, and failed ones for the list.
GALLERY_ROWS, FAILED_ROWS = 12, 200


@dataclass(slots=True)
class PredictionFigures:
    """Figures of a run.

    Parameters
    ----------
    images
        Number of files.
    actions, verdicts
        Number of files by action and by verdict.
    failures
        Number of files that could not be inspected, by the word for the reason.
    remarks
        Number of images by remark, as ``shrunk``, each with the text of the first image.
    histogram
        Number of images for each action and each bin of scores.
    signals
        Names of all signals, sorted.
    rejected, nearest, failed
        Number and row: the rejected images with the highest scores, the images nearest to the threshold, and the first
        that could not be inspected.
    """

    images: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    remarks: dict[str, tuple[int, str]] = field(default_factory=dict)
    histogram: dict[Action, list[int]] = field(default_factory=dict)
    signals: list[str] = field(default_factory=list)
    rejected: list[tuple[int, FileRow]] = field(default_factory=list)
    nearest: list[tuple[int, FileRow]] = field(default_factory=list)
    failed: list[tuple[int, FileRow]] = field(default_factory=list)

    @property
    def failed_count(self) -> int:
        """Number of files that could not be inspected."""
        return self.failures.total()


def figures_of(rows: Iterable[FileRow]) -> PredictionFigures:
    """Return the figures of rows."""
    found = PredictionFigures()
    rejected: list[tuple[float, int, FileRow]] = []
    nearest: list[tuple[float, int, FileRow]] = []
    signals: set[str] = set()
    for number, row in enumerate(rows):
        found.images += 1
        found.actions[row.action.value] += 1
        found.verdicts[row.verdict.value] += 1
        signals.update(row.signals)
        for text in row.remarks:
            kind, _, sentence = text.partition(": ")
            count, first = found.remarks.get(kind, (0, sentence))
            found.remarks[kind] = (count + 1, first)
        if row.result_state is not ResultState.COMPLETED:
            found.failures[row.failure] += 1
            if len(found.failed) < FAILED_ROWS:
                found.failed.append((number, row))
        elif row.score is not None and row.threshold is not None:
            bins = found.histogram.setdefault(row.action, [0] * BINS)
            bins[min(BINS - 1, int(row.score * BINS))] += 1
            if row.action is Action.REJECT:
                _keep(rejected, row.score, number, row, GALLERY_ROWS)
            # A row may also be among the rejected ones, where it is left out later.
            _keep(nearest, -abs(row.score - row.threshold), number, row, 2 * GALLERY_ROWS)
    found.signals = sorted(signals)
    found.rejected = _ranked(rejected)
    shown = {number for number, _ in found.rejected}
    found.nearest = [each for each in _ranked(nearest) if each[0] not in shown][:GALLERY_ROWS]
    return found


def _keep(heap: list[tuple[float, int, FileRow]], value: float, number: int, row: FileRow, most: int) -> None:
    """Keep the highest values; among equals the first."""
    entry = (value, -number, row)
    if len(heap) < most:
        heapq.heappush(heap, entry)
    elif entry[:2] > heap[0][:2]:
        heapq.heapreplace(heap, entry)


def _ranked(heap: list[tuple[float, int, FileRow]]) -> list[tuple[int, FileRow]]:
    return [(-negative, row) for _, negative, row in sorted(heap, key=lambda entry: entry[:2], reverse=True)]

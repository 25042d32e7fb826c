"""Time line: parts, rejects, errors and scores by bins of time, with the drift episodes beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from monitoring.drift.episodes import Episode
from replay.analysis.arrays import Integers
from replay.analysis.results import EpisodeMark, TimeLine
from replay.analysis.view import REJECT, REVIEW, Flags, View, codes, equal
from replay.past.replayed_frame import RECORDED
from schemas.moments import FIRST_US, LAST_US
from schemas.records import ResultState

#: Maximum number of bins of a time line.
MAX_BINS = 240
_S, _MIN, _H, _D = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
_STEPS_US = (_S, 5 * _S, 15 * _S, _MIN, 5 * _MIN, 15 * _MIN, _H, 6 * _H, _D)


def time_line_of(view: View, episodes: Iterable[Episode] = ()) -> TimeLine | None:
    """Return the time line by time of capture; None if no row has a time.

    Bins are seconds, minutes, hours or days, begin at whole ones (UTC), and are so long that there are at most 240.
    Rows whose time is outside the calendar are in no bin.
    """
    table = view.table
    captured = table["captured_at_us"]
    has_time = (captured >= FIRST_US) & (captured <= LAST_US)
    if not has_time.any():
        return None
    first, last = int(captured[has_time].min()), int(captured[has_time].max())
    step = bin_us(first, last)
    begin = first // step * step
    count = (last - begin) // step + 1
    # Rows without a time go into one additional bin, which is not shown.
    bin_of = np.where(has_time, (np.where(has_time, captured, begin) - begin) // step, count)
    of_view = bin_of[view.rows]

    def counts(bins: Integers, which: Flags | None = None) -> Integers:
        found = np.bincount(bins if which is None else bins[which], minlength=count + 1)
        return found[:count].astype(np.int64)

    has_score = np.isfinite(view.score)
    scored = counts(of_view, has_score)
    sums = np.bincount(of_view[has_score], view.score[has_score], count + 1)[:count]
    shed = equal(table[f"{RECORDED}.result_state"], ResultState.ABORTED.value)
    inspected = np.zeros(len(table), bool)
    inspected[view.rows] = True
    return TimeLine(
        bin_us=step,
        begin_us=begin + step * np.arange(count, dtype=np.int64),
        parts=counts(of_view),
        rejects=counts(of_view, view.action == REJECT),
        reviews=counts(of_view, view.action == REVIEW),
        not_inspected=counts(bin_of, ~inspected),
        labelled=counts(of_view, view.labelled),
        escapes=counts(of_view, view.is_escape),
        overkill=counts(of_view, view.is_overkill),
        late=counts(bin_of, (table[f"{RECORDED}.is_late"] == 1) & ~shed),
        mean_score=np.divide(sums, scored, out=np.full(count, np.nan), where=scored > 0),
        episodes=tuple(_marks(view, episodes, first, last)),
    )


def bin_us(first_us: int, last_us: int) -> int:
    """Return the length of the bins between two times.

    Examples
    --------
    >>> bin_us(0, 3_599_999_999) // 1_000_000, bin_us(0, 10 * 365 * 86_400_000_000) // 86_400_000_000
    (15, 16)
    """
    for step in _STEPS_US:
        if last_us // step - first_us // step < MAX_BINS:
            return step
    return _D * -(-(last_us - first_us) // (_D * (MAX_BINS - 1)))


@dataclass(frozen=True, slots=True, eq=False)
class _Sorted:
    """Inspected rows by camera, then by time of capture.

    ``begins`` is the first row of each camera, and the number of all rows at the end. The counts are those of all rows
    before a row: the rows of an episode follow each other, so there may be many episodes.
    """

    cameras: Mapping[str | None, int]
    begins: Integers
    captured: Integers
    labelled: Integers
    escapes: Integers
    overkill: Integers

    @classmethod
    def of(cls, view: View) -> _Sorted:
        group, names = codes(view.column("camera"))
        captured = view.column("captured_at_us")
        order = np.lexsort((captured, group))
        flags = (view.labelled, view.is_escape, view.is_overkill)
        counts = (np.concatenate([[0], np.cumsum(which[order])]) for which in flags)
        begins = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=len(names)))]).astype(np.int64)
        return cls({name: number for number, name in enumerate(names)}, begins, captured[order], *counts)

    def rows(self, camera: str, from_us: int, to_us: int) -> tuple[int, int]:
        """Return the first row of a camera in a span of time, and the row after the last one."""
        number = self.cameras.get(camera)
        if number is None:
            return 0, 0
        begin, end = (int(self.begins[at]) for at in (number, number + 1))
        times = self.captured[begin:end]
        first = int(np.searchsorted(times, from_us))
        return begin + first, begin + max(first, int(np.searchsorted(times, to_us, side="right")))


def _marks(view: View, episodes: Iterable[Episode], first_us: int, last_us: int) -> list[EpisodeMark]:
    rows, cameras = _Sorted.of(view), set(view.table["camera"])
    found = []
    for episode in episodes:
        facts = episode.facts
        end_us = facts.closed_at_us
        if facts.is_simulated or facts.started_at_us > last_us or (end_us is not None and end_us < first_us):
            continue
        if facts.key not in cameras:
            continue
        first, end = rows.rows(facts.key, facts.started_at_us, last_us if end_us is None else end_us)
        found.append(
            EpisodeMark(
                episode_id=episode.episode_id,
                camera=facts.key,
                drift_type=facts.drift_type.value,
                kind=facts.kind.value,
                cause=facts.cause,
                reason=facts.reason,
                begin_us=facts.started_at_us,
                end_us=end_us,
                parts=end - first,
                labelled=int(rows.labelled[end] - rows.labelled[first]),
                escapes=int(rows.escapes[end] - rows.escapes[first]),
                overkill=int(rows.overkill[end] - rows.overkill[first]),
            )
        )
    return sorted(found, key=lambda mark: (mark.begin_us, mark.episode_id))

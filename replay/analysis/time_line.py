"""Time line: parts, rejects, errors and scores by bins of time, with the drift episodes beside them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from monitoring.drift.episodes import Episode
from replay.analysis.arrays import Integers
from replay.analysis.results import EpisodeMark, TimeLine
from replay.analysis.view import REJECT, REVIEW, Flags, View, equal
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


def _marks(view: View, episodes: Iterable[Episode], first_us: int, last_us: int) -> list[EpisodeMark]:
    captured = view.column("captured_at_us")
    found = []
    for episode in episodes:
        facts = episode.facts
        end_us = facts.closed_at_us
        if facts.is_simulated or facts.started_at_us > last_us or (end_us is not None and end_us < first_us):
            continue
        within = (captured >= facts.started_at_us) & (captured <= (last_us if end_us is None else end_us))
        within &= equal(view.column("camera"), facts.key)
        if not within.any() and facts.key not in set(view.table["camera"]):
            continue
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
                parts=int(within.sum()),
                labelled=int((within & view.labelled).sum()),
                escapes=int((within & view.is_escape).sum()),
                overkill=int((within & view.is_overkill).sum()),
            )
        )
    return sorted(found, key=lambda mark: (mark.begin_us, mark.episode_id))

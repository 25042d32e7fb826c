"""Reconciliation of one start of a camera: sequence numbers in the topic against counts of the edge. No Kafka here.

For each start, {captured} = {in the topic} + {dropped} + {failed} + {spooled} + {pending} must hold in both directions:
a missing frame that nobody counted was lost silently, and a drop without a gap is a wrong count.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeStart:
    """Facts that the edge knows of one start of a camera.

    Parameters
    ----------
    camera
        Camera as ``station/camera``.
    started_at_us
        Time of the start, UTC µs; None in reports of older versions, which do not have it.
    reported
        True if an edge report states it, which knows every capture; a spool knows only the frames that it has seen.
    captured
        Number of captures; of a spool, its highest sequence plus one.
    lost
        Number of frames dropped or failed for good.
    spooled
        Number of frames in the spool when the edge reported; they may have been sent since.
    unsure
        Number of frames in flight at the end of the report, or sent and not acknowledged: in the topic or not.
    waiting_sequences
        Sequences in the spool; None if no spool was read.
    """

    camera: str
    started_at_us: int | None
    reported: bool = False
    captured: int = 0
    lost: int = 0
    spooled: int = 0
    unsure: int = 0
    waiting_sequences: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class StartCounts:
    """Captured and missing frames of a start, and how the edge explains them, as in `CameraCounts`."""

    captured: int
    gaps: int
    drops: int
    waiting: int
    unexplained_gaps: int
    surplus_drops: int


def merge(starts: Iterable[EdgeStart]) -> dict[tuple[str, int | None], EdgeStart]:
    """Merge the entries of each start: of several reports use the latest; of a report and a spool, the facts of both.

    Report and spool count the same drops, and the spool also counts those of later runs: use the higher count, never
    the sum.

    Examples
    --------
    >>> report = EdgeStart(camera="s/c", started_at_us=1, reported=True, captured=9, lost=2, spooled=3)
    >>> spool = EdgeStart(camera="s/c", started_at_us=1, captured=8, lost=4, waiting_sequences=frozenset({7}))
    >>> one = merge([report, spool])["s/c", 1]
    >>> one.captured, one.lost, one.spooled, sorted(one.waiting_sequences)
    (9, 4, 0, [7])
    """
    merged: dict[tuple[str, int | None], EdgeStart] = {}
    for start in starts:
        key = (start.camera, start.started_at_us)
        known = merged.get(key)
        if known is None:
            merged[key] = start
        elif known.reported == start.reported:
            merged[key] = max(known, start, key=lambda one: (one.captured, one.lost))
        else:
            report, spool = (known, start) if known.reported else (start, known)
            merged[key] = replace(
                report,
                captured=max(report.captured, spool.captured),
                lost=max(report.lost, spool.lost),
                spooled=0,
                waiting_sequences=spool.waiting_sequences,
            )
    return merged


def reconcile(
    seen: Set[int], edge: EdgeStart | None, *, whole: bool, open_end: bool = True, elsewhere: Set[int] = frozenset()
) -> StartCounts:
    """Balance the counts of a start.

    Parameters
    ----------
    seen
        Sequences in the topic.
    edge
        Facts from the edge; None if there are no reports or spools of this start.
    whole
        True if the topic was read from before the start: its sequence then begins with 0.
    open_end
        True if the topic was read to the end: frames that the edge has captured later are then missing.
    elsewhere
        Sequences that are in the topic outside the range.

    Examples
    --------
    >>> reconcile({0, 1, 3}, None, whole=True).unexplained_gaps
    1
    >>> reconcile({0, 1}, EdgeStart(camera="s/c", started_at_us=1, captured=5, lost=1), whole=True).unexplained_gaps
    2
    """
    known = edge or EdgeStart(camera="", started_at_us=None)
    waiting_sequences = (known.waiting_sequences or frozenset()) - seen - elsewhere
    if not seen and not known.reported:
        # Only a spool knows of this start: it may have sent its frames to another cluster, or to a topic since deleted.
        gone = known.lost + len(waiting_sequences) if whole else 0
        return StartCounts(gone, gone, known.lost if whole else 0, len(waiting_sequences) if whole else 0, 0, 0)
    if not seen and not whole:
        return StartCounts(0, 0, 0, 0, 0, 0)
    first = 0 if whole else min(seen)
    last = max(seen, default=-1)
    if open_end:
        last = max(last, known.captured - 1, max(waiting_sequences, default=-1))
    gaps = last - first + 1 - len(seen) - sum(first <= number <= last for number in elsewhere - seen)
    waiting = sum(first <= number <= last for number in waiting_sequences)
    is_settled = whole and open_end
    drops = known.lost if is_settled else min(known.lost, gaps)
    return StartCounts(
        captured=last - first + 1,
        gaps=gaps,
        drops=drops,
        waiting=min(max(0, gaps - drops), waiting + known.spooled + known.unsure),
        unexplained_gaps=max(0, gaps - drops - waiting - known.spooled - known.unsure),
        surplus_drops=max(0, drops + waiting - gaps) if is_settled else 0,
    )

"""The order of a camera's decisions: which are of the present, and which are old.

A producer names the moment at which it started, and counts its frames from there. Decisions of an earlier start, or far
behind in the count, come from a spool that catches up: the past is no drift of the present. But the moment is that of
the camera's clock, which may be wrong:

- a start later than the watch's clock and five minutes is not believed. The decision counts, and is not the newest;
- decisions that are old, go on coming and have no other one between them are a new start: the clock went back. Those
  that were decided within a minute of their capture are believed after 50, since a spool's are not; others after 500.
"""

from __future__ import annotations

from typing import Any

from schemas.checked import MAX_LONG, items, whole
from schemas.clock import is_future
from schemas.records import Decision

#: Frames by which a decision may be late and still be of the present.
_NEIGHBOURS = 64
_FRESH_US = 60_000_000
#: Old decisions in a row that are a new start: fresh ones, and any.
FRESH_RUN, ANY_RUN = 50, 500


class Starts:
    """Says of each decision whether it is old.

    `look` gives ``""`` for a decision of the present, ``"old"``, ``"ahead"`` for one whose start is not believed, and
    ``"back"`` for the first one of a new start with an earlier time.
    """

    def __init__(self) -> None:
        self._newest = (0, -1)
        self._old = self._fresh = 0

    def look(self, decision: Decision, now_us: int) -> str:
        """Take the next decision; ``now_us`` is the watch's clock, UTC."""
        started, sequence = self._newest
        if is_future(started, now_us):  # it was believed by a watch whose own clock was ahead, or by an older version
            started, sequence = self._newest = (0, -1)
        if is_future(decision.started_at_us, now_us):
            return "ahead"
        # A worker answers several frames at a time, so neighbours may change places.
        if (decision.started_at_us, decision.sequence + _NEIGHBOURS) >= (started, sequence):
            self._newest = max(self._newest, (decision.started_at_us, decision.sequence))
            self._old = self._fresh = 0
            return ""
        self._old += 1
        is_fresh = abs(decision.decided_at_us - decision.captured_at_us) <= _FRESH_US
        self._fresh = self._fresh + 1 if is_fresh else 0
        if self._fresh < FRESH_RUN and self._old < ANY_RUN:
            return "old"
        self._newest = (decision.started_at_us, decision.sequence)
        self._old = self._fresh = 0
        return "back"

    def state(self) -> Any:
        """All that it knows, as JSON."""
        return [*self._newest, self._old, self._fresh]

    def restore(self, state: Any) -> None:
        """Go on from a `state`; raises ValueError for anything else. Older versions wrote the newest start alone."""
        started, sequence, old, fresh = [*items(state, 4, 2), 0, 0][:4]
        self._newest = whole(started, -MAX_LONG - 1), whole(sequence, -MAX_LONG - 1)
        self._old, self._fresh = whole(old, 0, ANY_RUN), whole(fresh, 0, FRESH_RUN)

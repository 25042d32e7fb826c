"""Order of a camera's decisions: current ones and old ones.

A producer sends the moment of its start, and counts its frames from there. Decisions of an earlier start, or far
behind in the count, come from a spool that catches up: the past is not a drift of the present. But the moment is by
the camera's clock, which may be wrong:

- a start more than five minutes ahead of the watch's clock is not trusted. The decision counts, but is not the newest;
- old decisions that keep coming, with no other decision between them, are a new start: the clock went back. Decisions
  made within a minute of their capture are trusted after 50, since a spool has none of them; others after 500;
- two producers may use the name of one camera at the same time. A spool holds nothing captured after a later start, so
  such decisions between those of the later start come from a second producer. Only the later one is current: signals
  of two cameras would be taken for one line that jumps. The other is current after the later one was silent for a
  minute.
"""

from __future__ import annotations

from typing import Any

from monitoring.checked import MAX_LONG, items, whole
from schemas.clock import is_future
from schemas.records import Decision

#: Most frames by which a decision may be late and still count as current.
_NEIGHBOURS = 64
_FRESH_US = 60_000_000
#: Number of old decisions in a row that make a new start: fresh ones, and any.
FRESH_RUN, ANY_RUN = 50, 500
#: Number of changes between two starts at the same time after which they are two producers.
_CHANGES = 3
#: Time without a decision of the newest start, by the worker's clock, after which another producer takes its place.
_SILENT_US = 60_000_000


class Starts:
    """Classifier of decisions by age.

    `classify` returns ``""`` for a current decision, ``"old"``, ``"ahead"`` for a decision whose start is not trusted,
    ``"back"`` for the first decision of a new start with an earlier time, and ``"second-producer"`` for a decision of
    a producer that uses the camera's name beside the newest one.
    """

    def __init__(self) -> None:
        self._newest = (0, -1)
        self._old = self._fresh = 0
        #: Time of the newest start's last decision, changes between it and another one, True if the other one was last.
        #: They are no part of the state: a few decisions show them again.
        self._current_at_us: int | None = None
        self._changes = 0
        self._is_beside = False

    def classify(self, decision: Decision, now_us: int) -> str:
        """Classify the next decision; ``now_us`` is the watch's clock, UTC."""
        started, sequence = self._newest
        if is_future(started, now_us):  # trusted by a watch whose own clock was ahead, or by an older version
            started, sequence = self._newest = (0, -1)
        if is_future(decision.started_at_us, now_us):
            return "ahead"
        # A worker answers several frames at a time, so neighbouring frames may swap places.
        if (decision.started_at_us, decision.sequence + _NEIGHBOURS) >= (started, sequence):
            self._changes = 0 if decision.started_at_us > started else self._changes + self._is_beside
            self._current(decision, max(self._newest, (decision.started_at_us, decision.sequence)))
            return ""
        if self._is_of_another_producer(decision, started):
            self._is_beside = True
            return "second-producer" if self._changes >= _CHANGES else "old"
        self._old += 1
        is_fresh = abs(decision.decided_at_us - decision.captured_at_us) <= _FRESH_US
        self._fresh = self._fresh + 1 if is_fresh else 0
        if self._fresh < FRESH_RUN and self._old < ANY_RUN:
            return "old"
        self._changes = 0
        self._current(decision, (decision.started_at_us, decision.sequence))
        return "back"

    def _current(self, decision: Decision, newest: tuple[int, int]) -> None:
        self._newest, self._current_at_us, self._is_beside = newest, decision.decided_at_us, False
        self._old = self._fresh = 0

    def _is_of_another_producer(self, decision: Decision, started_at_us: int) -> bool:
        """Return True if a decision of an earlier start was captured after the newest start, which goes on."""
        return (
            decision.started_at_us < started_at_us <= decision.captured_at_us
            and self._current_at_us is not None
            and abs(decision.decided_at_us - self._current_at_us) < _SILENT_US
        )

    def state(self) -> Any:
        """Return the whole state as JSON."""
        return [*self._newest, self._old, self._fresh]

    def restore(self, state: Any) -> None:
        """Resume from a `state`; raise ValueError for anything else. Older versions wrote only the newest start."""
        started, sequence, old, fresh = [*items(state, 4, 2), 0, 0][:4]
        self._newest = whole(started, -MAX_LONG - 1), whole(sequence, -MAX_LONG - 1)
        self._old, self._fresh = whole(old, 0, ANY_RUN), whole(fresh, 0, FRESH_RUN)

"""Waits for Kafka's client that do not grow when the wall clock is set back.

librdkafka waits until a moment of the wall clock (confluentinc/librdkafka#2145). If the clock is set back by two hours
during a wait, the wait lasts two hours longer, unless something comes for which it waits. This affects the caller of
``poll``, and the client's own thread, which sends heartbeats and statistics. So a caller does not wait within a client
that has been idle for a moment: it asks the client again and again, and sleeps by the monotonic clock in between. A
client whose clock was set back gets a request, which wakes the client's own thread.

While messages come, a caller waits within the client, which is quicker: the next message ends the wait. A reader that
must act without a message, as a gate, passes ``busy_s=0``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from schemas.clock import Clock, SystemClock

#: A difference between the clocks that shrinks by more than this, in seconds, is a wall clock that was set back. Waits
#: that grow by less harm nobody; a clock that NTP slows down loses less than this between two calls.
_SET_S = 0.05
#: Time after a message in which the next one is expected, in seconds.
BUSY_S = 0.05
#: Pause between two calls of the client: this share of the time without a message, and its limits in seconds. On a busy
#: line a message is hardly delayed, and on an idle line the calls take little of a core.
_SHARE = 0.02
_SHORTEST_S, _LONGEST_S = 0.0005, 0.005


class ClockWaits:
    """Waits of one client. Thread-safe.

    Parameters
    ----------
    busy_s
        Time after a message in which a call may wait within the client, in seconds.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock(utc_us=7_200_000_000)
    >>> waits = ClockWaits(clock)
    >>> clock.jump_utc(-3600)
    >>> waits.was_set_back(), waits.was_set_back()
    (True, False)
    """

    def __init__(self, clock: Clock | None = None, *, busy_s: float = BUSY_S) -> None:
        self._clock = clock or SystemClock()
        self._busy_s = busy_s
        self._offset_s = self._offset()
        self._arrived_s = self._clock.monotonic_s()

    def was_set_back(self) -> bool:
        """Return True if the wall clock was set back since the last call."""
        before, self._offset_s = self._offset_s, self._offset()
        return before - self._offset_s > _SET_S

    def arrived(self) -> None:
        """Record that the client had something: more may follow soon, and the pauses are short."""
        self._arrived_s = self._clock.monotonic_s()

    def attempts(self, timeout_s: float) -> Iterator[float]:
        """Yield the time that a call may wait within the client, in seconds: at once, and after each pause.

        It ends after ``timeout_s``, or never if that is negative.

        Examples
        --------
        >>> list(ClockWaits().attempts(0))
        [0.0]
        >>> len(list(ClockWaits(busy_s=0).attempts(0.01))) > 1
        True
        """
        now_s = self._clock.monotonic_s()
        end_s = math.inf if timeout_s < 0 else now_s + timeout_s
        while True:
            within_s = max(min(self._arrived_s + self._busy_s, end_s) - now_s, 0.0)
            yield within_s
            now_s = self._clock.monotonic_s()
            if (left_s := end_s - now_s) <= 0:
                return
            if within_s == 0:
                pause_s = min(max(_SHARE * (now_s - self._arrived_s), _SHORTEST_S), _LONGEST_S)
                time.sleep(min(pause_s, left_s))
                now_s = self._clock.monotonic_s()

    def _offset(self) -> float:
        return self._clock.utc_us() / 1e6 - self._clock.monotonic_s()

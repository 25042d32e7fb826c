"""What does not answer is left alone for a while, instead of being waited for each time: a circuit breaker.

(M. Nygard, "Release It!", Circuit Breaker.)
"""

from __future__ import annotations

import threading

from schemas.clock import Clock, SystemClock


class Breaker:
    """Says whether it is worth asking; one caller at a time tries when the rest is over. Safe to use from threads.

    Parameters
    ----------
    rest_s
        How long nobody asks after a failure, in seconds.
    longest_s
        While tries fail the rest doubles up to it; without it the rest stays as it is.
    clock
        Its monotonic time counts.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock()
    >>> breaker = Breaker(5, clock=clock)
    >>> breaker.allows(), breaker.failed(), breaker.allows()
    (True, True, False)
    >>> clock.advance(5)
    >>> breaker.allows(), breaker.allows()  # the first is the one that tries
    (True, False)
    >>> breaker.succeeded(), breaker.allows()
    (True, True)
    """

    def __init__(self, rest_s: float = 5.0, longest_s: float | None = None, clock: Clock | None = None) -> None:
        self._first_rest_s = self._rest_s = rest_s
        self._longest_s = rest_s if longest_s is None else longest_s
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._began_s: float | None = None
        #: The last failure counts for late successes, the end of the rest for those who ask.
        self._failed_s = self._rests_until_s = 0.0

    @property
    def rest_s(self) -> float:
        """How long the rest after the last failure is."""
        return self._rest_s

    @property
    def away_s(self) -> float:
        """How long the outage lasts; 0 when there is none."""
        with self._lock:
            return 0.0 if self._began_s is None else self._clock.monotonic_s() - self._began_s

    def allows(self) -> bool:
        """Whether to ask now. In an outage the one who is told so tries for all, and says how it went."""
        with self._lock:
            if self._began_s is None:
                return True
            now = self._clock.monotonic_s()
            if now < self._rests_until_s:
                return False
            self._rests_until_s = now + self._rest_s
            return True

    def failed(self) -> bool:
        """There was no answer; return whether an outage begins with it."""
        with self._lock:
            now = self._clock.monotonic_s()
            begins = self._began_s is None
            if begins:
                self._began_s, self._rest_s = now, self._first_rest_s
            elif (
                now - self._failed_s >= self._rest_s
            ):  # a try, and not one more that was under way at the first failure
                self._rest_s = min(2 * self._rest_s, self._longest_s)
            else:
                return False
            self._failed_s, self._rests_until_s = now, now + self._rest_s
            return begins

    def succeeded(self) -> bool:
        """There was an answer; return whether an outage ends with it. One asked for before the outage ends none."""
        with self._lock:
            if self._began_s is None or self._clock.monotonic_s() - self._failed_s < self._rest_s:
                return False
            self._began_s = None
            return True

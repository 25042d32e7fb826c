"""Circuit breaker: stop calling a failing dependency for a while, instead of waiting for it each time.

(M. Nygard, "Release It!", Circuit Breaker.)
"""

from __future__ import annotations

import threading

from schemas.clock import Clock, SystemClock


class CircuitBreaker:
    """Circuit breaker of one dependency. Thread-safe.

    After a failure, callers do not call the dependency during a rest. When the rest is over, one caller at a time
    tries.

    Parameters
    ----------
    rest_s
        Time without calls after a failure, in seconds.
    longest_s
        Longest rest, in seconds. The rest doubles with each failed try, up to this value. Without it the rest does not
        grow.
    clock
        Clock whose monotonic time measures the rests.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock()
    >>> breaker = CircuitBreaker(5, clock=clock)
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
        #: Late successes are compared with the last failure; new calls with the end of the rest.
        self._failed_s = self._rests_until_s = 0.0

    @property
    def rest_s(self) -> float:
        """Length of the rest after the last failure, in seconds."""
        return self._rest_s

    @property
    def outage_s(self) -> float:
        """Duration of the current outage, in seconds; 0 if there is no outage."""
        with self._lock:
            return 0.0 if self._began_s is None else self._clock.monotonic_s() - self._began_s

    def allows(self) -> bool:
        """Return True if the caller should call the dependency now.

        In an outage, the one caller that gets True tries for all callers. It must then call `failed` or `succeeded`.
        """
        with self._lock:
            if self._began_s is None:
                return True
            now = self._clock.monotonic_s()
            if now < self._rests_until_s:
                return False
            self._rests_until_s = now + self._rest_s
            return True

    def failed(self) -> bool:
        """Record that a call failed. Return True if an outage begins with this failure."""
        with self._lock:
            now = self._clock.monotonic_s()
            begins = self._began_s is None
            if begins:
                self._began_s, self._rest_s = now, self._first_rest_s
            elif (
                now - self._failed_s >= self._rest_s
            ):  # a try after the rest, not a call that was in flight at the first failure
                self._rest_s = min(2 * self._rest_s, self._longest_s)
            else:
                return False
            self._failed_s, self._rests_until_s = now, now + self._rest_s
            return begins

    def succeeded(self) -> bool:
        """Record that a call succeeded. Return True if the outage ends with this success.

        The success of a call that started before the outage does not end the outage.
        """
        with self._lock:
            if self._began_s is None or self._clock.monotonic_s() - self._failed_s < self._rest_s:
                return False
            self._began_s = None
            return True

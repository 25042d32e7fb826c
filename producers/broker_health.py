"""Rule that decides if the broker accepts frames; it uses no threads."""

from __future__ import annotations

from collections.abc import Callable

#: Pause after a failed delivery, in seconds: a broker that refuses at once must not be flooded with retries.
_PAUSE_S = 1.0


class BrokerHealth:
    """Health of the broker. The broker counts as unreachable when a frame fails or waits too long.

    It counts as reachable again at the next acknowledgement. A broker that refuses connections, a silent broker and an
    overloaded broker look the same from here, and are treated the same.

    Parameters
    ----------
    unreachable_after_s
        Longest wait for an acknowledgement, in seconds; after it the broker counts as unreachable.
    on_change
        Called with True when the broker becomes unreachable, and with False when it is reachable again.

    Examples
    --------
    >>> health = BrokerHealth(1.0, print)
    >>> health.check(oldest_since_s=5.0, now_s=5.9)
    >>> health.check(oldest_since_s=5.0, now_s=6.1)
    True
    >>> health.acknowledged()
    False
    """

    def __init__(self, unreachable_after_s: float, on_change: Callable[[bool], None]) -> None:
        self._unreachable_after_s = unreachable_after_s
        self._on_change = on_change
        self._not_before_s = float("-inf")
        self.unreachable = False

    def check(self, oldest_since_s: float | None, now_s: float) -> None:
        """Check the wait of the frame that has waited longest for its acknowledgement.

        For ``oldest_since_s`` pass None if no frame waits.
        """
        if oldest_since_s is not None and now_s - oldest_since_s > self._unreachable_after_s:
            self._set(True)

    def acknowledged(self) -> None:
        """Record that a frame was acknowledged."""
        self._not_before_s = float("-inf")
        self._set(False)

    def failed(self, now_s: float) -> None:
        """Record that the delivery of a frame failed."""
        self._not_before_s = now_s + _PAUSE_S
        self._set(True)

    def may_try(self, now_s: float) -> bool:
        """Return True if it is time to try a frame on an unreachable broker."""
        return now_s >= self._not_before_s

    def _set(self, unreachable: bool) -> None:
        if unreachable != self.unreachable:
            self.unreachable = unreachable
            self._on_change(unreachable)

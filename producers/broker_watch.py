"""Whether the broker takes frames: one rule, no threads."""

from __future__ import annotations

from collections.abc import Callable

#: After a failed delivery, seconds until the next attempt: a broker that refuses at once must not be hammered.
_PAUSE_S = 1.0


class BrokerWatch:
    """Says "away" when a frame waits too long for its acknowledgement or fails, "back" at the next one.

    A refused, a silent and an overloaded broker look the same from here, and are treated the same.

    Parameters
    ----------
    away_after_s
        The wait for an acknowledgement that is too long.
    on_change
        Called with True when the broker is away, with False when it is back.

    Examples
    --------
    >>> watch = BrokerWatch(1.0, print)
    >>> watch.look(oldest_since_s=5.0, now_s=5.9)
    >>> watch.look(oldest_since_s=5.0, now_s=6.1)
    True
    >>> watch.acknowledged()
    False
    """

    def __init__(self, away_after_s: float, on_change: Callable[[bool], None]) -> None:
        self._away_after_s = away_after_s
        self._on_change = on_change
        self._not_before_s = float("-inf")
        self.away = False

    def look(self, oldest_since_s: float | None, now_s: float) -> None:
        """Judge by the frame that has waited longest for its acknowledgement; None if none waits."""
        if oldest_since_s is not None and now_s - oldest_since_s > self._away_after_s:
            self._set(True)

    def acknowledged(self) -> None:
        """A frame has been acknowledged."""
        self._not_before_s = float("-inf")
        self._set(False)

    def failed(self, now_s: float) -> None:
        """A frame was not taken."""
        self._not_before_s = now_s + _PAUSE_S
        self._set(True)

    def may_try(self, now_s: float) -> bool:
        """Whether it is time to try a frame on a broker that is away."""
        return now_s >= self._not_before_s

    def _set(self, away: bool) -> None:
        if away != self.away:
            self.away = away
            self._on_change(away)

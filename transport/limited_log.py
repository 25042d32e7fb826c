"""Log lines for events at frame rate: one line in each period, with the count of the lines left out."""

from __future__ import annotations

import logging
import threading

from schemas.clock import Clock, SystemClock


class LimitedLog:
    """Log that writes one line per topic every ``period_s`` seconds. Thread-safe.

    Parameters
    ----------
    logger
        Logger that gets the lines.
    period_s
        Shortest time between two lines of the same topic, in seconds.
    """

    def __init__(self, logger: logging.Logger, period_s: float = 5.0, clock: Clock | None = None) -> None:
        self._logger = logger
        self._period_s = period_s
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._state: dict[str, tuple[float, int]] = {}
        self._newest: dict[str, tuple[str, int]] = {}

    def warning(self, topic: str, message: str, level: int = logging.WARNING) -> None:
        """Log the message, unless the topic had a line within the period."""
        now = self._clock.monotonic_s()
        with self._lock:
            last, skipped = self._state.get(topic, (-self._period_s, 0))
            if now - last < self._period_s:
                self._state[topic] = (last, skipped + 1)
                return
            self._state[topic] = (now, 0)
            self._newest[topic] = (message, level)
        more = f" (and {skipped} more since the last line)" if skipped else ""
        self._logger.log(level, "%s%s", message, more)

    def flush(self) -> None:
        """Log the number of lines left out since the last line of each topic, so that the log's count is complete."""
        with self._lock:
            left = [(*self._newest[topic], skipped) for topic, (_, skipped) in self._state.items() if skipped]
            self._state = {topic: (last, 0) for topic, (last, _) in self._state.items()}
        for message, level, skipped in left:
            self._logger.log(level, "%s (%d more since the last line)", message, skipped)

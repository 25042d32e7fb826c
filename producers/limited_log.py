"""Log lines for what happens at frame rate: one a period, with the count of those left out."""

from __future__ import annotations

import logging
import threading

from schemas.clock import Clock, SystemClock


class LimitedLog:
    """Lets one line per topic through every ``period_s`` seconds.

    Parameters
    ----------
    logger
        Where the lines go.
    period_s
        Least time between two lines of the same topic.
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
        """Say how many lines were left out since the last one of each topic, so that the log's count is whole."""
        with self._lock:
            left = [(*self._newest[topic], skipped) for topic, (_, skipped) in self._state.items() if skipped]
            self._state = {topic: (last, 0) for topic, (last, _) in self._state.items()}
        for message, level, skipped in left:
            self._logger.log(level, "%s (%d more since the last line)", message, skipped)

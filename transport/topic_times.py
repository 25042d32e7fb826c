"""Timestamps of messages for topics that refuse the time of this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

log = logging.getLogger(__name__)

#: Seconds to add to the time of this machine, in this order. The first, slightly in the future, is for a topic that
#: refuses old messages. The negative ones are for a clock that is ahead: a broker accepts times up to an hour in its
#: future.
_CLIPS_S = (30.0, *(-3600.0 * 2**power for power in range(15)), *(3600.0 * 2**power for power in range(15)))


class TopicTimes:
    """Search for a timestamp that a topic accepts, if the clock of this machine is far from that of the broker.

    Examples
    --------
    >>> times = TopicTimes()
    >>> times.clip_s("drift") is None, at_ms(None)
    (True, 0)
    >>> times.try_next("drift", None), times.clip_s("drift")
    (True, 30.0)
    """

    def __init__(self) -> None:
        self._clip_s: dict[str, float] = {}
        self._left: dict[str, Iterator[float]] = {}

    def clip_s(self, topic: str) -> float | None:
        """Return the seconds to add for a topic; None while it accepts the time of this machine."""
        return self._clip_s.get(topic)

    def try_next(self, topic: str, clip_s: float | None) -> bool:
        """Choose the next timestamp, once for all messages that were refused with the last one; False if none is left.

        Parameters
        ----------
        clip_s
            Seconds that were added for the refused message.
        """
        if self._clip_s.get(topic) == clip_s:
            following_s = next(self._left.setdefault(topic, iter(_CLIPS_S)), None)
            if following_s is None:
                self._clip_s.pop(topic, None)  # the timestamp is not the cause
                return False
            log.warning(
                "%s does not take the timestamps of this machine's clock: trying %+.0f s; set the clocks right, or set "
                "message.timestamp.type=LogAppendTime on the topic", topic, following_s,
            )  # fmt: skip
            self._clip_s[topic] = following_s
        return True


def at_ms(clip_s: float | None) -> int:
    """Return the timestamp of a message that is sent now, in ms; 0 lets the client take the time."""
    return 0 if clip_s is None else round((time.time() + clip_s) * 1000)

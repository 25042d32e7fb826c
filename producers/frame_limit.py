"""Limits of the frames topic, read from its broker at the start and again after a refused message."""

from __future__ import annotations

import threading
from collections.abc import Callable

from confluent_kafka import KafkaError

from schemas.clock import Clock
from schemas.refusals import Refused, refusal_of
from schemas.topic_limits import TopicLimits
from schemas.topics import FRAMES

#: Room in a message for key, headers and the record's other fields around the image.
ENVELOPE_BYTES = 64 * 1024
#: Room for key, headers and Kafka's own framing around a record.
_FRAMING_BYTES = 1024
_ASK_AGAIN_S = 10.0


class FrameLimit:
    """Limits of the frames topic. Thread-safe; the broker is asked in the thread that calls `renew`.

    Parameters
    ----------
    ask
        Function that asks the broker; see `schemas.topic_limits.topic_limits`.
    clock
        Monotonic time.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> limit = FrameLimit(lambda: TopicLimits(max_message_bytes=1_048_588), ManualClock())
    >>> limit.renew()
    >>> limit.takes_record(1_000_000), limit.takes_record(2_000_000), limit.takes_image(1_000_000)
    (True, False, False)
    """

    def __init__(self, ask: Callable[[], TopicLimits], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._limits = TopicLimits()
        self._asked_s: float | None = None
        self._is_old = threading.Event()
        self._is_old.set()

    @property
    def message_bytes(self) -> int:
        """Largest message, in bytes: the topic's limit or that of a reader, whichever is less."""
        return min(FRAMES.max_message_bytes, self._limits.max_message_bytes or FRAMES.max_message_bytes)

    def renew(self) -> None:
        """Ask the broker if that is due; it may take seconds."""
        now_s = self._clock.monotonic_s()
        if not self._is_old.is_set() or (self._asked_s is not None and now_s - self._asked_s < _ASK_AGAIN_S):
            return
        self._is_old.clear()
        self._asked_s = now_s
        self._limits = self._ask()

    def takes_record(self, size_bytes: int) -> bool:
        """Return True if a record of that size fits."""
        return size_bytes + _FRAMING_BYTES <= self.message_bytes

    def takes_image(self, size_bytes: int) -> bool:
        """Return True if an image of that size fits, whatever else the record has."""
        return size_bytes + ENVELOPE_BYTES <= self.message_bytes

    def cure(self, *, has_store: bool) -> str:
        """Return the remedy for an image that is too large."""
        cure = f"the limit of the topic is {self.message_bytes} bytes (max.message.bytes): raise it there"
        return cure if has_store else f"{cure}, encode smaller, or name a store for large images with --image-store"

    def refused(self, error: KafkaError, *, has_store: bool) -> str:
        """Record a refusal, and return the remedy."""
        self._is_old.set()
        if refusal_of(error) is Refused.TOO_LARGE:
            return self.cure(has_store=has_store)
        return f"{self._limits.clock_text()}; set it right, as with NTP, and `inspection doctor` compares the two"

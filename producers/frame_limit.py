"""Limits of the frames topic, as its broker states them.

They are requested until known, after each refusal, and after each image that is too large for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from confluent_kafka import KafkaError

from schemas.clock import Clock
from schemas.topics import FRAMES
from transport.refusals import Refused, refusal_of
from transport.topic_limits import TopicLimits

#: Room in a message for key, headers and the record's other fields around the image.
ENVELOPE_BYTES = 64 * 1024
#: Room for key, headers and Kafka's own framing around a record.
_FRAMING_BYTES = 1024
_ASK_AGAIN_S = 10.0
#: Assumed limit of a message while the broker has not stated it, if the image can also go elsewhere; Kafka's default.
_LIKELY_BYTES = 1_048_588


class FrameLimit:
    """Limits of the frames topic. Thread-safe.

    `renew` asks the broker in the caller's thread; `renew_soon` asks it in another thread.

    Parameters
    ----------
    ask
        Function that asks the broker; see `transport.topic_limits.topic_limits`.
    clock
        Clock with the monotonic time.

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
        self._asking = threading.Lock()

    @property
    def is_known(self) -> bool:
        """True if the broker has stated its limit."""
        return self._limits.max_message_bytes is not None

    @property
    def message_bytes(self) -> int:
        """Largest message, in bytes: the topic's limit or that of a reader, whichever is less."""
        return min(FRAMES.max_message_bytes, self._limits.max_message_bytes or FRAMES.max_message_bytes)

    def renew(self) -> None:
        """Ask the broker, if that is due; it may take seconds."""
        if self._is_due() and self._asking.acquire(blocking=False):
            self._renew()

    def renew_soon(self) -> None:
        """Ask the broker in another thread, if that is due."""
        if self._is_due() and self._asking.acquire(blocking=False):
            threading.Thread(target=self._renew, name="limits", daemon=True).start()

    def _is_due(self) -> bool:
        if self.is_known and not self._is_old.is_set():
            return False
        return self._asked_s is None or self._clock.monotonic_s() - self._asked_s >= _ASK_AGAIN_S

    def _renew(self) -> None:
        try:
            self._is_old.clear()
            self._asked_s = self._clock.monotonic_s()
            found = self._ask()
            if found.max_message_bytes is not None or not self.is_known:
                self._limits = found  # known limits stay while the broker is unreachable
            if found.max_message_bytes is None:
                self._is_old.set()
        finally:
            self._asking.release()

    def takes_record(self, size_bytes: int) -> bool:
        """Return True if a record of that size fits."""
        return size_bytes + _FRAMING_BYTES <= self.message_bytes

    @property
    def largest_image_bytes(self) -> int:
        """Largest image for `takes_image`, in bytes; less than 0 if no image fits."""
        most = self.message_bytes if self.is_known else min(_LIKELY_BYTES, self.message_bytes)
        return most - ENVELOPE_BYTES

    def takes_image(self, size_bytes: int) -> bool:
        """Return True if an image of that size fits, whatever the record has beside it.

        While the limit is unknown a low limit is assumed: the frame may wait in the spool until the limit is known, and
        then it is too late to put its image elsewhere.
        """
        return size_bytes <= self.largest_image_bytes

    def cure(self, *, has_store: bool) -> str:
        """Return the remedy for an image that is too large, and have the broker asked: a person may have raised it."""
        self._is_old.set()
        cure = f"the limit of the topic is {self.message_bytes} bytes (max.message.bytes): raise it there"
        return cure if has_store else f"{cure}, encode smaller, or name a store for large images with --image-store"

    def refused(self, error: KafkaError, *, has_store: bool) -> str:
        """Record a refusal, and return the remedy."""
        self._is_old.set()
        if refusal_of(error) is Refused.TOO_LARGE:
            return self.cure(has_store=has_store)
        return f"{self._limits.clock_text()}; set it right, as with NTP, and `inspection doctor` compares the two"

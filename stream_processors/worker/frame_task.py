"""Frame on its way through a worker: the received message, its result, and the task that carries both."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models import FramePosition
from models.remarks import Remark
from schemas import DeadLetter, Decision, Frame
from transport.batches import UnreadableBatch


@dataclass(frozen=True, slots=True)
class FrameMessage:
    """Received message: value, key, headers, position, and time of its reading.

    ``batch`` is the unreadable batch that it stands for, if any; then ``source`` is the first message of the batch.
    """

    value: bytes | None
    key: bytes | None
    headers: Mapping[str, bytes]
    source: FramePosition
    batch: UnreadableBatch | None = None


@dataclass(frozen=True, slots=True)
class ProcessingResult:
    """Result for one message: the encoded decision and dead letter to publish, and the items to count.

    ``decision`` and ``dead_letter`` are None if there is nothing to publish. ``kind`` is the word for the failure,
    and ``shed`` the word for the reason of shedding. ``remarks`` describe an odd image.
    ``dead_letter_key`` is the key under which the dead letter is published. ``letter`` is the dead letter itself, in
    case its topic accepts only a smaller one; ``is_bare`` is True if the letter lacks its value.
    """

    decision: Decision | None = None
    decision_bytes: bytes | None = None
    dead_letter: bytes | None = None
    dead_letter_key: bytes | None = None
    kind: str | None = None
    shed: str | None = None
    letter: DeadLetter | None = None
    is_bare: bool = False
    remarks: tuple[Remark, ...] = ()


#: Result of a frame that has none yet; one object for all frames.
_PENDING = ProcessingResult()


@dataclass(slots=True, eq=False)
class FrameTask:
    """Frame in flight. Each stage of the worker adds its part, see `stream_processors.worker.app`.

    Parameters
    ----------
    message
        Received message.
    event
        Event of Faust, or `stream_processors.faust_host.messages.PartialAck`; it is acked at the end.
    frame
        Frame, once a thread has decoded the message.
    image
        Image that was fetched from the store.
    result
        Result, once the frame is answered.
    taken_s, published_s, acknowledged_s
        Times at which a thread took the frame, passed its result to the publisher, and Kafka had acknowledged the
        result, in seconds (`time.perf_counter`).
    holds_fetch_slot
        True if the frame occupies one of the slots for fetching.
    has_released_slot
        True if the frame gave up its slot among the frames in flight.
    is_complete
        True if the result is acknowledged, and only earlier frames may be missing.
    """

    message: FrameMessage
    event: Any
    frame: Frame | None = None
    image: bytes | None = None
    result: ProcessingResult = _PENDING
    taken_s: float = 0.0
    published_s: float = 0.0
    acknowledged_s: float = 0.0
    holds_fetch_slot: bool = False
    has_released_slot: bool = False
    is_complete: bool = False

    def take(self) -> None:
        """Record that a thread took the frame."""
        self.taken_s = time.perf_counter()

    @property
    def inspecting_ms(self) -> float:
        """Time from the taking to the publishing, in ms."""
        return (self.published_s - self.taken_s) * 1000

    @property
    def publishing_ms(self) -> float:
        """Time from the publishing to the acknowledgement, in ms."""
        return (self.acknowledged_s - self.published_s) * 1000

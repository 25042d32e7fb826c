"""From one message of the frames topic to what is to be published for it. No Kafka, no asyncio.

Every message gets an answer: a decision, a dead letter, or both (the frame could be read, its image not).
"""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from models import ImageError, Inspection, Model, Source, decide, inspect_image, not_inspected
from schemas import CodecError, DeadLetter, Decision, Frame, decode, encode
from schemas.clock import Clock
from schemas.topics import DECISIONS

log = logging.getLogger(__name__)

WORKER_NAME = f"{socket.gethostname()}/{os.getpid()}"

#: Room that Kafka's own framing takes in a message, in bytes; generous.
_OVERHEAD_BYTES = 1024
#: Longest text copied from a message or an error into a dead letter, in characters.
_TEXT_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came: value, key, headers, and where and when it was read."""

    value: bytes | None
    key: bytes | None
    headers: Mapping[str, bytes]
    source: Source


@dataclass(frozen=True, slots=True)
class Answer:
    """What to publish for one message, encoded, and what to count.

    ``decision`` and ``dead_letter`` are None where there is none to publish; ``kind`` is the word for the failure.
    """

    decision: Decision | None = None
    decision_bytes: bytes | None = None
    dead_letter: bytes | None = None
    kind: str | None = None


def answer(message: Received, model: Model, clock: Clock) -> Answer:
    """Decode, inspect and decide; whatever goes wrong becomes part of the answer.

    Takes the time of a decode and an inference, so it runs in a thread.
    """
    try:
        frame = decode(message.value, Frame)
    except CodecError as error:
        return _dead(message, error.kind, str(error), None, clock)

    queue_ms = max(0.0, (clock.utc_us() - message.source.received_at_us) / 1000)
    try:
        if frame.image is None:
            raise ImageError("image-by-reference", "the image lies in a store and this worker has none configured")
        inspection = inspect_image(frame.image, model, sha256=frame.sha256)
    except ImageError as error:
        return _rejected(message, frame, error.kind, str(error), model, clock, queue_ms)
    except Exception as error:  # a fault of ours must stop neither the stream nor the gate
        log.exception("inspection of %s failed", frame.frame_id)
        return _rejected(message, frame, "inspection-error", f"{type(error).__name__}: {error}", model, clock, queue_ms)
    return _fit(message, _decide(message, frame, inspection, model, clock, queue_ms), clock)


def _decide(
    message: Received, frame: Frame, inspection: Inspection, model: Model, clock: Clock, queue_ms: float
) -> Decision:
    return decide(frame, inspection, model, message.source, decided_at_us=clock.utc_us(), queue_ms=queue_ms)


def _rejected(
    message: Received, frame: Frame, kind: str, reason: str, model: Model, clock: Clock, queue_ms: float
) -> Answer:
    inspection = not_inspected(f"{kind}: {reason}"[:_TEXT_LIMIT])
    fitted = _fit(message, _decide(message, frame, inspection, model, clock, queue_ms), clock)
    letter = _dead(message, kind, reason, frame.frame_id, clock)
    return dataclasses.replace(fitted, dead_letter=letter.dead_letter, kind=kind)


def _fit(message: Received, decision: Decision, clock: Clock) -> Answer:
    """Encode; what a hostile frame made too large for the decisions topic is answered without the excess."""
    limit = DECISIONS.max_message_bytes - _OVERHEAD_BYTES
    encoded = encode(decision)
    if len(encoded) <= limit:
        return Answer(decision, encoded)
    reason = f"the decision would have {len(encoded)} bytes: identity or attributes of the frame are too large"
    letter = _dead(message, "oversized-metadata", reason, decision.frame_id, clock)
    inspection = not_inspected("oversized-metadata: " + reason)
    bare = dataclasses.replace(
        decision,
        attributes={},
        verdict=inspection.verdict,
        action=inspection.action,
        result_state=inspection.result_state,
        reason=inspection.reason,
        score=None,
    )
    encoded = encode(bare)
    return dataclasses.replace(letter, decision=bare, decision_bytes=encoded) if len(encoded) <= limit else letter


def _dead(message: Received, kind: str, reason: str, frame_id: str | None, clock: Clock) -> Answer:
    source = message.source
    letter = DeadLetter(
        source_topic=source.topic,
        source_partition=source.partition,
        source_offset=source.offset,
        kind=kind,
        reason=reason[:_TEXT_LIMIT],
        frame_id=None if frame_id is None else frame_id[:_TEXT_LIMIT],
        failed_at_us=clock.utc_us(),
        worker=WORKER_NAME,
        key=message.key,
        value=message.value,
        headers=dict(message.headers),
    )
    return Answer(dead_letter=encode(letter), kind=kind)

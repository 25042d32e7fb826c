"""Answers to messages of the frames topic: what is to be published for each message. No Kafka, no asyncio.

Every message gets an answer: a decision, a dead letter, or both (the frame could be read, but not its image).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models import ImageError, Inspection, Model, build_decision, failed_inspection
from models.image_remarks import ImageRemarks
from models.inspect_images import inspect_images
from schemas import Action, CodecError, DeadLetter, Decision, Frame, ResultState, Verdict
from schemas.clock import Clock
from schemas.codec import MAX_REST_BYTES, Codec
from schemas.errors import InvalidRecord, MessageTooLarge, MetadataTooLarge
from schemas.letters import cut, smaller
from schemas.replay_headers import REPLAY_HEADER, RETRY_HEADER, is_replay, is_replay_name
from schemas.topics import DECISIONS
from stream_processors.worker.frame_task import FrameMessage, ProcessingResult
from stream_processors.worker.letter_budget import LetterBudget
from stream_processors.worker.overload import Overload, OverloadPolicy
from stream_processors.worker.shedding import Shedding
from transport.batches import UNDECODABLE_BATCH
from transport.headers import bounded
from transport.image_store import ImageStore, ImageStoreError
from transport.process_name import process_name

log = logging.getLogger(__name__)

WORKER_NAME = process_name()

#: Bytes of a message for Kafka's own framing and our headers; a generous limit.
_OVERHEAD_BYTES = 1024
#: If a time of a frame is further than this ahead of the time of its reading, in microseconds, it is not trusted.
AHEAD_US = 5 * 60 * 1_000_000
#: Kind of the dead letter of a frame whose signature is missing or wrong.
UNTRUSTED = "untrusted"
#: Kinds of false claims of a message, for metrics.
UNTRUE = ("replay-header", "retry-header", "captured-in-the-future", "started-in-the-future")
#: A dead letter of up to this size, in bytes, is written even if the budget is used up.
_FREE_LETTER_BYTES = 1024
#: Longest text copied from a message or an error into a dead letter, in characters.
_TEXT_LIMIT = 1000


#: Message, frame and image: what an inspection needs.
FrameWork = tuple[FrameMessage, Frame, bytes]


@dataclass(frozen=True, slots=True)
class InspectionFailure:
    """Reason why an image was not inspected: the word for dead letters and metrics, and one line for a person."""

    kind: str
    reason: str


def image_of(frame: Frame, store: ImageStore | None) -> bytes | InspectionFailure:
    """Return the image of a frame, from the store if it is by reference; a failure if the image is not available."""
    if frame.image is not None:
        return frame.image
    if frame.reference is None or store is None:
        return InspectionFailure("image-by-reference", "the image lies in a store, and this worker reads none")
    try:
        return store.get(frame.reference, frame.sha256)
    except ImageStoreError as error:
        return InspectionFailure(error.kind, str(error))


def inspect_frames(
    seen: Sequence[tuple[Frame, bytes]], models: Sequence[Model]
) -> list[tuple[Inspection | InspectionFailure, ...]]:
    """Inspect the images of frames with models of one network, see `models.inspect_images.inspect_images`.

    Return one result of each model for each frame. Never raises, whatever the images are.
    """
    found: list[tuple[Inspection | InspectionFailure, ...]] = []
    inspected = inspect_images([(image, frame.sha256) for frame, image in seen], models)
    for (frame, _), each in zip(seen, inspected, strict=True):
        found.append((_fault(frame, each),) * len(models) if isinstance(each, Exception) else each)
    return found


def _fault(frame: Frame, error: Exception) -> InspectionFailure:
    if isinstance(error, ImageError):
        return InspectionFailure(error.kind, str(error))
    # A defect of our code must stop neither the stream nor the gate.
    log.error("inspection of %s failed", frame.frame_id[:_TEXT_LIMIT], exc_info=error)
    return InspectionFailure("inspection-error", f"{type(error).__name__}: {error}")


def _timed(message: FrameMessage, frame: Frame) -> Frame:
    """Return the frame with a time of capture that is not in the future; its deadline then counts from its reading.

    The decision keeps the time of the frame, so that it can be reproduced byte for byte.
    """
    received_at_us = message.source.received_at_us
    if frame.captured_at_us <= received_at_us + AHEAD_US:
        return frame
    return dataclasses.replace(frame, captured_at_us=received_at_us)


class FrameProcessor:
    """Callable that answers messages with one model. Thread-safe.

    Parameters
    ----------
    model
        From `models.load_model`.
    codec
        Wire format of the line.
    clock
        Clock for the times of decisions and dead letters, and for the check of deadlines.
    overload
        Policy that selects the frames that are shed; by default no frame is shed.
    store
        Store of the images of frames by reference; without a store, such frames become dead letters.
    is_retry
        Function that returns True if a message with the header `RETRY_HEADER` is a retry. Default: no message is.
    signature_fault
        Function that returns why a frame of a camera is not believed; None if it is. Default: every frame is.
    on_untrue
        Called with camera and one of `UNTRUE` when a message makes a false claim; the claim is ignored.
    """

    def __init__(
        self,
        model: Model,
        codec: Codec,
        clock: Clock,
        overload: OverloadPolicy | None = None,
        store: ImageStore | None = None,
        *,
        is_retry: Callable[[FrameMessage], bool] = lambda message: False,
        signature_fault: Callable[[FrameMessage, str], str | None] = lambda message, camera: None,
        on_untrue: Callable[[str, str], object] = lambda camera, what: None,
    ) -> None:
        self._is_retry = is_retry
        self._signature_fault = signature_fault
        self._on_untrue = on_untrue
        self._model = model
        self._codec = codec
        self._clock = clock
        self._store = store
        self._remarks = ImageRemarks()
        self._overload = overload or OverloadPolicy(Overload.EVERYTHING)
        #: Selects the frames that are shed; learns from the answers that are published and the frames that are read.
        self.shedding = Shedding(self._overload, clock)
        #: Budget for bytes of dead letters.
        self.letters = LetterBudget(clock)

    def __call__(self, message: FrameMessage) -> ProcessingResult:
        """Decode, inspect and decide; every failure becomes part of the answer."""
        frame = self.read(message)
        if isinstance(frame, ProcessingResult):
            return frame
        image = self.image(message, frame)
        return image if isinstance(image, ProcessingResult) else self.inspect(message, frame, image)

    def read(self, message: FrameMessage, *, overtaken: bool = False) -> Frame | ProcessingResult:
        """Decode the frame and check if it is worth an inspection. Quick: the image is not decoded.

        Return the frame for `image` and `inspect`, or a final answer (the message is not a frame, or it is shed).
        ``overtaken`` is True if a newer frame of its camera waits too.
        """
        if message.batch is not None:
            return self._dead(message, UNDECODABLE_BATCH, str(message.batch))
        try:
            frame = self._codec.decode(message.value, Frame)
        except MetadataTooLarge as error:
            if isinstance(error.record, Frame):
                return self._rejected(message, error.record, error.kind, str(error), self._queue_ms(message))
            return self._dead(message, error.kind, str(error))
        except CodecError as error:
            return self._dead(message, error.kind, str(error))
        fault = self._signature_fault(message, frame.key)
        if fault is not None:
            return self._rejected(message, frame, UNTRUSTED, f"its signature: {fault}", self._queue_ms(message))
        self._note(message, frame)
        return self.shed(message, frame, overtaken=overtaken) or frame

    def _note(self, message: FrameMessage, frame: Frame) -> None:
        """Count a false claim of a message."""
        if REPLAY_HEADER in message.headers and not is_replay_name(message.source.topic):
            self._on_untrue(frame.key, "replay-header")
        if frame.captured_at_us > message.source.received_at_us + AHEAD_US:
            self._on_untrue(frame.key, "captured-in-the-future")
        if frame.started_at_us > message.source.received_at_us + AHEAD_US:
            self._on_untrue(frame.key, "started-in-the-future")

    def shed(self, message: FrameMessage, frame: Frame, *, overtaken: bool = False) -> ProcessingResult | None:
        """Return the answer to a frame that is shed; None if it is worth an inspection. Call it after each wait.

        ``overtaken`` is True if a newer frame of its camera waits too.
        """
        why = self._shed_reason(message, frame, overtaken)
        if why is None:
            return None
        word, sentence = why
        aborted = failed_inspection(f"shed ({word}): {sentence}", ResultState.ABORTED)
        return dataclasses.replace(self._decided(message, frame, aborted, self._queue_ms(message)), shed=word)

    def is_suspect(self, message: FrameMessage) -> bool:
        """Return True if a message must be processed alone, because it may have ended a worker."""
        return False

    def image(self, message: FrameMessage, frame: Frame) -> bytes | ProcessingResult:
        """Return the image of a frame, from the store if it is by reference; an answer if the image is not available.

        The store may take seconds: do not call from a thread that inspects.
        """
        queue_ms = self._queue_ms(message)
        found = image_of(frame, self._store)
        return found if isinstance(found, bytes) else self.conclude(message, frame, found, queue_ms)

    def inspect(self, message: FrameMessage, frame: Frame, image: bytes) -> ProcessingResult:
        """Inspect a frame and decide. Takes as long as a decode and an inference: call from a thread."""
        [answer] = self.inspect_all([(message, frame, image)])
        return answer

    def inspect_all(self, works: Sequence[FrameWork]) -> list[ProcessingResult]:
        """Inspect several frames together and decide on each, see `models.inspect_images.inspect_images`."""
        queued_ms = [self._queue_ms(message) for message, _, _ in works]
        seen = inspect_frames([(frame, image) for _, frame, image in works], (self._model,))
        return [
            self.conclude(message, frame, found, queue_ms)
            for (message, frame, _), [found], queue_ms in zip(works, seen, queued_ms, strict=True)
        ]

    def conclude(
        self, message: FrameMessage, frame: Frame, found: Inspection | InspectionFailure, queue_ms: float
    ) -> ProcessingResult:
        """Decide on a result of `inspect_frames`. The replay inspects once for several models and decides for each."""
        if isinstance(found, InspectionFailure):
            return self._rejected(message, frame, found.kind, found.reason, queue_ms)
        answer = self._decided(message, frame, found, queue_ms)
        if found.remarks:
            self._remarks.log(frame.key, found.remarks)
            answer = dataclasses.replace(answer, remarks=found.remarks)
        return self._too_late(message, frame, found, queue_ms) if self._missed(message, frame, answer) else answer

    def _missed(self, message: FrameMessage, frame: Frame, answer: ProcessingResult) -> bool:
        """Return True if an inspection began in time but ended too late: stopped, starved, or a slow image."""
        decision = answer.decision
        if decision is None or self._overload.of(decision.station) is Overload.EVERYTHING:
            return False
        is_late = decision.is_late or (
            not decision.is_simulated
            and frame.captured_at_us > message.source.received_at_us + AHEAD_US
            and decision.decided_at_us > (_timed(message, frame).deadline_at_us or decision.decided_at_us)
        )
        return is_late and not self._retried(message, frame)

    def _too_late(
        self, message: FrameMessage, frame: Frame, inspection: Inspection, queue_ms: float
    ) -> ProcessingResult:
        """Return the answer of a shed frame: read again, the frame would be shed. The result stays in the reason."""
        aborted = dataclasses.replace(
            inspection,
            verdict=Verdict.NOT_DECIDABLE,
            action=Action.REJECT,
            result_state=ResultState.ABORTED,
            reason=f"inspected too late: {inspection.verdict}, {inspection.reason}"[:_TEXT_LIMIT],
        )
        return dataclasses.replace(self._decided(message, frame, aborted, queue_ms), shed="late")

    def _rejected(
        self, message: FrameMessage, frame: Frame, kind: str, reason: str, queue_ms: float
    ) -> ProcessingResult:
        rejected = self._decided(message, frame, failed_inspection(f"{kind}: {reason}"[:_TEXT_LIMIT]), queue_ms)
        letter = self._dead(message, kind, reason, frame.frame_id)
        return dataclasses.replace(letter, decision=rejected.decision, decision_bytes=rejected.decision_bytes)

    def _queue_ms(self, message: FrameMessage) -> float:
        return max(0.0, (self._clock.utc_us() - message.source.received_at_us) / 1000)

    def _shed_reason(self, message: FrameMessage, frame: Frame, overtaken: bool) -> tuple[str, str] | None:
        if is_replay(message.headers, message.source.topic):
            return None
        why = self.shedding.shed_reason(_timed(message, frame), message.key, message.source, overtaken=overtaken)
        return None if why is None or self._retried(message, frame) else why

    def _retried(self, message: FrameMessage, frame: Frame) -> bool:
        """Return True if a message is the retry of a dead letter. Call only if necessary: it may cost a look-up."""
        if RETRY_HEADER not in message.headers:
            return False
        if self._is_retry(message):
            return True
        self._on_untrue(frame.key, "retry-header")
        return False

    def _decided(
        self, message: FrameMessage, frame: Frame, inspection: Inspection, queue_ms: float
    ) -> ProcessingResult:
        decided_at_us = self._clock.utc_us()
        is_simulated = is_replay(message.headers, message.source.topic)
        decision = build_decision(
            frame,
            inspection,
            self._model,
            message.source,
            decided_at_us=decided_at_us,
            queue_ms=queue_ms,
            is_simulated=is_simulated,
        )
        try:
            return ProcessingResult(decision, self._encode(decision))
        except CodecError as error:
            kind = "oversized-metadata" if isinstance(error, MessageTooLarge) else "impossible-metadata"
            reason = f"identity, times or attributes of the frame make no decision that Kafka takes: {error}"
        # If a hostile frame makes its decision impossible to publish, the answer omits the excess.
        letter = self._dead(message, kind, reason, frame.frame_id)
        bare = build_decision(
            dataclasses.replace(frame, attributes={}, deadline_ms=None),
            failed_inspection(f"{kind}: {reason}"[:_TEXT_LIMIT]),
            self._model,
            message.source,
            decided_at_us=decided_at_us,
            queue_ms=queue_ms,
            is_simulated=is_simulated,
        )
        try:
            return dataclasses.replace(letter, decision=bare, decision_bytes=self._encode(bare))
        except CodecError:
            return letter

    def _encode(self, decision: Decision) -> bytes:
        """Return the encoded decision; raise `CodecError` if the schema or the topic would refuse it."""
        encoded = self._codec.encode(decision)
        size_bytes = len(encoded) + len(decision.key.encode())
        if size_bytes > min(DECISIONS.max_message_bytes - _OVERHEAD_BYTES, MAX_REST_BYTES[Decision]):
            raise MessageTooLarge(f"it would have {size_bytes} bytes")
        return encoded

    def _dead(self, message: FrameMessage, kind: str, reason: str, frame_id: str | None = None) -> ProcessingResult:
        """Return the dead letter with the beginning of the message; beyond the worker's budget, only with its place."""
        source = message.source
        bare_letter = DeadLetter(
            source_topic=source.topic,
            source_partition=source.partition,
            source_offset=source.offset,
            kind=kind,
            reason=reason[:_TEXT_LIMIT].encode(errors="replace").decode(),
            failed_at_us=self._clock.utc_us(),
            worker=WORKER_NAME,
        )
        named = dataclasses.replace(bare_letter, frame_id=frame_id)
        whole = dataclasses.replace(named, key=message.key, value=message.value, headers=bounded(message.headers))
        letters = [cut(whole), *smaller(cut(whole)), bare_letter]
        for number, letter in enumerate(letters):
            try:
                encoded = self._codec.encode(letter)
            except InvalidRecord as error:
                log.warning("dead letter of %s-%d@%d: %s", source.topic, source.partition, source.offset, error)
                continue
            # A letter that exceeds the budget is written in a smaller form; a small one, or the place alone, always is.
            is_free = len(encoded) <= _FREE_LETTER_BYTES or number == len(letters) - 1
            if not is_free and not self.letters.take(len(encoded)):
                continue
            is_bare = message.value is not None and letter.value is None
            return ProcessingResult(
                dead_letter=encoded, dead_letter_key=letter.key, kind=kind, letter=letter, is_bare=is_bare
            )
        return ProcessingResult(dead_letter=self._codec.encode(bare_letter), kind=kind, letter=bare_letter)

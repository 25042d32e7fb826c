"""From one message of the frames topic to what is to be published for it. No Kafka, no asyncio.

Every message gets an answer: a decision, a dead letter, or both (the frame could be read, its image not).
"""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models import ImageError, Inspection, Model, Source, decide, not_inspected
from models.inspect import inspect_all
from models.remarks import Remark
from schemas import Action, CodecError, DeadLetter, Decision, Frame, ResultState, Verdict
from schemas.clock import Clock
from schemas.errors import InvalidRecord, MessageTooLarge
from schemas.image_store import ImageStore, ImageStoreError
from schemas.simulation import is_replay
from schemas.topics import DEAD_LETTERS, DECISIONS
from schemas.wire import Codec
from stream_processors.image_remarks import ImageRemarks
from stream_processors.overload import Estimate, Newest, Overload, OverloadPolicy, why_shed

log = logging.getLogger(__name__)

WORKER_NAME = f"{socket.gethostname()}/{os.getpid()}"

#: Room that Kafka's own framing and our ``traceparent`` take in a message, in bytes; generous.
_OVERHEAD_BYTES = 1024
#: Header of a dead letter that was published again on purpose: it is inspected, however old.
RETRY_HEADER = "inspection-retry-of"
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

    ``decision`` and ``dead_letter`` are None where there is none to publish; ``kind`` is the word for the failure,
    ``shed`` that for why the frame was not inspected. ``remarks`` say what is odd about its image.
    ``dead_letter_key`` is the key to publish the dead letter under.
    """

    decision: Decision | None = None
    decision_bytes: bytes | None = None
    dead_letter: bytes | None = None
    dead_letter_key: bytes | None = None
    kind: str | None = None
    shed: str | None = None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an image could not be inspected: the word for dead letters and metrics, and one line for a person."""

    kind: str
    reason: str


def image_of(frame: Frame, store: ImageStore | None) -> bytes | Fault:
    """The image of a frame, from the store where it is by reference, or why there is none."""
    if frame.image is not None:
        return frame.image
    if frame.reference is None or store is None:
        return Fault("image-by-reference", "the image lies in a store, and this worker reads none")
    try:
        return store.get(frame.reference, frame.sha256)
    except ImageStoreError as error:
        return Fault(error.kind, str(error))


def look(seen: Sequence[tuple[Frame, bytes]], models: Sequence[Model]) -> list[tuple[Inspection | Fault, ...]]:
    """Inspect the images of frames with models of one network, see `models.inspect.inspect_all`.

    For each frame one result for each model. Whatever the images are, it raises nothing.
    """
    found: list[tuple[Inspection | Fault, ...]] = []
    inspected = inspect_all([(image, frame.sha256) for frame, image in seen], models)
    for (frame, _), each in zip(seen, inspected, strict=True):
        found.append((_fault(frame, each),) * len(models) if isinstance(each, Exception) else each)
    return found


def _fault(frame: Frame, error: Exception) -> Fault:
    if isinstance(error, ImageError):
        return Fault(error.kind, str(error))
    # A fault of ours must stop neither the stream nor the gate.
    log.error("inspection of %s failed", frame.frame_id[:_TEXT_LIMIT], exc_info=error)
    return Fault("inspection-error", f"{type(error).__name__}: {error}")


class Answerer:
    """Answers messages with one model; safe to call from several threads at once.

    Parameters
    ----------
    model
        From `models.load_model`.
    codec
        Wire format of the line.
    clock
        Stamps decisions and dead letters, and says what is too late.
    overload
        Which frames are shed; nothing is by default.
    store
        Where images of frames by reference lie; without one they are dead letters.
    """

    def __init__(
        self,
        model: Model,
        codec: Codec,
        clock: Clock,
        overload: OverloadPolicy | None = None,
        store: ImageStore | None = None,
    ) -> None:
        self._model = model
        self._codec = codec
        self._clock = clock
        self._store = store
        self._remarks = ImageRemarks()
        self._overload = overload or OverloadPolicy(Overload.EVERYTHING)
        #: What an inspection takes, acknowledgement included: fed by who publishes the answers.
        self.estimate = Estimate()
        #: What has been read and waits: fed by who reads.
        self.newest = Newest()

    def __call__(self, message: Received) -> Answer:
        """Decode, inspect and decide; whatever goes wrong becomes part of the answer."""
        frame = self.read(message)
        if isinstance(frame, Answer):
            return frame
        image = self.image(message, frame)
        return image if isinstance(image, Answer) else self.inspect(message, frame, image)

    def read(self, message: Received) -> Frame | Answer:
        """Decode the frame and say whether it is worth an inspection: quick, for it leaves the image as it is.

        The frame is for `image` and `inspect`; an answer is final (it was no frame, or it is shed).
        """
        try:
            frame = self._codec.decode(message.value, Frame)
        except CodecError as error:
            return self._dead(message, error.kind, str(error))
        return self.shed(message, frame) or frame

    def shed(self, message: Received, frame: Frame) -> Answer | None:
        """The answer to a frame that is not worth an inspection any more, or None. To be asked after each wait."""
        why = self._why_shed(message, frame)
        if why is None:
            return None
        word, sentence = why
        aborted = not_inspected(f"shed ({word}): {sentence}", ResultState.ABORTED)
        return dataclasses.replace(self._decided(message, frame, aborted, self._queue_ms(message)), shed=word)

    def image(self, message: Received, frame: Frame) -> bytes | Answer:
        """The image of a frame, from the store where it is by reference; an answer says why there is none.

        The store may take seconds: not for a thread that inspects.
        """
        queue_ms = self._queue_ms(message)
        found = image_of(frame, self._store)
        return found if isinstance(found, bytes) else self.conclude(message, frame, found, queue_ms)

    def inspect(self, message: Received, frame: Frame, image: bytes) -> Answer:
        """Inspect a frame and decide. Takes the time of a decode and an inference, so it runs in a thread."""
        [answer] = self.inspect_all([(message, frame, image)])
        return answer

    def inspect_all(self, works: Sequence[tuple[Received, Frame, bytes]]) -> list[Answer]:
        """Inspect several frames together and decide on each, see `models.inspect.inspect_all`."""
        queued_ms = [self._queue_ms(message) for message, _, _ in works]
        seen = look([(frame, image) for _, frame, image in works], (self._model,))
        return [
            self.conclude(message, frame, found, queue_ms)
            for (message, frame, _), [found], queue_ms in zip(works, seen, queued_ms, strict=True)
        ]

    def conclude(self, message: Received, frame: Frame, found: Inspection | Fault, queue_ms: float) -> Answer:
        """Decide on what `look` has found. The replay, which looks once for several models, does it for each."""
        if isinstance(found, Fault):
            return self._rejected(message, frame, found.kind, found.reason, queue_ms)
        answer = self._decided(message, frame, found, queue_ms)
        if found.remarks:
            self._remarks.log(frame.key, found.remarks)
            answer = dataclasses.replace(answer, remarks=found.remarks)
        return self._too_late(message, frame, found, queue_ms) if self._missed(message, answer) else answer

    def _missed(self, message: Received, answer: Answer) -> bool:
        """Whether an inspection that was begun in time has ended after the deadline: stopped, starved, a slow image."""
        decision = answer.decision
        if decision is None or not decision.is_late or RETRY_HEADER in message.headers:
            return False
        return self._overload.of(decision.station) is not Overload.EVERYTHING

    def _too_late(self, message: Received, frame: Frame, inspection: Inspection, queue_ms: float) -> Answer:
        """As a frame that was shed, which it is when it is read again; what was found stays in the reason."""
        aborted = dataclasses.replace(
            inspection,
            verdict=Verdict.NOT_DECIDABLE,
            action=Action.REJECT,
            result_state=ResultState.ABORTED,
            reason=f"inspected too late: {inspection.verdict}, {inspection.reason}"[:_TEXT_LIMIT],
        )
        return dataclasses.replace(self._decided(message, frame, aborted, queue_ms), shed="late")

    def _rejected(self, message: Received, frame: Frame, kind: str, reason: str, queue_ms: float) -> Answer:
        rejected = self._decided(message, frame, not_inspected(f"{kind}: {reason}"[:_TEXT_LIMIT]), queue_ms)
        letter = self._dead(message, kind, reason, frame.frame_id)
        return dataclasses.replace(
            rejected, dead_letter=letter.dead_letter, dead_letter_key=letter.dead_letter_key, kind=kind
        )

    def _queue_ms(self, message: Received) -> float:
        return max(0.0, (self._clock.utc_us() - message.source.received_at_us) / 1000)

    def _why_shed(self, message: Received, frame: Frame) -> tuple[str, str] | None:
        if RETRY_HEADER in message.headers or is_replay(message.headers):
            return None
        source = message.source
        return why_shed(
            frame,
            self._overload.of(frame.station),
            now_us=self._clock.utc_us(),
            needed_ms=self.estimate.ms,
            overtaken=self.newest.overtaken(source.partition, message.key, source.offset),
        )

    def _decided(self, message: Received, frame: Frame, inspection: Inspection, queue_ms: float) -> Answer:
        decided_at_us = self._clock.utc_us()
        is_simulated = is_replay(message.headers)
        decision = decide(
            frame,
            inspection,
            self._model,
            message.source,
            decided_at_us=decided_at_us,
            queue_ms=queue_ms,
            is_simulated=is_simulated,
        )
        try:
            return Answer(decision, self._encode(decision))
        except CodecError as error:
            kind = "oversized-metadata" if isinstance(error, MessageTooLarge) else "impossible-metadata"
            reason = f"identity, times or attributes of the frame make no decision that Kafka takes: {error}"
        # What a hostile frame made impossible to publish is answered without the excess.
        letter = self._dead(message, kind, reason, frame.frame_id)
        bare = decide(
            dataclasses.replace(frame, attributes={}, deadline_ms=None),
            not_inspected(f"{kind}: {reason}"[:_TEXT_LIMIT]),
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
        """The decision in bytes; raises `CodecError` if the schema or the topic would not take it."""
        encoded = self._codec.encode(decision)
        size_bytes = len(encoded) + len(decision.key.encode())
        if size_bytes > DECISIONS.max_message_bytes - _OVERHEAD_BYTES:
            raise MessageTooLarge(f"it would have {size_bytes} bytes")
        return encoded

    def _dead(self, message: Received, kind: str, reason: str, frame_id: str | None = None) -> Answer:
        """The dead letter, with as much of the message as its topic takes; with its place at the least."""
        source = message.source
        place = DeadLetter(
            source_topic=source.topic,
            source_partition=source.partition,
            source_offset=source.offset,
            kind=kind,
            reason=reason[:_TEXT_LIMIT].encode(errors="replace").decode(),
            failed_at_us=self._clock.utc_us(),
            worker=WORKER_NAME,
        )
        named = dataclasses.replace(place, frame_id=frame_id)
        whole = dataclasses.replace(named, key=message.key, value=message.value, headers=dict(message.headers))
        for letter in (whole, named):
            try:
                encoded = self._codec.encode(letter)
            except InvalidRecord:
                log.warning("dead letter of %s-%d@%d", source.topic, source.partition, source.offset, exc_info=True)
                continue
            if len(encoded) + len(letter.key or b"") <= DEAD_LETTERS.max_message_bytes - _OVERHEAD_BYTES:
                return Answer(dead_letter=encoded, dead_letter_key=letter.key, kind=kind)
        return Answer(dead_letter=self._codec.encode(place), kind=kind)

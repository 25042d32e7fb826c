"""Dead letters: read them back, check if their messages would pass now, and retry them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from confluent_kafka import KafkaException

from models.errors import ImageError
from models.images import decode
from replay.past.source import Source
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.errors import CodecError, InspectionError
from schemas.letters import whole_sha256, whole_size
from schemas.records import DeadLetter, Frame
from schemas.replay_headers import RETRY_HEADER
from schemas.roles import retry_id
from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from transport.batches import UNDECODABLE_BATCH
from transport.broker_cause import kafka_error
from transport.image_store import ImageStore, ImageStoreError
from transport.offset_ranges import intersect
from transport.producer import Producer, make_producer
from transport.refusals import refusal_of
from transport.topic_ranges import TimeRange

#: Kind of the record in the dead-letters topic that marks a letter as retried; its reason is the letter's id.
RETRIED = "retried"
#: Kind of a message that ended a worker: only a worker's trial reads it.
KILLED = "killed-the-worker"
#: Id of a letter, partition and offset: no other reason of a mark is kept.
_ID = re.compile(r"[0-9]{1,9}-[0-9]{1,18}")
_TIMEOUT_S = 30.0


class LetterRefused(InspectionError):
    """Permanent refusal of a letter's message by Kafka: it is larger than its topic accepts now, or has a bad time."""


class NoSuchLetter(InspectionError):
    """Lookup of a dead letter that does not exist."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Dead letter and its place.

    ``id`` is ``partition-offset`` in the dead-letters topic; ``retry_of`` is set if the letter is about a retried
    message. ``is_unsure`` is True if the mark of a retry may be among messages that were deleted before they were
    archived.
    """

    id: str
    letter: DeadLetter
    retried: bool = False
    is_unsure: bool = False

    @property
    def retry_of(self) -> str | None:
        """Id of the dead letter whose retry this letter is about; None if it is not about a retry."""
        header = self.letter.headers.get(RETRY_HEADER)
        return None if header is None else header.decode(errors="replace")


def read_letters(source: Source, within: TimeRange | None = None) -> Iterator[Letter]:
    """Yield all dead letters, oldest first in each partition; unreadable ones are left out.

    The topic is read twice, because the mark of a retried letter comes after the letter. Values are not kept.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If the topic cannot be read.
    """
    retried = retried_ids(source)
    complete_from = {} if source.archive is None else source.complete_from(DeadLetter)
    for message in source.indexed(DeadLetter, within):
        position, letter = message.position, message.record
        if letter is not None and letter.kind != RETRIED:
            name = f"{position.partition}-{position.offset}"
            is_unsure = position.offset < complete_from.get(position.partition, 0)
            yield Letter(name, letter, name in retried, is_unsure)


def without_copies(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Yield letters; of those about one skipped batch only the first: each reader of a topic writes one."""
    known: set[tuple[str, int, int]] = set()
    for found in letters:
        letter = found.letter
        if letter.kind == UNDECODABLE_BATCH:
            place = (letter.source_topic, letter.source_partition, letter.source_offset)
            if place in known:
                continue
            known.add(place)
        yield found


def retried_ids(source: Source) -> set[str]:
    """Return the ids of the letters that are marked as retried; a mark that names no id is left out.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If the topic cannot be read.
    """
    letters = (message.record for message in source.indexed(DeadLetter))
    marks = (letter.reason for letter in letters if letter is not None and letter.kind == RETRIED)
    return {reason for reason in marks if _ID.fullmatch(reason)}


def find_letter(source: Source, name: str) -> Letter:
    """Return the dead letter of an id.

    Raises
    ------
    NoSuchLetter
        If there is no such letter.
    """
    for letter in read_letters(source):
        if letter.id == name:
            return letter
    raise NoSuchLetter(f"no dead letter {name!r}; `inspection dead-letters list` shows their ids")


def with_message(found: Letter, source: Source) -> Letter:
    """Return the letter with its whole message; the message of a cut letter is read from where it came.

    A letter stays as it is if it is whole, or if neither its topic nor the archive has the same bytes.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If the topic cannot be read.
    """
    letter, size = found.letter, whole_size(found.letter)
    if size is None or letter.source_topic != source.topic(Frame) or found.retried:
        return found
    offset = letter.source_offset
    ranges = intersect({letter.source_partition: ((offset, offset + 1),)}, source.extent(Frame))
    for message in source.read(Frame, ranges, with_values=True):
        value = message.value or b""
        if len(value) == size and hashlib.sha256(value).hexdigest() == whole_sha256(letter):
            return replace(found, letter=replace(letter, key=message.key, value=value, headers=message.headers))
    return found


def retry_blocker(letter: Letter, kafka: KafkaSettings, codec: Codec, store: ImageStore) -> str | None:
    """Return the reason why a retry would fail; None if the message would pass the checks of this version.

    ``store`` is the store of images of frames by reference.
    """
    if letter.retried:
        return "already retried"
    if letter.retry_of is not None:
        return f"is itself a retry, of {letter.retry_of}"
    if letter.is_unsure:
        return "may have been retried: dead letters after it were deleted before they were archived"
    if letter.letter.source_topic != kafka.frames:
        return f"is from {letter.letter.source_topic}, not from {kafka.frames}"
    if letter.letter.kind == KILLED:
        return "ended a worker, so it is not read here"
    if (size := whole_size(letter.letter)) is not None:
        kept = len(letter.letter.value or b"")
        return f"the letter has {kept} of {size} bytes, and {kafka.frames} does not have the message any more"
    try:
        frame = codec.decode(letter.letter.value, Frame)
        image = frame.image
        if image is None and frame.reference is not None:
            image = store.get(frame.reference, frame.sha256)
        decode(image or b"")
    except (CodecError, ImageError, ImageStoreError) as error:
        return f"{error.kind}: {error}"
    if frame.sha256 and hashlib.sha256(image or b"").hexdigest() != frame.sha256.lower():
        return "sha256-mismatch: the image is not what the camera sent"
    return None


class Retrier:
    """Publisher that publishes the messages of dead letters again, each once.

    Message and mark are written in one Kafka transaction, under one transactional id. So either both are written or
    neither, and of two retriers at the same time the older one is fenced off. (KIP-98, "Exactly Once Delivery and
    Transactional Messaging".)

    A worker does not wait for the end of a transaction, because anyone can leave one open. So it may answer a message
    whose transaction is aborted. Then the letter is not marked and can be retried: the second answer repeats the first
    one under the same decision id.

    Raises
    ------
    BrokerUnavailable
        If the broker does not open a transaction.
    """

    def __init__(self, kafka: KafkaSettings, clock: Clock | None = None) -> None:
        self._kafka = kafka
        self._clock = clock or SystemClock()
        self._codec = Codec.from_settings(kafka)
        self._producer = self._connect()

    def _connect(self) -> Producer:
        producer = make_producer(
            self._kafka,
            {
                "transactional.id": retry_id(self._kafka.prefix),
                "message.max.bytes": MAX_REQUEST_BYTES,
            },
        )
        try:
            producer.init_transactions(_TIMEOUT_S)
        except KafkaException as error:
            raise kafka_error(self._kafka, error.args[0], self._kafka.dead_letters) from error
        return producer

    def retry(self, found: Letter) -> None:
        """Publish the message of a letter again, as it was, and mark the letter.

        Raises
        ------
        InspectionError
            If another retrier has taken over, or the broker refuses; nothing is written then. `LetterRefused` if the
            next letter may be tried.
        """
        letter = found.letter
        mark = DeadLetter(
            source_topic=letter.source_topic,
            source_partition=letter.source_partition,
            source_offset=letter.source_offset,
            kind=RETRIED,
            reason=found.id,
            frame_id=letter.frame_id,
            failed_at_us=self._clock.utc_us(),
            worker="inspection dead-letters retry",
        )
        headers: list[tuple[str, str | bytes | None]] = [
            (name, value) for name, value in letter.headers.items() if name != RETRY_HEADER
        ]
        try:
            self._producer.begin_transaction()
            self._producer.produce(
                letter.source_topic, letter.value, letter.key, headers=[*headers, (RETRY_HEADER, found.id)]
            )
            self._producer.produce(self._kafka.dead_letters, self._codec.encode(mark), letter.key)
            self._producer.commit_transaction(_TIMEOUT_S)
        except KafkaException as error:
            why = f"dead letter {found.id} was not retried: {error.args[0].str()}"
            if refusal_of(error.args[0]) is None and not error.args[0].txn_requires_abort():
                raise InspectionError(why) from error
            try:
                self._producer.abort_transaction(_TIMEOUT_S)
            except KafkaException:
                raise InspectionError(why) from error
            self._producer = self._connect()  # a client whose batch was refused has lost its sequence number
            raise LetterRefused(why) from error

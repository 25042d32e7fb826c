"""Proof that a message is the retry of a dead letter: the named letter is read, and must be about this message.

Any writer can set a header, so the header alone proves nothing. The letter is written by a worker.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections import OrderedDict
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.clock import Clock
from schemas.errors import CodecError
from schemas.idempotent import CONNECTION
from schemas.letters import whole_sha256, whole_size
from schemas.records import DeadLetter
from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from schemas.wire import Codec
from stream_processors.answer import RETRY_HEADER, Received

log = logging.getLogger(__name__)

#: Id of a letter, as `inspection dead-letters` writes it: partition and offset.
_ID = re.compile(rb"([0-9]{1,9})-([0-9]{1,18})")
_LOOK_S = 2.0
#: Seconds of look-ups that may be spent at once, and their rate of return: messages must not keep a worker busy.
_BURST_S, _SHARE = 30.0, 0.2
_KNOWN = 1_000


class Retries:
    """Look-up of dead letters, with its own client that joins no group. Thread-safe.

    Parameters
    ----------
    kafka, codec
        Place and encoding of the dead letters.
    clock
        Monotonic time.
    """

    def __init__(self, kafka: KafkaSettings, codec: Codec, clock: Clock) -> None:
        self._kafka = kafka
        self._codec = codec
        self._clock = clock
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._known: OrderedDict[tuple[bytes, int, int], bool] = OrderedDict()
        self._left_s, self._at_s = _BURST_S, clock.monotonic_s()

    def is_retry(self, message: Received) -> bool:
        """Return True if the header of a message names a dead letter that exists and is about its bytes."""
        found = _ID.fullmatch(message.headers.get(RETRY_HEADER, b""))
        if found is None:
            return False
        place = (found.group(), message.source.partition, message.source.offset)
        with self._lock:
            if place not in self._known:
                letter = self._letter(int(found[1]), int(found[2]))
                self._known[place] = letter is not None and _is_about(letter, message)
                if len(self._known) > _KNOWN:
                    self._known.popitem(last=False)
            return self._known[place]

    def _letter(self, partition: int, offset: int) -> DeadLetter | None:
        began_s = self._clock.monotonic_s()
        self._left_s = min(_BURST_S, self._left_s + (began_s - self._at_s) * _SHARE)
        self._at_s = began_s
        if self._left_s <= 0:
            return None
        try:
            return self._read(partition, offset)
        except (KafkaException, CodecError) as error:
            log.warning("dead letter %d-%d cannot be read: %s", partition, offset, error)
            return None
        finally:
            self._left_s -= self._clock.monotonic_s() - began_s

    def _read(self, partition: int, offset: int) -> DeadLetter | None:
        if self._consumer is None:
            self._consumer = Consumer(_config(self._kafka))
        self._consumer.assign([TopicPartition(self._kafka.dead_letters, partition, offset)])
        try:
            message = self._consumer.poll(_LOOK_S)
        finally:
            self._consumer.unassign()
        if message is None or message.error() is not None or message.offset() != offset:
            return None
        return self._codec.decode(message.value(), DeadLetter, max_bytes=MAX_REQUEST_BYTES)


def _config(kafka: KafkaSettings) -> dict[str, Any]:
    return {
        **CONNECTION,
        "bootstrap.servers": kafka.bootstrap_servers,
        "group.id": "inspection-retries",  # required, but never joined
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "fetch.message.max.bytes": 1024 * 1024,
    }


def _is_about(letter: DeadLetter, message: Received) -> bool:
    if letter.source_topic != message.source.topic or message.value is None:
        return False
    size = whole_size(letter)
    if size is None:
        return letter.value == message.value
    return size == len(message.value) and whole_sha256(letter) == hashlib.sha256(message.value).hexdigest()

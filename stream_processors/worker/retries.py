"""Proof that a message is the retry of a dead letter: the named letter is read, and must be about this message.

Any writer can set a header, so the header alone proves nothing. The letter is written by a worker.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from schemas.clock import Clock
from schemas.codec import Codec
from schemas.errors import CodecError
from schemas.groups import RETRIES
from schemas.letters import whole_sha256, whole_size
from schemas.records import DeadLetter
from schemas.replay_headers import RETRY_HEADER
from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from stream_processors.worker.frame_task import FrameMessage
from transport.batch_trials.child import TriedMessage
from transport.batch_trials.pipe import Unproven
from transport.batch_trials.single_reads import SingleReads
from transport.clients import LONG_LIVED, Consumer, make_consumer
from transport.limited_log import LimitedLog
from transport.watermarks import low_and_high

log = logging.getLogger(__name__)

#: Id of a letter, as `inspection dead-letters` writes it: partition and offset.
_ID = re.compile(rb"([0-9]{1,9})-([0-9]{1,18})")
#: Seconds that may be spent at once on look-ups without success, and the share of time at which they are refilled, so
#: that messages cannot keep a worker busy with look-ups. The look-up of a true retry costs nothing of this budget.
_BURST_S, _SHARE = 2.0, 0.1
#: Longest time of a look-up, with the start of the child, and longest wait for another thread's look-up, in seconds.
_READ_S, _PATIENCE_S = 5.0, 2.0
#: The end of a partition is requested again after this time, in seconds: letters are written meanwhile.
_ENDS_S = 1.0
_KNOWN = 1_000


class Retries:
    """Look-up of dead letters, with its own client that joins no group. Thread-safe.

    Anyone can write to the topic, and name a place in it. So a child process reads the letter: a batch that does not
    fit into memory ends the child, and the message is no retry.

    Parameters
    ----------
    kafka, codec
        Cluster with the dead letters, and their encoding.
    clock
        Monotonic time.
    """

    def __init__(self, kafka: KafkaSettings, codec: Codec, clock: Clock) -> None:
        self._kafka = kafka
        self._codec = codec
        self._clock = clock
        self._lock = threading.Lock()
        self._limited = LimitedLog(log)
        self._consumer: Consumer | None = None
        self._reads = SingleReads(kafka, _READ_S)
        self._known: OrderedDict[tuple[bytes, int, int], bool] = OrderedDict()
        #: By partition: time of the last request for its ends, and the first and the next offset (None: no partition).
        self._ends: OrderedDict[int, tuple[float, tuple[int, int] | None]] = OrderedDict()
        self._left_s, self._at_s = _BURST_S, clock.monotonic_s()

    def is_retry(self, message: FrameMessage) -> bool:
        """Return True if the header of a message names an existing dead letter that is about the message's bytes.

        Return False also if the dead letter cannot be read quickly.
        """
        found = _ID.fullmatch(message.headers.get(RETRY_HEADER, b""))
        if found is None:
            return False
        position = (found.group(), message.source.partition, message.source.offset)
        known = self._known.get(position)
        if known is not None:
            return known
        if not self._may_look_up() or not self._lock.acquire(timeout=_PATIENCE_S):
            return False
        try:
            return self._look_up(position, int(found[1]), int(found[2]), message)
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the child process, after a look-up that runs. Idempotent; a later look-up starts another one."""
        with self._lock:
            self._reads.close()

    def _may_look_up(self) -> bool:
        filled_s = self._left_s + (self._clock.monotonic_s() - self._at_s) * _SHARE
        return filled_s > 0

    def _look_up(self, position: tuple[bytes, int, int], partition: int, offset: int, message: FrameMessage) -> bool:
        if not self._may_look_up():
            return False
        began_s = self._clock.monotonic_s()
        self._left_s = min(_BURST_S, self._left_s + (began_s - self._at_s) * _SHARE)
        self._at_s = began_s
        is_true = False
        try:
            if self._is_there(partition, offset):
                letter = self._read(partition, offset)
                is_true = self._known[position] = letter is not None and _is_about(letter, message)
                if len(self._known) > _KNOWN:
                    self._known.popitem(last=False)
        except (KafkaException, CodecError, Unproven, OSError) as error:
            self._limited.warning("letter", f"dead letter {partition}-{offset} cannot be read: {error}")
        if not is_true:
            self._left_s -= self._clock.monotonic_s() - began_s
        return is_true

    def _is_there(self, partition: int, offset: int) -> bool:
        """Return True if the topic has that offset; the broker is not asked for each message."""
        now_s = self._clock.monotonic_s()
        asked_s, ends = self._ends.get(partition, (float("-inf"), None))
        is_old = now_s - asked_s >= _ENDS_S
        if is_old and (ends is None or not ends[0] <= offset < ends[1]):
            position = TopicPartition(self._kafka.dead_letters, partition)
            self._ends[partition] = now_s, None  # also if the request fails
            ends = low_and_high(self._client(), position, max(0.1, self._left_s))
            self._ends[partition] = now_s, ends
            if len(self._ends) > _KNOWN:
                self._ends.popitem(last=False)
        return ends is not None and ends[0] <= offset < ends[1]

    def _client(self) -> Consumer:
        if self._consumer is None:
            self._consumer = make_consumer(self._kafka, _CONFIG)
        return self._consumer

    def _read(self, partition: int, offset: int) -> DeadLetter | None:
        messages = self._reads.read(self._kafka.dead_letters, partition, offset).messages
        message = messages[0] if messages else None
        if not isinstance(message, TriedMessage) or message.offset() != offset:
            return None
        return self._codec.decode(message.value(), DeadLetter, max_bytes=MAX_REQUEST_BYTES)


_CONFIG: Mapping[str, Any] = {
    **LONG_LIVED,
    "group.id": RETRIES,  # required, but never joined
    "enable.auto.commit": False,
    # An open transaction of a stranger must not hide a letter. No worker writes letters in transactions.
    "isolation.level": "read_uncommitted",
}


def _is_about(letter: DeadLetter, message: FrameMessage) -> bool:
    if letter.source_topic != message.source.topic or message.value is None:
        return False
    size = whole_size(letter)
    if size is None:
        return letter.value == message.value
    return size == len(message.value) and whole_sha256(letter) == hashlib.sha256(message.value).hexdigest()

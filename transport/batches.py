"""Skipping of batches that the Kafka client cannot read.

librdkafka unpacks no batch to more than ``receive.message.max.bytes``, and no damaged batch. It reports the error with
the offset of the batch's first message and fetches the same batch again, for ever: no message behind the batch would be
read. Each consumer of ours passes its errors to a `BatchSkipper`:

1. An error that no retry can solve is recorded. The client tries once more: damage in transit is gone then.
2. At the second error of the same batch its end is read from its header, by another client
   (`transport.batch_ends`). A batch may hold many messages, and the error names only the first one.
3. The consumer continues behind the batch. The batch is logged and counted, and no message behind it is lost.

librdkafka bounds the unpacked size of zstd only: gzip, lz4 and snappy unpack to 1,032, 255 and 21 times the topic's
``max.message.bytes``. A batch that ends a worker or a watch thereby is left out at the next start, as an
`UnreadableBatch` too: `transport.batch_trials.trial`. See docs/reliability.md.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.groups import READER
from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from transport.batch_ends import find_batch_end

log = logging.getLogger(__name__)

#: Kind of the dead letter that stands for such a batch.
UNDECODABLE_BATCH = "undecodable-batch"
#: Settings of each consumer of ours: largest size of a response, or of an unpacked batch.
BOUNDED: Mapping[str, Any] = {"receive.message.max.bytes": 4 * MAX_REQUEST_BYTES}

#: Errors that return at the same offset, however often it is read.
_HOPELESS = frozenset(
    {
        KafkaError._BAD_COMPRESSION,
        KafkaError._BAD_MSG,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError.INVALID_MSG,
        KafkaError.MSG_SIZE_TOO_LARGE,
    }
)


@dataclass(frozen=True, slots=True)
class UnreadableBatch:
    """Skipped batch: offsets from ``first`` up to, but without, ``following``."""

    topic: str
    partition: int
    first: int
    following: int
    reason: str

    def __str__(self) -> str:
        count = self.following - self.first
        last = self.following - 1
        return (
            f"{self.topic}-{self.partition}: offsets {self.first} to {last} ({count}) are a batch that no client "
            f"reads: {self.reason}"
        )


class BatchSkipper:
    """Skipper of the batches that one consumer cannot read. Call it from the thread that polls the consumer.

    Parameters
    ----------
    kafka
        ``host:port[,host:port]``.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._met: dict[tuple[str, int], _Met] = {}
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="batch-skipper")

    def met(self, message: Message) -> bool:
        """Return True if a message reports an unreadable batch, and search its end. Call it for each message."""
        error = message.error()
        if error is None:
            if self._met:
                self._met.pop(_place(message), None)
            return False
        first = message.offset()
        if error.code() not in _HOPELESS or message.topic() is None or first is None or first < 0:
            return False
        place = _place(message)
        known = self._met.get(place)
        if known is None or known.first != first:
            self._met[place] = _Met(first)
        elif known.end is None:
            asked = (self._kafka, *place, first)
            known.reason = error.str()
            known.end = self._threads.submit(find_batch_end, *asked)
        return True

    def skip(self, consumer: Consumer) -> list[UnreadableBatch]:
        """Move the consumer behind the batches whose end is known by now, and return these batches."""
        if not self._met:
            return []
        skipped = []
        for place, known in list(self._met.items()):
            if known.end is None or not known.end.done():
                continue
            del self._met[place]
            try:
                batch = UnreadableBatch(*place, known.first, known.end.result(), known.reason)
                consumer.seek(TopicPartition(*place, batch.following))
            except KafkaException as error:  # no broker, or another member has the partition now; otherwise retried
                log.debug("%s-%d is not stepped over yet: %s", *place, error)
                continue
            log.error("%s; they are left out", batch)
            skipped.append(batch)
        return skipped

    def forget(self) -> None:
        """Drop searches in progress: the consumer continues from another offset."""
        self._met.clear()

    def close(self) -> None:
        """Drop searches in progress, and end."""
        self.forget()
        self._threads.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True)
class _Met:
    first: int
    reason: str = ""
    end: Future[int] | None = None


def _place(message: Message) -> tuple[str, int]:
    return str(message.topic()), int(message.partition() or 0)


def probe_settings() -> dict[str, Any]:
    """Return the settings of a consumer that reads single batches and joins no group."""
    return {
        **BOUNDED,
        "group.id": READER,  # required, but never joined
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        # An open transaction behind the batch must not make the reader wait.
        "isolation.level": "read_uncommitted",
        "fetch.error.backoff.ms": 0,
        "fetch.wait.max.ms": 10,
        "fetch.message.max.bytes": 1,  # the broker still sends one batch
        "queued.max.messages.kbytes": 1,
        "fetch.queue.backoff.ms": 0,
    }

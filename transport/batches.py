"""Skipping of batches that the Kafka client cannot read.

librdkafka unpacks no batch to more than ``receive.message.max.bytes``, and no damaged batch. It reports the error with
the offset of the batch's first message and fetches the same batch again, for ever: no message behind the batch would be
read. Each consumer of ours passes its errors to a `BatchSkipper`:

1. An error that no retry can solve is recorded. The client tries once more: damage in transit is gone then.
2. At the second error of the same batch a second client searches for its end. A batch may hold many messages, and the
   error names only the first one.
3. The consumer continues behind the batch. The batch is logged and counted, and no message behind it is lost.

librdkafka bounds the unpacked size of zstd only: gzip, lz4 and snappy unpack to 1,032, 255 and 21 times the topic's
``max.message.bytes``. A batch that ends a worker or a watch thereby is left out at the next start, as an
`UnreadableBatch` too: `transport.batch_trials.trial`. See docs/reliability.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from transport.clients import make_consumer

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
_TIMEOUT_S = 10.0
_LOOK_S = 0.2


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
            known.end = self._threads.submit(end_of_batch, *asked)
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


def end_of_batch(kafka: KafkaSettings, topic: str, partition: int, first: int) -> int:
    """Return the offset behind an unreadable batch.

    A read that begins within the batch fails with the offset of its first message; a read that begins behind it does
    not. So the end is found by a search whose steps first double and then halve.

    Parameters
    ----------
    first
        Offset of the first message of the batch, from the error.

    Raises
    ------
    KafkaException
        If no broker answers.
    """
    with _probe(kafka) as consumer:
        place = TopicPartition(topic, partition)
        _, high = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
        return search_end(lambda offset: _is_inside(consumer, topic, partition, first, offset), first, high)


def search_end(is_inside: Callable[[int], bool], first: int, high: int, factor: int = 2) -> int:
    """Return the offset behind a batch that begins at ``first``; ``high`` is the end of the partition.

    The steps of the search grow by ``factor``, then they halve.

    Examples
    --------
    >>> search_end(lambda offset: offset < 27, 20, 1_000)
    27
    """
    inside, step = first, 1
    while inside + step < high and is_inside(inside + step):
        inside += step
        step *= factor
    outside = min(inside + step, high)
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if is_inside(middle):
            inside = middle
        else:
            outside = middle
    return max(outside, first + 1)


def _is_inside(consumer: Consumer, topic: str, partition: int, first: int, offset: int) -> bool:
    consumer.assign([TopicPartition(topic, partition, offset)])
    waited_s = 0.0
    while waited_s < _TIMEOUT_S:
        message = consumer.poll(_LOOK_S)
        if message is None:
            waited_s += _LOOK_S
            continue
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return False
        if error.code() in _HOPELESS and message.topic() is not None:
            return (message.offset() or 0) <= first
        waited_s += _LOOK_S
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{topic}-{partition} at {offset}"))


def probe_settings() -> dict[str, Any]:
    """Return the settings of a consumer that reads single batches and joins no group."""
    return {
        **BOUNDED,
        "group.id": "inspection-reader",  # required, but never joined
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        # An open transaction behind the batch must not make the search wait.
        "isolation.level": "read_uncommitted",
        "fetch.error.backoff.ms": 0,
        "fetch.wait.max.ms": 10,
        "fetch.message.max.bytes": 1,  # the broker still sends one batch
        "queued.max.messages.kbytes": 1,
        "fetch.queue.backoff.ms": 0,
    }


@contextmanager
def _probe(kafka: KafkaSettings) -> Iterator[Consumer]:
    consumer = make_consumer(kafka, probe_settings())
    try:
        yield consumer
    finally:
        consumer.close()

"""Follower: reads partitions from given offsets on, without end; no consumer group, and no committed positions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas.settings import KafkaSettings
from transport.batches import BatchSkipper, UnreadableBatch
from transport.broker_cause import broker_error
from transport.clients import make_consumer
from transport.topic_ranges import TopicMessage, as_message, consumer_settings

_log = logging.getLogger(__name__)
#: Approximate bytes taken from the client at once; its own queue is bounded, but a batch of large frames is not.
_BATCH_BYTES = 4 * 1024 * 1024
_LARGEST_BATCH = 500


class Partition(NamedTuple):
    """Partition of a topic."""

    topic: str
    number: int


class Settled(NamedTuple):
    """Report that no message will come before an offset: the partition ends there, or has transaction markers there."""

    partition: Partition
    offset: int


class OutOfRange(NamedTuple):
    """Report that the broker does not have the offset to be read: it was deleted, or never written."""

    partition: Partition
    offset: int


class Trouble(NamedTuple):
    """Report of the client that something is wrong with a topic; the client keeps trying."""

    text: str


class Follower:
    """Consumer with manually assigned partitions.

    Parameters
    ----------
    kafka
        ``host:port[,host:port]``.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._is_unreachable = False
        self._batch = 16
        self._skipper = BatchSkipper(kafka)
        self._consumer = make_consumer(
            kafka,
            {
                **consumer_settings(),
                # A missing offset must be an error: reading on elsewhere would leave a silent gap.
                "auto.offset.reset": "error",
                # Less read-ahead than a reader: messages already wait for a commit. Larger messages still come.
                "fetch.message.max.bytes": 2 * 1024 * 1024,
                "fetch.max.bytes": 8 * 1024 * 1024,
                "queued.max.messages.kbytes": 16 * 1024,
                # Added partitions are read as soon as the client knows them.
                "topic.metadata.refresh.interval.ms": 5_000,
                "error_cb": self._on_error,
            },
        )

    def read_from(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions too, from these offsets on; partitions that are already read continue from there.

        Raises
        ------
        BrokerUnavailable
            If the client refuses the partitions.
        """
        self._skipper.forget()
        places = [TopicPartition(*partition, offset) for partition, offset in positions.items()]
        try:
            self._consumer.incremental_unassign([TopicPartition(*one) for one in self._assigned(positions)])
            self._consumer.incremental_assign(places)
        except KafkaException as error:
            raise broker_error(self._kafka, error.args[0].str()) from error

    def poll(self, timeout_s: float) -> Iterator[TopicMessage | Settled | OutOfRange | UnreadableBatch | Trouble]:
        """Yield the messages, skipped batches and reports that arrive within a time."""
        messages = self._consumer.consume(self._batch, timeout_s)
        if messages:
            mean = sum(len(message.value() or b"") for message in messages) // len(messages)
            self._batch = min(max(_BATCH_BYTES // (mean + 1), 1), _LARGEST_BATCH)
        yield from self._skipper.skip(self._consumer)
        for message in messages:
            error = message.error()
            if self._skipper.met(message):
                continue
            if error is None:
                self.answered()
                yield as_message(message)
                continue
            partition = Partition(str(message.topic()), int(message.partition() or 0))
            if error.code() == KafkaError._PARTITION_EOF:
                self.answered()
                yield Settled(partition, int(message.offset() or 0))
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                yield OutOfRange(partition, int(message.offset() or 0))
            else:
                yield Trouble(error.str())

    def lag(self, partition: Partition, position: int) -> int | None:
        """Return the number of offsets after a position, by the broker's last answer; None before the first answer."""
        try:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
        except KafkaException:
            return None
        return None if high < 0 else max(0, int(high) - position)

    @property
    def is_unreachable(self) -> bool:
        """True if no broker answers."""
        return self._is_unreachable

    def answered(self) -> None:
        """Note that a broker has answered, here or elsewhere."""
        if self._is_unreachable:
            self._is_unreachable = False
            _log.warning("a broker answers again at %s", self._kafka.bootstrap_servers)

    def close(self) -> None:
        """Close the consumer."""
        self._skipper.close()
        self._consumer.close()

    def _assigned(self, wanted: Mapping[Partition, int]) -> list[Partition]:
        return [
            found for one in self._consumer.assignment() if (found := Partition(one.topic, one.partition)) in wanted
        ]

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self._is_unreachable:
            self._is_unreachable = True
            _log.error("no broker answers at %s; it is asked until one does", self._kafka.bootstrap_servers)

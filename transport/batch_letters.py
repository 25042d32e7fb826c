"""Dead letters of skipped batches, for readers that publish nothing else: gates, the watch, the archive."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from functools import partial
from queue import Full, Queue

from confluent_kafka import KafkaError, KafkaException, Message

from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.records import DeadLetter
from schemas.settings import KafkaSettings
from transport.batches import UNDECODABLE_BATCH, UnreadableBatch
from transport.clients import LONG_LIVED
from transport.process_name import process_name
from transport.producer import Producer, make_producer

log = logging.getLogger(__name__)

#: Time, in ms, after which a letter that Kafka has not taken is given up.
_PATIENCE_MS = 60_000
#: Most letters that wait, and most batches that are remembered as written.
_WAITING, _KNOWN = 1_000, 10_000
_REASON_LIMIT = 1_000


class BatchLetters:
    """Publisher of one dead letter for each skipped batch. Thread-safe; `write` never waits for Kafka.

    A thread publishes the letters, with a producer that is made for the first of them. A letter that Kafka does not
    take is one warning in the log: the reader does not depend on it. A batch has one letter in a process, however often
    the process skips it. Other readers of the topic write letters of their own about it; all of them name the same
    source position.

    Parameters
    ----------
    kafka
        Place and encoding of the dead letters.
    program
        Name of the program in the letters.
    """

    def __init__(self, kafka: KafkaSettings, program: str, clock: Clock | None = None) -> None:
        self._kafka = kafka
        self._worker = f"{program} {process_name()}"
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int, int], None] = OrderedDict()
        self._waiting: Queue[UnreadableBatch | None] = Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._codec: Codec | None = None
        self._producer: Producer | None = None

    def write(self, batch: UnreadableBatch) -> None:
        """Publish the letter of a batch in the background."""
        place = (batch.topic, batch.partition, batch.first)
        with self._lock:
            if place in self._known:
                return
            self._known[place] = None
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="batch-letters", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait(batch)
        except Full:
            _failed(batch, f"{_WAITING} other letters wait")

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait for the letters that are on their way, for a time at most, and end. Idempotent."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None:
            return
        deadline_s = time.monotonic() + timeout_s
        try:
            self._waiting.put(None, timeout=timeout_s)
        except Full:  # no broker answers, and the process does not wait for one
            return
        thread.join(max(0.0, deadline_s - time.monotonic()))

    def _run(self) -> None:
        while (batch := self._waiting.get()) is not None:
            try:
                self._publish(batch)
            except Exception as error:  # noqa: BLE001 - also for want of memory; the next letter may go
                _failed(batch, error)
                self._producer = None  # it may be of no more use

    def _publish(self, batch: UnreadableBatch) -> None:
        self._codec = self._codec or Codec.from_settings(self._kafka)
        self._producer = self._producer or make_producer(
            self._kafka, {**LONG_LIVED, "message.timeout.ms": _PATIENCE_MS}
        )
        letter = DeadLetter(
            source_topic=batch.topic,
            source_partition=batch.partition,
            source_offset=batch.first,
            kind=UNDECODABLE_BATCH,
            reason=str(batch)[:_REASON_LIMIT],
            failed_at_us=self._clock.utc_us(),
            worker=self._worker,
        )
        errors: list[KafkaError] = []
        self._producer.produce(
            self._kafka.dead_letters, self._codec.encode(letter), on_delivery=partial(_delivered, errors)
        )
        self._producer.flush()
        if errors:
            raise KafkaException(errors[0])


def _delivered(errors: list[KafkaError], error: KafkaError | None, _: Message) -> None:
    if error is not None:
        errors.append(error)


def _failed(batch: UnreadableBatch, error: object) -> None:
    why = error.args[0].str() if isinstance(error, KafkaException) else str(error) or type(error).__name__
    log.warning("no dead letter of %s-%d@%d: %s", batch.topic, batch.partition, batch.first, why)

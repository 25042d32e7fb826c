"""Archive sink: copies topics into an archive exactly once, however often it is killed.

The sink joins no consumer group and commits nothing to Kafka: it finds its position in the archive's own commits
(`replay.archive.collector` lists the order of the steps).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial

from replay.archive.collector import Collector, OtherTopic, SinkOptions, SinkReport
from replay.archive.follower import Follower, OutOfRange, Partition, Settled, Trouble
from replay.archive.metrics import ArchiveMetrics
from replay.archive.store import ArchiveStore
from schemas.errors import BrokerUnavailable, InspectionError, TopicMissing
from schemas.settings import KafkaSettings
from transport.batches import UnreadableBatch
from transport.broker_cause import broker_error
from transport.image_store import ImageStore
from transport.range_reader import read_ranges
from transport.topic_ranges import TopicMessage

_log = logging.getLogger(__name__)

#: Seconds without any answer of a broker after which a run with an end counts as stuck.
_STALLED_S = 30.0
_POLL_S = 0.1
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
_CHECK_S = 5.0


class ArchiveSink:
    """Sink that archives the topics of a line.

    Parameters
    ----------
    kafka
        Settings of the line.
    store
        Store of the archive.
    image_store
        Store of the images of frames by reference. The sink fetches these images, and archives them in their frames.
        None to archive only the references.
    metrics
        Metrics that the sink updates.
    on_unreadable
        Called with each batch that is skipped, see `transport.batch_letters`. The sink itself writes to no topic.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        store: ArchiveStore,
        options: SinkOptions | None = None,
        *,
        image_store: ImageStore | None = None,
        metrics: ArchiveMetrics | None = None,
        on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
    ) -> None:
        self._kafka = kafka
        self._store = store
        self._options = options or SinkOptions()
        self._metrics = metrics or ArchiveMetrics()
        self._collector = Collector(kafka, store, self._options, image_store, self._metrics, on_unreadable)

    @property
    def report(self) -> SinkReport:
        """Counts of the work done so far."""
        return self._collector.report

    def run_once(
        self, stop: threading.Event, on_progress: Callable[[int, int], object] = lambda done, total: None
    ) -> SinkReport:
        """Archive the messages that the topics have now.

        Raises
        ------
        ArchiveError
            If the archive cannot be written, or is of other topics.
        BrokerUnavailable, TopicMissing
            If a topic cannot be read.
        """
        targets = self._collector.begin()
        batches = self._collector.batches
        total = sum(end - batches[partition].begin for partition, end in targets.items())
        began = {partition: batch.begin for partition, batch in batches.items()}
        self._catch_up(
            targets,
            stop,
            self._collector.write_all,
            lambda: on_progress(sum(min(batches[n].end, end) - began[n] for n, end in targets.items()), total),
        )
        heard_s = time.monotonic()
        follower = Follower(self._kafka)
        try:
            follower.read_from({n: batch.end for n, batch in batches.items() if batch.end < targets[n]})
            while not stop.is_set():
                on_progress(sum(min(batches[n].end, end) - began[n] for n, end in targets.items()), total)
                if all(batches[partition].end >= end for partition, end in targets.items()):
                    break
                anything, gone = self._take(follower, targets)
                for partition in gone:
                    self._move_on(follower, partition)
                if anything:
                    heard_s = time.monotonic()
                if time.monotonic() - heard_s > _STALLED_S:
                    raise broker_error(self._kafka, f"nothing came for {_STALLED_S:.0f} s")
                if self._collector.waiting_bytes() >= self._options.memory_bytes:
                    self._collector.write_all()
            self._collector.write_all()
        finally:
            follower.close()
        return self.report

    def follow(self, stop: threading.Event) -> SinkReport:
        """Archive present and future messages until ``stop`` is set; then write the waiting messages.

        If the archive or the broker stops answering later, the sink retries until it answers, and reads nothing
        meanwhile.

        Raises
        ------
        ArchiveError
            If the archive cannot be written at the start or at the end, or is of other topics.
        BrokerUnavailable, TopicMissing
            If a topic cannot be read at the start, or is missing later.
        """
        targets = self._collector.begin()
        self._catch_up(targets, stop, lambda: self._retry_until_done(stop, self._collector.write_all))
        follower = Follower(self._kafka)
        written_s = checked_s = time.monotonic()
        try:
            follower.read_from({partition: batch.end for partition, batch in self._collector.batches.items()})
            while not stop.is_set():
                for partition in self._take(follower)[1]:
                    self._retry_until_done(stop, partial(self._move_on, follower, partition))
                now_s = time.monotonic()
                if (
                    self._collector.waiting_bytes() >= self._options.memory_bytes
                    or now_s - written_s >= self._options.every_s
                ):
                    self._retry_until_done(stop, self._collector.write_all)
                    self._check_broker(follower)
                    self._collector.tidy()
                    written_s = checked_s = time.monotonic()
                elif now_s - checked_s >= _CHECK_S:
                    self._check_broker(follower)
                    checked_s = now_s
            self._collector.write_all()
        finally:
            follower.close()
        return self.report

    def _catch_up(
        self,
        targets: Mapping[Partition, int],
        stop: threading.Event,
        write: Callable[[], object],
        on_progress: Callable[[], object] = lambda: None,
    ) -> None:
        """Archive what the topics had at the start: child processes read it, so no batch of the past ends this one.

        The follower goes on from there, and handles what was deleted.
        """
        batches = self._collector.batches
        for topic in {partition.topic for partition in targets}:
            spans = {
                number: ((batches[Partition(topic, number)].end, end),)
                for (name, number), end in targets.items()
                if name == topic
            }
            messages = read_ranges(
                self._kafka,
                topic,
                spans,
                on_progress=lambda done, of: on_progress(),
                on_unreadable=self._collector.leave_out,
                is_strict=True,
            )
            with closing(messages):
                for message in messages:
                    self._collector.add(message)
                    if self._collector.waiting_bytes() >= self._options.memory_bytes:
                        write()
                    if stop.is_set():
                        return
            self._metrics.waiting(self._collector.waiting_bytes())

    def _take(self, follower: Follower, targets: Mapping[Partition, int] | None = None) -> tuple[bool, list[Partition]]:
        """Take the messages that have arrived; with targets, only up to these offsets.

        Return True if anything arrived, and the partitions whose next offset no longer exists.
        """
        batches = self._collector.batches
        anything = False
        gone = []
        for event in follower.poll(_POLL_S):
            if isinstance(event, TopicMessage):
                partition = Partition(event.topic, event.partition)
                if targets is not None and event.offset >= targets[partition]:
                    batches[partition].settle(targets[partition])
                else:
                    self._collector.add(event)
                anything = True
            elif isinstance(event, Settled):
                end = event.offset if targets is None else min(event.offset, targets[event.partition])
                batches[event.partition].settle(end)
                anything = True
            elif isinstance(event, UnreadableBatch):
                self._collector.leave_out(event)
                anything = True
            elif isinstance(event, OutOfRange):
                gone.append(event.partition)
            elif isinstance(event, Trouble):
                _log.debug("the client says: %s", event.text)
        for partition, batch in batches.items():
            self._metrics.lag(partition, follower.lag(partition, batch.end))
        self._metrics.waiting(self._collector.waiting_bytes())
        return anything, gone

    def _move_on(self, follower: Follower, partition: Partition) -> None:
        follower.read_from({partition: self._collector.move_on(partition)})

    def _check_broker(self, follower: Follower) -> None:
        """Check the topics, and start to read new partitions. If no broker answers, the next call does it."""
        try:
            new = self._collector.added()
        except TopicMissing:
            raise
        except BrokerUnavailable:
            return
        follower.answered()
        if new:
            _log.warning(
                "new partitions are archived: %s", ", ".join(f"{one.topic}-{one.number}" for one in sorted(new))
            )
            follower.read_from(dict.fromkeys(new, 0))

    def _retry_until_done(self, stop: threading.Event, work: Callable[[], object]) -> None:
        """Do the work, and retry until it succeeds; if ``stop`` is set, leave the work to the last attempt."""
        wait_s, is_logged = _FIRST_WAIT_S, False
        while True:
            try:
                work()
            except OtherTopic:
                raise
            except TopicMissing:
                raise
            except InspectionError as error:
                if not is_logged:
                    _log.error("%s; tried again until it succeeds, and nothing is read meanwhile", error)
                is_logged = True
                self._metrics.unreachable(True)
                if stop.wait(wait_s):
                    return
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            else:
                if is_logged:
                    _log.warning("archived again to %s", self._store.uri)
                self._metrics.unreachable(False)
                return

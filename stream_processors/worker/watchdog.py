"""Watchdog that ends a worker which reads nothing while frames wait: a restart is better than a line that stands still.

A rebalance that never ends, an event loop that is blocked, an inspection that hangs: from outside they look the
same. The group's committed offsets stand still while frames pile up. So the watchdog checks these offsets, on its own
thread, with its own client that joins no group.

The end of the log may be the marker of a transaction, which no worker reads. So before it counts as waiting, the
watchdog checks if there is a frame to read.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaException, TopicPartition

from schemas.settings import KafkaSettings
from stream_processors.worker.metrics import WorkerMetrics
from transport.batch_trials.pipe import Unproven
from transport.batch_trials.single_reads import SingleReads
from transport.clients import make_consumer
from transport.surviving import surviving

log = logging.getLogger(__name__)

#: Exit status if the watchdog ends the worker (BSD's EX_TEMPFAIL).
EXIT_STUCK = 75
#: Number of checks within the time that must pass without progress.
_CHECKS = 6
_QUERY_S = 5.0
#: Longest time of a child process that reads.
_READ_S = 10.0

#: Next offset to read and end of the log, by partition.
GroupOffsets = Mapping[int, tuple[int, int]]


class CommitProgress:
    """Rule for a stuck worker: a number of checks in a row with waiting frames, and none committed.

    Checks are counted, not seconds: a process that was stopped and continues must get its chance. If Kafka does not
    answer, that is not the worker's fault, and the count begins again.

    Parameters
    ----------
    checks
        Number of checks in a row without progress.

    Examples
    --------
    >>> progress = CommitProgress(2)
    >>> progress.check({0: (5, 9)}), progress.check({0: (5, 10)}), progress.check({0: (5, 11)})
    (False, False, True)
    """

    def __init__(self, checks: int) -> None:
        self._checks = checks
        self._before: dict[int, int] | None = None
        self._idle = 0

    def check(self, offsets: GroupOffsets | None) -> bool:
        """Check the offsets (None: Kafka does not answer); return True if the worker is stuck."""
        if offsets is None:
            self._before, self._idle = None, 0
            return False
        now = {partition: committed for partition, (committed, _) in offsets.items()}
        waits = any(end > committed for committed, end in offsets.values())
        self._idle = self._idle + 1 if waits and now == self._before else 0
        self._before = now
        return self._idle >= self._checks


class Watchdog:
    """Thread that watches the partitions of a worker; if the worker is stuck, it ends the process with `EXIT_STUCK`.

    Parameters
    ----------
    kafka, group
        Address, and group whose committed offsets are checked.
    assigned
        Returns the partitions of the frames topic that the worker has; None during a rebalance: then all are checked.
    limit_s
        Time without progress, in seconds.
    metrics
        Metrics that show the lag.
    end
        Function that ends the process; called with the exit status.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        group: str,
        assigned: Callable[[], set[int] | None],
        limit_s: float,
        metrics: WorkerMetrics,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._topic = kafka.frames
        self._assigned = assigned
        self._limit_s = limit_s
        self._metrics = metrics
        self._end = end
        self._stop = threading.Event()
        #: By partition: offsets of the last check, and offsets between which there is no frame to read.
        self._last: dict[int, tuple[int, int]] = {}
        self._hollow: dict[int, tuple[int, int]] = {}
        #: By partition: offset from which on there is something to read.
        self._full: dict[int, int] = {}
        self._consumer = make_consumer(
            kafka,
            {
                "group.id": group,
                "enable.auto.commit": False,
                # As the worker reads: an open transaction must not hide frames that wait behind it.
                "isolation.level": "read_uncommitted",
            },
        )
        # A child reads: what waits may be a batch that has ended a worker, and that a trial is reading right now.
        self._reads = SingleReads(kafka, _READ_S, is_alone=False)
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching: the worker is stopping, and may take as long as it needs."""
        self._stop.set()

    def _watch(self) -> None:
        progress = CommitProgress(_CHECKS)
        while not self._stop.wait(self._limit_s / _CHECKS):
            offsets = None
            with surviving(log, "the watchdog"):
                offsets = self._offsets()
                self._reads.close()
            if offsets is not None:
                self._metrics.show_lag({number: end - committed for number, (committed, end) in offsets.items()})
            if progress.check(offsets) and offsets is not None and not self._stop.is_set():
                waiting = sum(end - committed for committed, end in offsets.values())
                log.critical(
                    "stuck: %d frames wait in partitions %s and none was committed for %.0f s; ending so that another "
                    "worker, or a restart, takes over",
                    waiting, ", ".join(map(str, sorted(offsets))), self._limit_s,
                )  # fmt: skip
                logging.shutdown()
                self._end(EXIT_STUCK)
                return

    def _offsets(self) -> dict[int, tuple[int, int]] | None:
        try:
            wanted = self._assigned()
            if wanted is None:
                wanted = set(self._consumer.list_topics(self._topic, timeout=_QUERY_S).topics[self._topic].partitions)
            partitions = [TopicPartition(self._topic, number) for number in sorted(wanted)]
            found: dict[int, tuple[int, int]] = {}
            for partition in self._consumer.committed(partitions, timeout=_QUERY_S) if partitions else []:
                low, end = self._consumer.get_watermark_offsets(partition, timeout=_QUERY_S)
                # If no offset is committed yet, or retention has passed it, reading begins at the oldest frame.
                found[partition.partition] = self._waiting(partition.partition, max(partition.offset, low), end)
        except (KafkaException, KeyError):
            return None
        return found

    def _waiting(self, number: int, begin: int, end: int) -> tuple[int, int]:
        """Return the offsets of a partition that wait; ``(end, end)`` if there is no frame to read among them."""
        offsets = (begin, end)
        if (
            begin < end
            and self._last.get(number) == offsets != self._hollow.get(number)
            and self._full.get(number) != begin
            and self._is_hollow(number, begin)
        ):
            self._hollow[number] = offsets
        self._last[number] = offsets
        return (end, end) if self._hollow.get(number) == offsets else offsets

    def _is_hollow(self, number: int, begin: int) -> bool:
        try:
            found = self._reads.read(self._topic, number, begin)
        except (Unproven, OSError):
            return False
        if found.killed is None and not found.messages:
            return True
        self._full[number] = begin
        return False

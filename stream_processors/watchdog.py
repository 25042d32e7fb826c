"""Ends a worker that reads nothing while frames wait: better a restart than a line that stands still.

A rebalance that never ends, an event loop that is blocked, an inspection that hangs: from outside they look the
same, the group's committed offsets stand still while frames pile up. So that is what is looked at, from a thread of
its own, with a client of its own that joins no group.

The end of the log may be the marker of a transaction, or frames of one that was aborted: nobody reads those, so before
they count as waiting it is tried whether there is a frame to read.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.settings import KafkaSettings
from stream_processors.metrics import WorkerMetrics

log = logging.getLogger(__name__)

#: Exit status when the watchdog ends the worker (BSD's EX_TEMPFAIL).
EXIT_STUCK = 75
#: Looks in the time that must pass without progress.
_LOOKS = 6
_QUERY_S = 5.0

#: Next offset to read and end of the log, by partition.
Offsets = Mapping[int, tuple[int, int]]


class Progress:
    """The rule: so many looks in a row with frames waiting and none committed.

    Looks are counted, not seconds: a process that was stopped and goes on must get its chance. Kafka that does not
    answer is no fault of the worker's, and begins the count anew.

    Parameters
    ----------
    looks
        In a row, without progress.

    Examples
    --------
    >>> progress = Progress(2)
    >>> progress.look({0: (5, 9)}), progress.look({0: (5, 10)}), progress.look({0: (5, 11)})
    (False, False, True)
    """

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self._before: dict[int, int] | None = None
        self._idle = 0

    def look(self, offsets: Offsets | None) -> bool:
        """Take a look; True if the worker is stuck. None: Kafka does not answer."""
        if offsets is None:
            self._before, self._idle = None, 0
            return False
        now = {partition: committed for partition, (committed, _) in offsets.items()}
        waits = any(end > committed for committed, end in offsets.values())
        self._idle = self._idle + 1 if waits and now == self._before else 0
        self._before = now
        return self._idle >= self._looks


class Watchdog:
    """Watches the partitions of a worker and ends the process with `EXIT_STUCK`.

    Parameters
    ----------
    kafka, group
        Whose committed offsets.
    assigned
        Partitions of the frames topic that the worker has, None while a rebalance goes on: then all are looked at.
    limit_s
        Time without progress.
    metrics
        Where the lag is shown.
    end
        What ends the process; gets the exit status.
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
        #: By partition, what the last look found, and offsets between which there is no frame to read.
        self._last: dict[int, tuple[int, int]] = {}
        self._hollow: dict[int, tuple[int, int]] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer: the worker is stopping, and takes what time it needs."""
        self._stop.set()

    def _watch(self) -> None:
        progress = Progress(_LOOKS)
        while not self._stop.wait(self._limit_s / _LOOKS):
            offsets = self._offsets()
            for partition, (committed, end) in (offsets or {}).items():
                self._metrics.lag.labels(str(partition)).set(end - committed)
            if progress.look(offsets) and offsets is not None and not self._stop.is_set():
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
                # Nothing committed yet, or retention has passed it: reading begins at the oldest frame.
                found[partition.partition] = self._waiting(partition.partition, max(partition.offset, low), end)
        except (KafkaException, KeyError):
            return None
        return found

    def _waiting(self, number: int, begin: int, end: int) -> tuple[int, int]:
        """Offsets of a partition that wait; ``(end, end)`` if there is no frame to read among them."""
        offsets = (begin, end)
        if (
            begin < end
            and self._last.get(number) == offsets != self._hollow.get(number)
            and self._is_hollow(number, begin)
        ):
            self._hollow[number] = offsets
        self._last[number] = offsets
        return (end, end) if self._hollow.get(number) == offsets else offsets

    def _is_hollow(self, number: int, begin: int) -> bool:
        self._consumer.assign([TopicPartition(self._topic, number, begin)])
        try:
            message = self._consumer.poll(_QUERY_S)
            error = None if message is None else message.error()
            return error is not None and error.code() == KafkaError._PARTITION_EOF
        finally:
            self._consumer.unassign()

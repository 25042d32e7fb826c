"""Trial of what is read next, after a process of the group has died: a batch may have ended it while it was fetched.

librdkafka bounds the unpacked size of zstd batches only. In a limit of memory another batch ends the process, which
would fetch it again at each start. The rule, when partitions are assigned after such a death:

1. a child with limits of memory and processor time reads each partition from the committed offset on, as far as a
   process may have read ahead (`transport.batch_trials.program`). If it survives, the partition is read as usual;
2. if it dies, a second child reads the next batch alone. If that dies too, the batch is unreadable, and further
   children find its end;
3. the messages before the batch come from the child: no fetch of the worker's own client could leave the batch out. The
   client goes on behind the batch.

A child proves nothing that was killed from outside, or was late. What cannot be tried in time is read as usual.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confluent_kafka import TopicPartition

from transport.batch_trials.child import BatchChild, ChildReport, TriedMessage, Unproven
from transport.batch_trials.program import CPU_S
from transport.batches import UnreadableBatch, search_end
from transport.deaths import Deaths

log = logging.getLogger(__name__)

Place = tuple[str, int]

#: Time for all partitions, and twice that with the search for the end of a batch; the group waits a minute for a
#: member.
_LIMIT_S = 20.0
#: Growth of the steps of that search: an offset within the batch costs seconds, one behind it a fraction.
_FACTOR = 4
#: Messages that a process can have read ahead, see ``stream_buffer_maxsize``.
_MOST_COUNT = 4_096
#: Bytes that a process can have read ahead beyond what it holds: a fetch, and what the client keeps.
_AHEAD_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Tried:
    """Records of a partition before the offset from which the client may read on."""

    records: list[TriedMessage | UnreadableBatch]
    following: int

    def since(self, offset: int) -> list[TriedMessage | UnreadableBatch]:
        """Return the records that a reader needs which begins at an offset; negative: at the beginning."""
        return [each for each in self.records if _following(each) > offset]


class BatchTrials:
    """Trials of the partitions of one process.

    Parameters
    ----------
    bootstrap_servers
        ``host:port[,host:port]``.
    deaths
        Deaths that were found.
    buffer_bytes
        Bytes that the process holds at most.
    watchdog_s
        Time after which a watchdog ends a process that reads nothing; 0: none does.
    """

    def __init__(self, bootstrap_servers: str, deaths: Deaths, buffer_bytes: int, watchdog_s: float = 0.0) -> None:
        self._servers = bootstrap_servers
        self._deaths = deaths
        self._bytes = buffer_bytes + _AHEAD_BYTES
        self._limit_s = min(_LIMIT_S, watchdog_s / 3) if watchdog_s else _LIMIT_S

    def are_due(self) -> bool:
        """Return True if a process of the group has died since the last trial."""
        return self._deaths.are_due()

    def try_out(self, committed: Sequence[TopicPartition], is_stopped: Callable[[], bool]) -> dict[Place, Tried]:
        """Return what stands before unreadable batches, and in place of them, for the partitions that have any.

        Parameters
        ----------
        committed
            Committed offset of each partition; negative: none.
        is_stopped
            True ends the trial.
        """
        began_s = time.monotonic()
        trial = _Trial(self._servers, self._bytes, began_s + self._limit_s, began_s + 2 * self._limit_s, is_stopped)
        found: dict[Place, Tried] = {}
        left = len(committed)
        try:
            # In any order: one that is not tried in time has its turn at another start.
            for place in random.sample(list(committed), left):
                tried = trial.partition(place.topic, place.partition, place.offset)
                if tried is not None:
                    found[place.topic, place.partition] = tried
                left -= 1
        except (Unproven, OSError, ValueError) as error:
            log.warning("%d of %d partitions are read without a trial: %s", left, len(committed), error)
        finally:
            trial.close()
        log.info("a process of this group has died: what follows was tried in %.1f s", time.monotonic() - began_s)
        return found


class _Trial:
    def __init__(
        self, servers: str, size_bytes: int, deadline_s: float, longest_s: float, is_stopped: Callable[[], bool]
    ) -> None:
        self._servers, self._bytes, self._is_stopped = servers, size_bytes, is_stopped
        self._deadline_s, self._longest_s = deadline_s, longest_s
        self._child: BatchChild | None = None

    def close(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def partition(self, topic: str, partition: int, offset: int) -> Tried | None:
        records: list[TriedMessage | UnreadableBatch] = []
        count, size, tried = _MOST_COUNT, self._bytes, None
        try:
            while count > 0 and size > 0:
                report = self._scan(topic, partition, offset, count, size)
                records += report.messages
                offset = report.following
                if report.killed is not None:
                    report, batch = self._convict(topic, partition, offset)
                    records += report.messages
                    if batch is not None:
                        log.error("%s; they are left out", batch)
                        records.append(batch)
                        tried = Tried(list(records), batch.following)
                    offset = report.following if batch is None else batch.following
                elif offset >= report.high or not report.messages:
                    break
                count -= len(report.messages) + 1
                size -= sum(len(each) for each in report.messages if isinstance(each, TriedMessage))
        except (Unproven, OSError, ValueError) as error:
            if tried is None:
                raise
            log.warning("%s-%d is read without a trial from %d on: %s", topic, partition, tried.following, error)
        return tried

    def _scan(self, topic: str, partition: int, offset: int, count: int, size_bytes: int) -> ChildReport:
        if self._child is None:
            self._child = BatchChild(self._servers, self._deadline_s, self._is_stopped)
        report = self._child.read(topic, partition, offset, count=count, size_bytes=size_bytes)
        if report.killed is not None:
            self.close()
        return report

    def _convict(self, topic: str, partition: int, first: int) -> tuple[ChildReport, UnreadableBatch | None]:
        """Have a second child read the batch that one has died of; return what it reads, or the batch."""
        report = self._alone(topic, partition, first)
        if report.killed is None or report.messages:
            return report, None
        first = report.begin

        def is_inside(offset: int) -> bool:
            found = self._alone(topic, partition, offset, CPU_S / 2)  # a batch that takes that is no healthy one
            return found.killed is not None and not found.messages

        end = search_end(is_inside, first, report.high, _FACTOR)
        return report, UnreadableBatch(topic, partition, first, end, report.killed)

    def _alone(self, topic: str, partition: int, offset: int, cpu_s: float = CPU_S) -> ChildReport:
        child = BatchChild(self._servers, self._longest_s, self._is_stopped, is_alone=True, cpu_s=cpu_s)
        try:
            return child.read(topic, partition, offset)
        finally:
            child.end()


def _following(record: TriedMessage | UnreadableBatch) -> int:
    return record.following if isinstance(record, UnreadableBatch) else record.at + 1

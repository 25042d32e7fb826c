"""Trial of what stands in a partition: children read it, and a batch that ends two of them is unreadable.

librdkafka bounds the unpacked size of zstd batches only. In a limit of memory another batch ends the process. The rule:

1. a child with limits of memory and processor time reads on, with fetches of several batches;
2. if it dies, a second child reads on from the last message, batch by batch;
3. if that dies, a third child reads the next batch alone. If that dies too, the batch is unreadable; its end is read
   from its header (`transport.batch_ends`).

A child proves nothing that was killed from outside, or was late.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaException

from schemas.settings import KafkaSettings
from transport.batch_ends import find_batch_end
from transport.batch_trials.child import BatchChild, ChildReport, TriedMessage
from transport.batch_trials.pipe import Unproven
from transport.batches import UnreadableBatch

log = logging.getLogger(__name__)

TrialRecord = TriedMessage | UnreadableBatch


@dataclass(frozen=True, slots=True)
class Tried:
    """Records of a partition before the offset from which a client may read on."""

    records: list[TrialRecord]
    following: int

    def since(self, offset: int) -> list[TrialRecord]:
        """Return the records that a reader needs which begins at an offset; negative: at the beginning."""
        return [each for each in self.records if _following(each) > offset]


@dataclass(frozen=True, slots=True)
class TrialResult:
    """Result of a trial.

    Parameters
    ----------
    all
        All that was read.
    needed
        What a client of its own cannot read: all up to the last batch that ended children; None without such a batch.
    """

    all: Tried
    needed: Tried | None


class Trial:
    """Trial of partitions, one after the other.

    Parameters
    ----------
    kafka
        ``host:port[,host:port]``.
    limit_s
        Time for all partitions.
    is_stopped
        True ends the trial.
    is_committed
        Only committed messages are read.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        limit_s: float,
        is_stopped: Callable[[], bool] = lambda: False,
        *,
        is_committed: bool = False,
    ) -> None:
        self._kafka, self._is_stopped, self._is_committed = kafka, is_stopped, is_committed
        self._deadline_s = time.monotonic() + limit_s
        self._child: BatchChild | None = None
        self._is_ahead = True

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def partition(
        self, topic: str, partition: int, offset: int, *, count: int, size_bytes: int, is_ahead: bool = True
    ) -> TrialResult:
        """Read a partition from an offset on, up to a number of offsets or of bytes.

        Parameters
        ----------
        offset
            Negative: from the beginning.
        is_ahead
            False leaves out the first of the three steps.

        Raises
        ------
        Unproven, OSError
            If nothing is known. If that happens behind something that was read, the result ends there.
        """
        records: list[TrialRecord] = []
        needed: Tried | None = None
        begin, left = offset, count
        try:
            while left > 0 and size_bytes > 0:
                report = self._scan(topic, partition, offset, left, size_bytes, is_ahead)
                records += report.messages
                offset = report.following
                if report.killed is not None and is_ahead:
                    is_ahead = False
                elif report.killed is not None:
                    report, batch = self._convict(topic, partition, offset)
                    records += report.messages
                    if batch is not None:
                        log.error("%s; they are left out", batch)
                        records.append(batch)
                        needed = Tried(list(records), batch.following)
                    offset = report.following if batch is None else batch.following
                elif offset >= report.high or not report.messages:
                    break
                left -= len(report.messages) + 1
                size_bytes -= sum(len(each) for each in report.messages if isinstance(each, TriedMessage))
        except (Unproven, OSError) as error:
            if offset == begin:
                raise
            log.warning("%s-%d has had no trial from %d on: %s", topic, partition, offset, error)
            self.close()
        return TrialResult(Tried(records, offset), needed)

    def _scan(
        self, topic: str, partition: int, offset: int, count: int, size_bytes: int, is_ahead: bool
    ) -> ChildReport:
        if self._child is None or self._is_ahead is not is_ahead:
            self.close()
            self._child = self._start(is_ahead=is_ahead)
            self._is_ahead = is_ahead
        report = self._child.read(topic, partition, offset, count=count, size_bytes=size_bytes)
        if report.killed is not None:
            self.close()
        return report

    def _convict(self, topic: str, partition: int, first: int) -> tuple[ChildReport, UnreadableBatch | None]:
        """Have another child read the batch that one has died of; return what it reads, or the batch."""
        report = self._alone(topic, partition, first)
        if report.killed is None or report.messages:
            return report, None
        try:
            following = find_batch_end(self._kafka, topic, partition, report.begin)
        except KafkaException as error:
            raise Unproven(str(error)) from error
        return report, UnreadableBatch(topic, partition, report.begin, following, report.killed)

    def _alone(self, topic: str, partition: int, offset: int) -> ChildReport:
        child = self._start(is_alone=True)
        try:
            return child.read(topic, partition, offset)
        finally:
            child.end()

    def _start(self, *, is_alone: bool = False, is_ahead: bool = False) -> BatchChild:
        return BatchChild(
            self._kafka,
            self._deadline_s,
            self._is_stopped,
            is_alone=is_alone,
            is_ahead=is_ahead,
            is_committed=self._is_committed,
        )


def _following(record: TrialRecord) -> int:
    return record.following if isinstance(record, UnreadableBatch) else record.at + 1

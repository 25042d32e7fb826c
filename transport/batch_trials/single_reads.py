"""Reads of single messages at places that anyone may name or fill: a child process reads them.

A batch that does not fit into memory ends the child in place of this process.
"""

from __future__ import annotations

import time

from schemas.settings import KafkaSettings
from transport.batch_trials.child import BatchChild, ChildReport
from transport.batch_trials.pipe import Ended, Unproven


class SingleReads:
    """Reader of single messages. It keeps its child for the next one; for one thread at a time.

    Parameters
    ----------
    kafka
        ``host:port[,host:port]``.
    limit_s
        Longest time of one read, with the start of a child.
    is_alone
        False: the next batch may end the child before it delivers the message. This is faster.
    """

    def __init__(self, kafka: KafkaSettings, limit_s: float, *, is_alone: bool = True) -> None:
        self._kafka, self._limit_s, self._is_alone = kafka, limit_s, is_alone
        self._child: BatchChild | None = None

    def read(self, topic: str, partition: int, offset: int) -> ChildReport:
        """Return a report with the first message from an offset on.

        The report has no message at the end of the partition, or if the batch of the message has ended the child.

        Raises
        ------
        Unproven, OSError
            If nothing is known.
        """
        deadline_s = time.monotonic() + self._limit_s
        try:
            if self._child is not None:
                try:
                    return self._ask(self._child, topic, partition, offset, deadline_s)
                except Ended:  # something has ended it since the last read
                    self.close()
            self._child = BatchChild(self._kafka, deadline_s, is_alone=self._is_alone)
            return self._ask(self._child, topic, partition, offset, deadline_s)
        except (Unproven, OSError):
            self.close()
            raise

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _ask(self, child: BatchChild, topic: str, partition: int, offset: int, deadline_s: float) -> ChildReport:
        child.deadline_s = deadline_s
        report = child.read(topic, partition, offset)
        if report.killed is not None:
            self.close()
        return report

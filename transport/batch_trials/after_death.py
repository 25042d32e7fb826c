"""Trial of what is read next, after a process of the group has died: a batch may have ended it while it was fetched.

The process would fetch that batch again at each start. So children read each partition first, when it is assigned after
such a death, from the committed offset on and as far as a process may have read ahead (`transport.batch_trials.trial`).
The messages before a batch that ended them come from the children: no fetch of the worker's own client could leave the
batch out. The client goes on behind the batch. What cannot be tried in time is read as usual.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence

from confluent_kafka import TopicPartition

from schemas.settings import KafkaSettings
from transport.batch_trials.pipe import Unproven
from transport.batch_trials.trial import Trial, Tried
from transport.deaths import Deaths

log = logging.getLogger(__name__)

PartitionKey = tuple[str, int]

#: Time for all partitions; the group waits a minute for a member.
_LIMIT_S = 40.0
#: Messages that a process can have read ahead, see ``stream_buffer_maxsize``.
_MOST_COUNT = 4_096
#: Bytes that a process can have read ahead beyond what it holds: a fetch, and what the client keeps.
_AHEAD_BYTES = 16 * 1024 * 1024


class BatchTrials:
    """Trials of the partitions of one process.

    Parameters
    ----------
    kafka
        ``host:port[,host:port]``.
    deaths
        Deaths that were found.
    buffer_bytes
        Bytes that the process holds at most.
    watchdog_s
        Time after which a watchdog ends a process that reads nothing; 0: none does.
    """

    def __init__(self, kafka: KafkaSettings, deaths: Deaths, buffer_bytes: int, watchdog_s: float = 0.0) -> None:
        self._kafka = kafka
        self._deaths = deaths
        self._bytes = buffer_bytes + _AHEAD_BYTES
        self._limit_s = min(_LIMIT_S, watchdog_s * 2 / 3) if watchdog_s else _LIMIT_S

    def are_due(self) -> bool:
        """Return True if a process of the group has died since the last trial."""
        return self._deaths.are_due()

    def try_out(self, committed: Sequence[TopicPartition], is_stopped: Callable[[], bool]) -> dict[PartitionKey, Tried]:
        """Return what stands before unreadable batches, and in place of them, for the partitions that have any.

        Parameters
        ----------
        committed
            Committed offset of each partition; negative: none.
        is_stopped
            True ends the trial.
        """
        began_s = time.monotonic()
        trial = Trial(self._kafka, self._limit_s, is_stopped)
        found: dict[PartitionKey, Tried] = {}
        left = len(committed)
        try:
            # In any order: one that is not tried in time has its turn at another start.
            for place in random.sample(list(committed), left):
                result = trial.partition(
                    place.topic, place.partition, place.offset, count=_MOST_COUNT, size_bytes=self._bytes
                )
                if result.needed is not None:
                    found[place.topic, place.partition] = result.needed
                left -= 1
        except (Unproven, OSError) as error:
            log.warning("%d of %d partitions are read without a trial: %s", left, len(committed), error)
        finally:
            trial.close()
        log.info("a process of this group has died: what follows was tried in %.1f s", time.monotonic() - began_s)
        return found

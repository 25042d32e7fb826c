"""Measurement of one contender on a full topic: frames a second, CPU, memory.

A run ends after a time, not after a number of frames, so that a slow contender takes no longer than a fast one. The
rate comes from the broker's time stamps of the decisions. The window begins once decisions come and the consumer group
has settled: of two consumers, the first one works alone until its next heartbeat, for up to 3 s.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.contenders.table import Contender, Task
from benchmarks.gauge import Running
from benchmarks.line_topics import PARTITIONS, QUIET, appended, ends

_LOOK_S = 0.25
_START_S = 60.0
_STALLED_S = 30.0
#: Time for which a group must be at rest, in seconds. It covers the time between the starts of two processes.
_SETTLED_S = 1.5
#: Frames that a run processes before its window, in seconds at full speed: a heartbeat, `_SETTLED_S`, and a margin.
BEFORE_S = 6.0
_UNSETTLED = (ConsumerGroupState.PREPARING_REBALANCING, ConsumerGroupState.COMPLETING_REBALANCING)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Saturated:
    """Figures of one run: frames a second, CPU milliseconds a frame of the contender and of the broker, peak memory.

    ``frames`` is the number of frames decided in the window. ``cores_elsewhere`` is the mean number of cores that were
    busy with anything but the contender and the broker; this process and the time that a hypervisor took are included.
    """

    frames_per_s: float
    cpu_ms: float
    broker_cpu_ms: float
    peak_mib: float
    frames: int
    cores_elsewhere: float

    @property
    def per_cpu_s(self) -> float:
        """Frames per second of CPU time, with the broker's share included."""
        return 1000 / (self.cpu_ms + self.broker_cpu_ms)

    @property
    def cores(self) -> float:
        """Number of cores that the contender kept busy."""
        return self.frames_per_s * self.cpu_ms / 1000


def saturate(
    contender: Contender, task: Task, broker_pid: int, frames: int, seconds: float, partitions: int = PARTITIONS
) -> Saturated:
    """Run a contender on its topic of ``frames``, with a consumer group of its own, and measure it for ``seconds``.

    Raises
    ------
    RuntimeError
        If the contender ends, does not begin, stops on the way, or processes all frames before it can be measured.
    """
    task = dataclasses.replace(task, group=f"{task.group}-{time.time_ns():x}-{next(_numbers)}")
    topic = contender.decisions(task.stream)
    begin = ends(task.bootstrap_servers, topic, partitions)
    admin = AdminClient({"bootstrap.servers": task.bootstrap_servers, **QUIET})
    settling = _Settling(admin, task.group)
    since = until = 0.0
    with Running(contender.commands(task), broker_pid) as running:
        done, changed = 0, time.monotonic()
        while not since or time.time() < until:
            time.sleep(_LOOK_S)
            running.check()
            now = sum(ends(task.bootstrap_servers, topic, partitions, admin)) - sum(begin)
            if now != done:
                done, changed = now, time.monotonic()
            elif time.monotonic() - changed > (_STALLED_S if done else _START_S):
                raise RuntimeError(f"{done} of {frames} frames, and no more come:\n{running.logged()[-2000:]}")
            if done >= frames and not contender.endless:
                break
            if done and not since and settling.is_over():
                since = time.time()
                until = since + seconds
        stopped = time.time()
    times = sorted(at for at, _ in appended(task.bootstrap_servers, topic, begin))
    if done >= frames and not contender.endless:  # the last frames are spread unevenly over its threads
        stopped = times[len(times) * 9 // 10]
    if not since or stopped - since < seconds / 3:
        raise RuntimeError(f"all {frames} frames were eaten before it could be measured")
    first, last = window(times, since, stopped)
    count, since, until = last - first, times[first], times[last]
    own, broker = running.own.cpu_between(since, until), running.broker.cpu_between(since, until)
    return Saturated(
        frames_per_s=count / (until - since),
        cpu_ms=1000 * own / count,
        broker_cpu_ms=1000 * broker / count,
        peak_mib=max(running.own.pss) / 2**20,
        frames=count,
        cores_elsewhere=(running.machine.cpu_between(since, until) - own - broker) / (until - since),
    )


def window(times: Sequence[float], since: float, until: float) -> tuple[int, int]:
    """Return the indices of the first and the last of the ascending ``times`` that lie between two times.

    Raises
    ------
    RuntimeError
        If fewer than two of ``times`` lie between them.

    Examples
    --------
    >>> window([1.0, 2.0, 3.0, 4.0, 5.0], 1.5, 4.0)
    (1, 3)
    """
    first, last = bisect.bisect_left(times, since), bisect.bisect_right(times, until) - 1
    if last <= first:
        raise RuntimeError("too few decisions to measure")
    return first, last


class _Settling:
    """Observer of a consumer group, until it has been at rest for `_SETTLED_S`."""

    def __init__(self, admin: AdminClient, group: str) -> None:
        self._admin, self._group = admin, group
        self._since: float | None = None

    def is_over(self) -> bool:
        """Ask the broker, and return True if the group has been at rest long enough; call this repeatedly."""
        try:
            state = self._admin.describe_consumer_groups([self._group])[self._group].result(10).state
        except KafkaException:  # there is no such group: the contender no longer reads from Kafka
            state = None
        if state in _UNSETTLED:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        return self._since is not None and time.monotonic() - self._since > _SETTLED_S

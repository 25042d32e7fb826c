"""One contender on a topic that is full already: frames a second, CPU, memory.

The rate is taken from the broker's own time stamps of the decisions, between the first and the last tenth of them, so
that neither the start of a process nor its last, unevenly spread frames count. CPU seconds are those between the two.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from dataclasses import dataclass

from benchmarks.contenders.table import Contender, Task
from benchmarks.gauge import Running
from benchmarks.line_topics import PARTITIONS, appended, ends

_LOOK_S = 0.25
_START_S = 60.0
_STALLED_S = 30.0
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Saturated:
    """What one run gave: frames a second, CPU milliseconds a frame of the contender and of the broker, peak memory."""

    frames_per_s: float
    cpu_ms: float
    broker_cpu_ms: float
    peak_mib: float


def saturate(contender: Contender, task: Task, broker_pid: int, frames: int, partitions: int = PARTITIONS) -> Saturated:
    """Let a contender work through all ``frames`` of its topic, as a group of its own.

    Raises
    ------
    RuntimeError
        If it ends, does not begin, or stops on the way.
    """
    task = dataclasses.replace(task, group=f"{task.group}-{time.time_ns():x}-{next(_numbers)}")
    topic = contender.decisions(task.stream)
    begin = ends(task.bootstrap_servers, topic, partitions)
    with Running(contender.commands(task), broker_pid) as running:
        done, changed = 0, time.monotonic()
        while done < frames:
            time.sleep(_LOOK_S)
            running.check()
            now = sum(ends(task.bootstrap_servers, topic, partitions)) - sum(begin)
            if now != done:
                done, changed = now, time.monotonic()
            elif time.monotonic() - changed > (_STALLED_S if done else _START_S):
                raise RuntimeError(f"{done} of {frames} frames, and no more come:\n{running.logged()[-2000:]}")
    times = sorted(at for at, _ in appended(task.bootstrap_servers, topic, begin))
    first, last = len(times) // 10, len(times) - len(times) // 10 - 1
    since, until, count = times[first], times[last], last - first
    return Saturated(
        frames_per_s=count / (until - since),
        cpu_ms=1000 * running.own.cpu_between(since, until) / count,
        broker_cpu_ms=1000 * running.broker.cpu_between(since, until) / count,
        peak_mib=max(running.own.rss) / 2**20,
    )

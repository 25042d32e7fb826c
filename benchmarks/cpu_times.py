"""Processor time of processes and their children. Unlike a rate, it changes little on a busy machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import psutil


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the processor time of each process and its living descendants until now, in seconds.

    Examples
    --------
    >>> import os
    >>> cpu_seconds({"this": os.getpid()})["this"] > 0
    True
    """
    return {name: _tree_seconds(pid) for name, pid in pids.items()}


def cpu_ms_per_answer(before: Mapping[str, float], after: Mapping[str, float], answers: int) -> dict[str, float]:
    """Return the milliseconds of processor time for one answer, by process.

    Examples
    --------
    >>> cpu_ms_per_answer({"worker": 1.0}, {"worker": 4.5}, 1000)
    {'worker': 3.5}
    """
    return {name: round((after[name] - before[name]) * 1e3 / max(1, answers), 2) for name in after}


def _tree_seconds(pid: int) -> float:
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            spent = process.cpu_times()
            total += spent.user + spent.system
    return total

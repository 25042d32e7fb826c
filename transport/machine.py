"""Cores and memory that this process may use, which can be less than the machine has.

A process is bound to cores by its affinity (``taskset``, cpusets), and a container has a quota of CPU time and a limit
of memory (Linux control groups, version 1 and 2: kernel documentation, "cgroup-v2" and "cgroup-v1"). Python's
``os.cpu_count`` counts the cores of the machine. Quotas and limits apply to all groups below them, so those of all
parents are read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_MEMBERSHIP = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")
_MEMORY = Path("/proc/meminfo")


def usable_cores(membership: Path = _MEMBERSHIP, mounted: Path = _MOUNTED) -> int:
    """Return the number of cores that this process may use, by affinity and quota; a part of a core counts as one.

    Parameters
    ----------
    membership, mounted
        File with the control groups of the process, and folder in which the kernel shows them.

    Examples
    --------
    >>> 1 <= usable_cores() <= os.cpu_count()
    True
    """
    try:
        bound = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not Linux
        bound = os.cpu_count() or 1
    quotas = [quota for folder in _folders(membership, mounted, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([bound, *(math.ceil(quota) for quota in quotas)]))


def usable_memory_bytes(membership: Path = _MEMBERSHIP, mounted: Path = _MOUNTED, memory: Path = _MEMORY) -> int | None:
    """Return the memory that this process may use, by the machine and its control groups; None if unknown.

    Examples
    --------
    >>> usable_memory_bytes(Path("/nowhere"), Path("/nowhere"), Path("/nowhere")) is None
    True
    """
    limits = [
        limit
        for folder in _folders(membership, mounted, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (limit := _number(_words(folder / name)[:1])) is not None
    ]
    if (machine := machine_memory_bytes(memory)) is not None:
        limits.append(machine)
    return min(limits, default=None)


def machine_memory_bytes(memory: Path = _MEMORY) -> int | None:
    """Return the memory of the machine; None if unknown."""
    words = _words(memory)
    kib = _number(words[1:2]) if words[:1] == ["MemTotal:"] else None
    return None if kib is None else kib * 1024


def _folders(membership: Path, mounted: Path, controller: str) -> Iterator[Path]:
    """Return the folders of the control groups of the process for a controller, and those of their parents."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:  # version 2; beside version 1 it may have its own folder
            roots = [mounted, mounted / "unified"]
        elif controller in controllers.split(","):
            roots = [mounted / controllers, mounted / controller]
        else:
            continue
        # In a container the group can be shown as the root: then a path that does not exist still leads to it.
        below = [part for part in path.split("/") if part and part != ".."]
        for root in roots:
            for depth in range(len(below) + 1):
                yield root.joinpath(*below[:depth])


def _quota(folder: Path) -> float | None:
    """Return the CPU time that a control group may use, in cores; None if there is no quota."""
    words = _words(folder / "cpu.max")
    if words:
        words = [*words, "100000"][:2]
    else:
        words = [*_words(folder / "cpu.cfs_quota_us")[:1], *_words(folder / "cpu.cfs_period_us")[:1]]
    quota_us, period_us = _number(words[:1]), _number(words[1:2])
    return quota_us / period_us if quota_us and period_us else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return []


def _number(words: list[str]) -> int | None:
    """Return a number above 0; None for ``max`` and -1, which mean no limit."""
    return int(words[0]) if words and words[0].isdecimal() and int(words[0]) > 0 else None

"""Start, limits and end of a child process that reads, in place of its parent, what may end a process."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def start_child(*command: str) -> subprocess.Popen[bytes]:
    """Start a Python program with this process's paths, and with pipes as its input and output.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    path = os.pathsep.join(each or os.getcwd() for each in sys.path)
    return subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C must reach only the parent
    )


def limit_child() -> None:
    """Make this process end with its parent, write no core dump, and be the first to end if memory is short."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def limit_memory(size_bytes: int) -> None:
    """Limit the memory of this process to a size, or to its own limit if that is lower."""
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if most != resource.RLIM_INFINITY:
        size_bytes = min(size_bytes, most)
    resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, size_bytes))


def end_child(process: subprocess.Popen[Any]) -> None:
    """Kill a child process, wait for its end, and close its pipes."""
    with suppress(OSError):
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()

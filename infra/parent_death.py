"""Child processes that end with their parent, even if the parent is killed (Linux, prctl(2), PR_SET_PDEATHSIG)."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> Callable[[], None]:
    """Return a ``preexec_fn`` for `subprocess.Popen`: the child gets SIGTERM when the thread that started it ends.

    So start the child from the main thread. The library is loaded here, because little is safe between fork and exec.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def set_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return set_signal

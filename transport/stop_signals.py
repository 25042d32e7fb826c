"""Signals that ask a program to stop in order, the same ones for all programs."""

from __future__ import annotations

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return SIGINT, SIGTERM, and SIGHUP, which a terminal or a remote session sends when it is closed.

    SIGHUP is left out if it is ignored, as ``nohup`` has it: the program then outlives its terminal.

    Examples
    --------
    >>> signal.SIGTERM in stop_signals()
    True
    """
    found = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return found if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else found[:2]

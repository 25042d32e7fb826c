"""Call of foreign code in a thread, with a limit of time: for the testing kits of cameras and drivers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def call_in_thread(function: Callable[[], object], timeout_s: float, name: str) -> None:
    """Call a function in a daemon thread of its own, and wait for its end.

    Raises
    ------
    TimeoutError
        If the function takes longer than ``timeout_s``; its thread is abandoned.
    BaseException
        The error of the function.

    Examples
    --------
    >>> call_in_thread(lambda: 1 / 0, 5, "divide")
    Traceback (most recent call last):
    ...
    ZeroDivisionError: division by zero
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the caller
            raised.append(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise TimeoutError(f"{name} takes longer than {timeout_s:g} s")
    if raised:
        raise raised[0]


def threads_left(before: set[threading.Thread], patience_s: float) -> list[str]:
    """Return the names of the threads that were started since ``before``, after waiting for their end.

    Examples
    --------
    >>> before = set(threading.enumerate())
    >>> threading.Timer(0.01, list).start()
    >>> threads_left(before, patience_s=5)
    []
    """
    deadline_s = time.monotonic() + patience_s
    # The own thread may be newer than `before`; it cannot wait for itself.
    new = set(threading.enumerate()) - before - {threading.current_thread()}
    for thread in new:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return sorted(thread.name for thread in new if thread.is_alive())

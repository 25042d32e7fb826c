"""Thread of a sender that does not end unnoticed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping

from schemas.errors import InspectionError, error_line

_log = logging.getLogger(__name__)


class SenderStopped(InspectionError):
    """Error: a thread of a sender has ended by a fault of the program; nothing is sent any more."""


class SenderThread(threading.Thread):
    """Thread that keeps the error that ended it.

    Parameters
    ----------
    work
        Function to run.
    name
        Name of the thread, for the log.
    on_failed
        Called in the thread after an error, to wake those who wait for it.

    Examples
    --------
    >>> thread = SenderThread(lambda: None, "send press/top", lambda: None)
    >>> thread.start()
    >>> thread.join()
    >>> check_running([thread])
    """

    def __init__(self, work: Callable[[], object], name: str, on_failed: Callable[[], object]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._on_failed = on_failed
        self.error: Exception | None = None

    def run(self) -> None:
        """Run the function; keep its error."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - kept, and raised where somebody waits for the sender
            self.error = error
            _log.exception("the thread %s has ended", self.name)
            self._on_failed()


def start_threads(work: Mapping[str, Callable[[], object]], on_failed: Callable[[], object]) -> list[SenderThread]:
    """Start a thread for each function, by the name of the thread, and return the threads."""
    threads = [SenderThread(function, name, on_failed) for name, function in work.items()]
    for thread in threads:
        thread.start()
    return threads


def check_running(threads: Iterable[SenderThread]) -> None:
    """Check that no thread has ended by an error.

    Raises
    ------
    SenderStopped
        If one has.
    """
    for thread in threads:
        if thread.error is not None:
            what = f"{type(thread.error).__name__}: {error_line(thread.error)}"
            raise SenderStopped(f"nothing is sent any more, a fault of the program: {what}") from thread.error

"""Processes of a command that is several: each ends with its parent, and tells the parent why it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from schemas.errors import InspectionError


class ChildFailed(InspectionError):
    """A process has ended with an error; text and exit status are those of the error."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.exit_code = status


@dataclass(frozen=True, slots=True)
class ChildFailure:
    """Last message of a process. Its own exit status may be another one: a signal can still end it after this."""

    text: str
    status: int

    def error(self) -> ChildFailed:
        """Return the error for the parent."""
        return ChildFailed(self.text, self.status)


def tell(pipe: Connection, message: object) -> None:
    """Send a message to the parent; nothing happens if the parent has gone."""
    with suppress(BrokenPipeError, ConnectionResetError):
        pipe.send(message)


@contextmanager
def child_of(pipe: Connection) -> Iterator[None]:
    """Run the block in a process that a parent has started.

    The process gets SIGTERM when the parent has gone. SIGINT and SIGHUP, which a terminal sends to all processes, are
    left to the parent. An error that a user can cause is sent through the pipe, and is the exit status.

    Parameters
    ----------
    pipe
        The process's end. The parent holds the other one, and sends nothing.

    Raises
    ------
    SystemExit
        With the status of the error.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    try:
        yield
    except InspectionError as error:
        tell(pipe, ChildFailure(str(error), error.exit_code))
        raise SystemExit(error.exit_code) from None


def _end_with_parent(pipe: Connection) -> None:
    try:
        pipe.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)

"""Conversion of signals into an event or an exit, so that a command can end in order.

A handler written in Python runs in the main thread between two instructions, also while this thread holds a lock. A
handler that takes the same lock waits for its own thread, for ever (python/cpython#126434). The handlers here take no
lock. `stop_on_signals` leaves the work to a thread that the interpreter wakes through a socket
(`signal.set_wakeup_fd`), so it also works while the main thread is inside native code.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Signals this close together are one request: `timeout` signals the process and its group, a terminal does likewise.
ONE_REQUEST_S = 0.25
#: The thread sets the event at once; only a caller that never releases the event's lock can use up this time.
_JOIN_S = 5.0


def end_on_sigterm_as_first_process() -> None:
    """Give SIGTERM its usual effect if this is process 1, as in a container: the kernel gives that process none.

    Without it a container that is stopped before its program handles signals is killed, only after a time-out.
    `stop_on_signals` and others replace this handler.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set the event at the first SIGINT or SIGTERM; end the process at the second one.

    Signals within `ONE_REQUEST_S` of the first one count as the same request. A later one ends the process at once
    with status 128 + number (130 for Ctrl-C) and one line on standard error.

    Only the main thread may set handlers; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    numbers = (signal.SIGINT, signal.SIGTERM)
    watch = _Watch(reader, frozenset(numbers), stop)
    thread = threading.Thread(target=watch.run, name="signals", daemon=True)
    thread.start()
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _leave_to_the_thread) for number in numbers}
    try:
        yield
    finally:
        # The work may end before the last signal of the request comes, which would then end the process.
        if watch.asked_s is not None:
            time.sleep(max(0.0, watch.asked_s + ONE_REQUEST_S - time.monotonic()))
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        writer.close()  # the thread reads earlier bytes first, then the end
        thread.join(_JOIN_S)


def _leave_to_the_thread(_number: int, _frame: FrameType | None) -> None:
    """Replace the default action; the interpreter has written the number to the socket already."""


class _Watch:
    """Reader of the numbers that the interpreter writes; ``asked_s`` is the time of the first request."""

    def __init__(self, reader: socket.socket, numbers: frozenset[int], stop: threading.Event) -> None:
        self._reader, self._numbers, self._stop = reader, numbers, stop
        self.asked_s: float | None = None

    def run(self) -> None:
        with self._reader:
            while received := self._reader.recv(64):
                for number in received:
                    if number in self._numbers:  # other signals with a handler are written too
                        self._received(number)

    def _received(self, number: int) -> None:
        now_s = time.monotonic()
        if self.asked_s is None:
            self.asked_s = now_s
            self._stop.set()
        elif now_s - self.asked_s > ONE_REQUEST_S:
            _end_at_once(number)


def _end_at_once(number: int) -> None:
    """End the process without any cleanup: the kernel frees locks and sockets."""
    name = signal.Signals(number).name
    try:
        # Do not print or log: a thread that does not end may hold the locks of print and logging.
        os.write(2, f"error: a second signal ({name}): ended at once, nothing was finished\n".encode())
    finally:
        os._exit(128 + number)


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP (a closed terminal) into SystemExit, so that started programs are stopped.

    Only the first signal raises, so no other one interrupts the cleanup. Signals within `ONE_REQUEST_S` of it count as
    the same request; a later SIGINT or SIGTERM ends the process at once. Only the main thread may set handlers.
    """
    asked_s: float | None = None

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked_s
        now_s = time.monotonic()
        if asked_s is None:
            asked_s = now_s
            raise SystemExit(128 + number)
        if now_s - asked_s > ONE_REQUEST_S and number != signal.SIGHUP:
            _end_at_once(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Conversion of signals into an event or an exit, so that a command can end in order.

A handler written in Python runs in the main thread between two instructions, also while this thread holds a lock. A
handler that takes the same lock waits for its own thread, for ever (python/cpython#126434). The handlers here take no
lock. `stop_on_signals` leaves the work to a thread that the interpreter wakes through a socket
(`signal.set_wakeup_fd`), so it also works while the main thread is inside native code.

`end_on_signals` surrounds every command: one without a way of its own to end is stopped where it is, removes what it
had begun, and says so in one line.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from transport.stop_signals import stop_signals

#: Signals this close together are one request: `timeout` signals the process and its group, a terminal does likewise.
ONE_REQUEST_S = 0.25
#: Time for a command that a signal has stopped, until it is ended whatever it does.
_CLEANUP_S = 5.0
#: The thread sets the event at once; only a caller that never releases the event's lock can use up this time.
_JOIN_S = 5.0


def end_on_sigterm_as_first_process() -> None:
    """Give SIGTERM its usual effect if this is process 1, as in a container: the kernel gives that process none.

    Without it a container that is stopped before its program handles signals is killed, only after a time-out.
    `stop_on_signals` and others replace this handler.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))


class StopRequest(threading.Event):
    """Event of `stop_on_signals` that knows the exit status of a command which a signal has stopped.

    Examples
    --------
    >>> StopRequest().status
    130
    """

    def __init__(self) -> None:
        super().__init__()
        #: 128 + number of the signal, as shells report it.
        self.status = 128 + signal.SIGINT


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set the event at the first of the `stop_signals`; end the process at a second SIGINT or SIGTERM.

    Signals within `ONE_REQUEST_S` of the first one count as the same request. A later one ends the process at once
    with status 128 + number (130 for Ctrl-C) and one line on standard error. A later SIGHUP changes nothing: a terminal
    that is closed may send several.

    Only the main thread may set handlers; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    numbers = stop_signals()
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
            if isinstance(self._stop, StopRequest):
                self._stop.status = 128 + number
            self._stop.set()
        elif now_s - self.asked_s > ONE_REQUEST_S and number != signal.SIGHUP:
            _end_at_once(number)


def _end_at_once(number: int, why: str = "a second signal ({name}): ended at once, nothing was finished") -> None:
    """End the process without any cleanup: the kernel frees locks and sockets."""
    _write_line(why.format(name=signal.Signals(number).name))
    os._exit(128 + number)


def _write_line(text: str) -> None:
    """Write to standard error without its lock, and that of logging: a thread that does not end may hold them."""
    with suppress(OSError):
        os.write(2, f"error: {text}\n".encode(errors="backslashreplace"))


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


class StoppedBySignal(SystemExit):
    """Exit with status 128 + number; notes (`add_note`) say what a command leaves behind."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Raise `StoppedBySignal` in the block at SIGINT, SIGTERM or SIGHUP, and say so in one line at its end.

    Signals within `ONE_REQUEST_S` of the first one count as the same request; a later SIGINT or SIGTERM ends the
    process at once. After `_CLEANUP_S` the process ends whatever it does, so no native call outlives a signal for long.
    A signal that was ignored, as SIGHUP under `nohup`, stays so. Only the main thread may set handlers; elsewhere this
    does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise StoppedBySignal(number)

    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    ]
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    limit = _Limit(reader, handle)
    thread = threading.Thread(target=limit.run, name="end-on-signals", daemon=True)
    thread.start()
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    except BaseException as error:
        stopped = _stop_behind(error)
        if stopped is None:
            raise
        notes = "".join(f"; {note}" for note in getattr(stopped, "__notes__", ()))
        _write_line(f"stopped by {signal.Signals(stopped.number).name}{notes}")
        # A handler that raises again would replace this exit.
        time.sleep(ONE_REQUEST_S)
        raise stopped from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        writer.close()
        thread.join(_JOIN_S)


def _stop_behind(error: BaseException | None) -> StoppedBySignal | None:
    """Return the stop that an error is or was raised from: a library makes an ImportError of it while it is loaded."""
    while error is not None and not isinstance(error, StoppedBySignal):
        error = error.__cause__
    return error


class _Limit:
    """Reader of the numbers that the interpreter writes: it ends a process that does not end by itself."""

    def __init__(self, reader: socket.socket, handler: Callable[[int, FrameType | None], None]) -> None:
        self._reader, self._handler = reader, handler
        self._first: tuple[int, float] | None = None

    def run(self) -> None:
        with self._reader:
            while received := self._next():
                for number in received:
                    # A command may have a handler of its own, which ends it in its own time.
                    if signal.getsignal(number) is self._handler:
                        self._received(number)

    def _next(self) -> bytes:
        if self._first is None:
            return self._reader.recv(64)
        number, asked_s = self._first
        self._reader.settimeout(max(0.001, asked_s + _CLEANUP_S - time.monotonic()))
        try:
            return self._reader.recv(64)
        except TimeoutError:
            _end_at_once(number, f"{{name}}: ended after {_CLEANUP_S:.0f} s without its cleanup")
            raise AssertionError from None  # the process has ended

    def _received(self, number: int) -> None:
        now_s = time.monotonic()
        if self._first is None:
            self._first = number, now_s
        elif now_s - self._first[1] > ONE_REQUEST_S and number != signal.SIGHUP:
            _end_at_once(number)


@contextmanager
def kept(option: str, path: Path) -> Iterator[None]:
    """Add to a stop within the block what is at the path of an output: the earlier one, or the complete new one."""
    before = _identity(path)
    try:
        yield
    except StoppedBySignal as stopped:
        state = "is complete" if _identity(path) != before else "is as it was" if before else "was not written"
        stopped.add_note(f"{option} {path} {state}")
        raise


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, 0 if path.is_dir() else found.st_mtime_ns

"""Programs on a terminal of their own, which a test closes."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import termios
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_PATIENCE_S = 60.0


class ProgramOnTerminal:
    """Program whose input and output are a terminal; its standard error goes to a file. It ends with the block."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        self._terminal, theirs = pty.openpty()
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=theirs, stdout=theirs, stderr=errors, preexec_fn=_take_terminal
            )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._closing = threading.Event()
        self._reader.start()

    def __enter__(self) -> ProgramOnTerminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self.close_terminal()

    def await_log(self, text: str) -> None:
        """Wait until a text is in the log."""
        end_s = time.monotonic() + _PATIENCE_S
        while text not in (found := self._log.read_text(errors="replace")):
            assert self._process.poll() is None, found
            assert time.monotonic() < end_s, found
            time.sleep(0.05)

    def close_terminal(self) -> None:
        """Close the terminal: the kernel sends SIGHUP, and what the program writes to it fails. Idempotent."""
        if not self._closing.is_set():
            self._closing.set()
            self._reader.join(_PATIENCE_S)
            os.close(self._terminal)

    def wait(self) -> int:
        """Return the exit status."""
        return self._process.wait(_PATIENCE_S)

    def _read(self) -> None:
        """Read what the program writes: a terminal that nobody reads would hold it up."""
        os.set_blocking(self._terminal, False)
        while not self._closing.wait(0.05):
            with suppress(OSError):
                os.read(self._terminal, 65536)


def _take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

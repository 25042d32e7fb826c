"""Answers of a child process: lines of JSON, with bytes behind them. Nothing that it says is trusted."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from transport.batches import BOUNDED
from transport.limited_child import end_child

#: Longest line: headers of the largest message, two digits a byte.
_LONGEST_LINE = 64 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_LOOK_S = 0.2


class Unproven(Exception):
    """Nothing is known: the time is over, or the child ended of something else than a batch."""


class Ended(Unproven):
    """The output of the child has ended."""


class ChildPipe:
    """Input and output of a child process.

    Parameters
    ----------
    deadline_s
        Time on the monotonic clock up to which answers are waited for; may be changed.
    is_stopped
        Asked again and again: True ends the waiting.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], deadline_s: float, is_stopped: Callable[[], bool] = lambda: False
    ) -> None:
        assert process.stdout is not None
        self._process = process
        self._out = process.stdout.fileno()
        self.deadline_s, self._is_stopped = deadline_s, is_stopped
        self._received = bytearray()

    def tell(self, **what: Any) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        line = json.dumps(what).encode() + b"\n"
        with suppress(OSError):  # it has ended, which the next answer shows
            while line:
                line = line[os.write(self._process.stdin.fileno(), line) :]

    def hear(self) -> dict[str, Any]:
        """Return the next line.

        Raises
        ------
        Unproven
            If it does not come in time, or is no object of JSON; `Ended` if the output has ended.
        """
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > _LONGEST_LINE:
                raise broken()
            self._more()
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        try:
            report = json.loads(line)
        except (ValueError, RecursionError):
            report = None
        if not isinstance(report, dict):
            raise broken()
        return report

    def content(self, size: Any) -> bytes | None:
        """Return as many bytes as a line has announced; None for None.

        Raises
        ------
        Unproven
            See `hear`.
        """
        if size is None:
            return None
        if type(size) is not int or not 0 <= size <= BOUNDED["receive.message.max.bytes"]:
            raise broken()
        while len(self._received) < size:
            self._more()
        content = bytes(memoryview(self._received)[:size])
        del self._received[:size]
        return content

    def status(self) -> int:
        """Return the exit status of a child whose output has ended.

        Raises
        ------
        Unproven
            If it does not end.
        """
        try:
            return self._process.wait(max(0.1, min(5.0, self.deadline_s - time.monotonic())))
        except subprocess.TimeoutExpired:
            raise broken() from None

    def end(self) -> None:
        """End the process."""
        end_child(self._process)

    def _more(self) -> None:
        while True:
            left_s = self.deadline_s - time.monotonic()
            if left_s <= 0 or self._is_stopped():
                raise Unproven("the time is over")
            if select.select([self._out], [], [], min(_LOOK_S, left_s))[0]:
                break
        more = os.read(self._out, _READ_BYTES)
        if not more:
            raise Ended("the child process has ended")
        self._received += more


def broken() -> Unproven:
    """Return the error for an answer that breaks the protocol."""
    return Unproven("the child process breaks the protocol")


def number(report: dict[str, Any], name: str) -> int:
    """Return an offset that a line has.

    Raises
    ------
    Unproven
        If it has none.
    """
    found = report.get(name)
    if type(found) is not int or not 0 <= found < 2**63:
        raise broken()
    return found

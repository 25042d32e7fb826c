"""Processes of one gateway: they answer each other's questions over Unix sockets in a folder of their user's.

A request may reach any of them. Each process reads all decisions, but not at the same moment, and before the decision
only the process that published a frame knows it. ``/metrics`` shows the figures of all.

::

    metrics\\n           the text of the process's own metrics
    knows FRAME_ID\\n    1 if the process published the frame or knows its decision, else 0
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from schemas.errors import SettingsError
from schemas.text import shown

#: A sibling that does not answer within this time, in seconds, is left out.
_ANSWER_S = 1.0
_LONGEST_LINE = 4096
#: Longest path of a Unix socket that every system takes, in bytes.
_LONGEST_PATH = 103


def require_short(folder: Path) -> None:
    """Check that the paths of sockets in a folder are not too long.

    Raises
    ------
    SettingsError
        If they are too long.
    """
    size = len(os.fsencode(folder / "99.sock"))
    if size > _LONGEST_PATH:
        raise SettingsError(
            f"TMPDIR: a socket in {shown(folder.parent)} would have a path of {size} bytes, more than {_LONGEST_PATH}; "
            "name a shorter folder, as in TMPDIR=/tmp"
        )


class Siblings:
    """Other processes of this gateway. Call from the event loop only, except for the constructor.

    Parameters
    ----------
    folder
        Folder with the sockets of all processes.
    number, count
        Number of this process, from 0, and of all processes.
    """

    def __init__(self, folder: Path, number: int, count: int) -> None:
        self.folder = folder
        self.number = number
        self._others = [other for other in range(count) if other != number]

    async def serve(self, metrics: Callable[[], bytes], knows: Callable[[str], bool]) -> asyncio.Server:
        """Answer the questions of the others until the server is closed.

        Parameters
        ----------
        metrics
            Returns the text of the process's own metrics; called in another thread.
        knows
            Returns True if this process published a frame or knows its decision.
        """

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, ValueError, asyncio.IncompleteReadError):
                line = (await reader.readuntil(b"\n")).decode().rstrip("\n")
                word, _, frame_id = line.partition(" ")
                if word == "metrics":
                    writer.write(await asyncio.to_thread(metrics))
                elif word == "knows":
                    writer.write(b"1" if knows(frame_id) else b"0")
                await writer.drain()
            writer.close()

        return await asyncio.start_unix_server(answer, self._path(self.number), limit=_LONGEST_LINE)

    def _path(self, number: int) -> str:
        return str(self.folder / f"{number}.sock")

    async def metrics(self) -> dict[str, str]:
        """Return the metrics of the others, by number; those that do not answer are left out."""
        answers = await asyncio.gather(*(self._ask(other, "metrics") for other in self._others))
        return {str(other): text for other, text in zip(self._others, answers, strict=True) if text is not None}

    async def know(self, frame_id: str) -> bool:
        """Return True if another process published a frame or knows its decision."""
        if "\n" in frame_id or len(frame_id) > _LONGEST_LINE // 8:
            return False
        answers = await asyncio.gather(*(self._ask(other, f"knows {frame_id}") for other in self._others))
        return "1" in answers

    async def _ask(self, other: int, question: str) -> str | None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(self._path(other))
                try:
                    writer.write(f"{question}\n".encode())
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError):
            return None

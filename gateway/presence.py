"""Client of a request that waits: it may hang up before its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive


class Presence:
    """Connection of a client whose body has been read. A wait ends when the client hangs up.

    Call from the event loop only.

    Parameters
    ----------
    receive
        The request's ``receive`` of ASGI.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._waits: set[asyncio.Future[Any]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._has_left = False

    @contextmanager
    def ends(self, wait: asyncio.Future[Any]) -> Iterator[None]:
        """End a wait with ClientDisconnect if the client hangs up within the block, or has done so before."""
        self._waits.add(wait)
        if self._has_left:
            self._end(wait)
        elif self._watch is None:
            self._watch = asyncio.create_task(self._end_waits())
        try:
            yield
        finally:
            self._waits.discard(wait)
            if not self._waits and self._watch is not None:
                self._watch.cancel()
                self._watch = None

    async def _end_waits(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._has_left = True
        for wait in self._waits:
            self._end(wait)

    @staticmethod
    def _end(wait: asyncio.Future[Any]) -> None:
        if not wait.done():
            wait.set_exception(ClientDisconnect())

"""Reading of request bodies: bounded in size, in time, and in the memory of all requests together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from gateway.problems import Problem
from gateway.whole_numbers import whole_number

#: Largest rest of a refused body that is read, in bytes, and the longest time for it, in seconds. A client that writes
#: its whole body first would otherwise see a broken connection instead of the answer.
_DRAINED_BYTES = 32 * 1024 * 1024
_DRAINED_S = 2.0
#: Bodies above this size are parsed in another thread, in bytes.
_LARGE_BYTES = 1024 * 1024

_T = TypeVar("_T")


class BodyMemory:
    """Memory that the bodies of all requests share. Call from the event loop only.

    Parameters
    ----------
    total_bytes, share_bytes
        Memory of all clients, and of one client, in bytes.

    Examples
    --------
    >>> memory = BodyMemory(100, 80)
    >>> memory.take("press-7", 60)
    >>> memory.take("mes", 60)
    Traceback (most recent call last):
    ...
    gateway.problems.Problem: the bodies of other requests fill the memory of 100 bytes
    >>> memory.release("press-7", 60)
    """

    def __init__(self, total_bytes: int, share_bytes: int) -> None:
        self._total_bytes = total_bytes
        self.share_bytes = share_bytes
        self._of_client: Counter[str] = Counter()
        self.used_bytes = 0

    def require(self, client: str, size_bytes: int) -> None:
        """Check that there is memory for a body of a client.

        Raises
        ------
        Problem
            ``overloaded``, or ``quota`` if the client uses its share.
        """
        if self.used_bytes + size_bytes > self._total_bytes:
            raise Problem(
                "overloaded",
                f"the bodies of other requests fill the memory of {self._total_bytes} bytes",
                retry_after_s=1,
            )
        if self._of_client[client] + size_bytes > self.share_bytes:
            raise Problem(
                "quota", f"the bodies of {client} fill its share of {self.share_bytes} bytes", retry_after_s=1
            )

    def take(self, client: str, size_bytes: int) -> None:
        """Take memory.

        Raises
        ------
        Problem
            See `require`.
        """
        self.require(client, size_bytes)
        self.used_bytes += size_bytes
        self._of_client[client] += size_bytes

    def release(self, client: str, size_bytes: int) -> None:
        """Return memory."""
        self.used_bytes -= size_bytes
        self._of_client[client] -= size_bytes
        if not self._of_client[client]:
            del self._of_client[client]


def declared_size(request: Request, most_bytes: int) -> int | None:
    """Return the length that the request states; None for a chunked body.

    Raises
    ------
    Problem
        ``too-large``, before any byte of the body is read.
    """
    text = request.headers.get("content-length")
    if text is None:
        return None
    size = whole_number(text)
    if size is None or size > most_bytes:
        raise _too_large(most_bytes)
    return size


def _too_large(most_bytes: int) -> Problem:
    return Problem("too-large", f"the body is larger than {most_bytes} bytes")


class Body:
    """Body of a request in memory, which is returned at the end of the block at the latest.

    Only what has arrived takes memory, not what the head of the request states.
    """

    def __init__(self, memory: BodyMemory, client: str) -> None:
        self._memory = memory
        self._client = client
        self._taken = 0

    async def read(self, request: Request, most_bytes: int, body_s: float, wait_s: float = 0.0) -> bytes:
        """Read the body.

        Parameters
        ----------
        body_s, wait_s
            Longest time for a body, and the wait of the request, in seconds; 0: it does not wait.

        Raises
        ------
        Problem
            ``too-large``, ``too-slow``, ``overloaded``, ``quota``, or ``deadline-exceeded`` if the wait ends first.
        """
        most_bytes = min(most_bytes, self._memory.share_bytes)
        timeout_s = min(body_s, wait_s) if wait_s else body_s
        declared = declared_size(request, most_bytes)
        if declared is not None:
            self._memory.require(self._client, declared)
        data = bytearray()
        try:
            async with asyncio.timeout(timeout_s):
                async for chunk in request.stream():
                    data += chunk
                    if len(data) > most_bytes:
                        raise _too_large(most_bytes)
                    self._memory.take(self._client, len(chunk))
                    self._taken += len(chunk)
        except TimeoutError:
            name = "too-slow" if timeout_s == body_s else "deadline-exceeded"
            raise Problem(name, f"the body was not complete after {timeout_s:g} s") from None
        return bytes(data)

    def release(self) -> None:
        """Return the memory: the bytes are not needed any more. Idempotent."""
        self._memory.release(self._client, self._taken)
        self._taken = 0

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


async def parsed(data: bytes, parse: Callable[[bytes], _T]) -> _T:
    """Return what a parser finds in a body; a large body does not hold up other requests."""
    return parse(data) if len(data) <= _LARGE_BYTES else await asyncio.to_thread(parse, data)


async def drain(request: Request) -> None:
    """Read what is left of the body of a refused request, within bounds.

    A client that waits for ``100 Continue`` has sent nothing yet and needs no reading.
    """
    if request.headers.get("expect", "").lower() == "100-continue":
        return
    declared = request.headers.get("content-length")
    if declared is not None and ((size := whole_number(declared)) is None or size > _DRAINED_BYTES):
        return
    left = _DRAINED_BYTES
    try:
        async with asyncio.timeout(_DRAINED_S):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        return

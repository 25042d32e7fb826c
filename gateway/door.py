"""Door of the application: what happens to every request before and after its route."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.bodies import drain
from gateway.metrics import GatewayMetrics
from gateway.problems import Problem
from gateway.protocol import HEAD_BYTES
from gateway.request_target import in_origin_form


class Door:
    """ASGI middleware.

    - Without tokens it refuses requests that a page in a browser could send: those with another site's ``Origin``, or
      with a ``Host`` that is not a name of this machine.
    - It accepts a target in absolute form, before all else.
    - It refuses a head that is too large, which the parser takes if it comes in one piece.
    - It reads the rest of a refused body, so that the client sees the answer.
    - It sets headers that all answers have, and counts the answers.
    - It answers what the server cancels at its end: a body that still comes, or a wait for Kafka.

    Parameters
    ----------
    is_open
        True if there are no tokens.
    is_draining
        Returns True if the gateway takes no more requests. Its answers then end their connections.
    """

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics, is_open: bool, is_draining: Callable[[], bool]) -> None:
        self.app = app
        self._metrics = metrics
        self._is_open = is_open
        self._is_draining = is_draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            return
        scope = in_origin_form(scope)
        is_complete = has_started = is_cancelled = False

        async def receive_and_note() -> Message:
            nonlocal is_complete
            message = await receive()
            is_complete |= message["type"] != "http.request" or not message.get("more_body", False)
            return message

        async def send_after_drain(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                is_late = message["status"] == 408 or is_cancelled  # the client was given its time already
                if _has_body(headers) and not is_complete and not is_late:
                    await drain(Request(scope, receive_and_note))
                _set_headers(message)
                # While it stops, a further request on this connection would find it closed.
                if (_has_body(headers) and not is_complete) or self._is_draining():
                    MutableHeaders(scope=message)["Connection"] = "close"
                self._metrics.answered(scope, message["status"])
                has_started = True
            await send(message)

        headers = Headers(scope=scope)
        self._metrics.came(scope)
        refusal = _too_large(scope) or (_refusal(scope, headers) if self._is_open else None)
        if refusal is not None:
            await refusal.response(scope["path"])(scope, receive_and_note, send_after_drain)
            return
        try:
            await self.app(scope, receive_and_note, send_after_drain)
        except asyncio.CancelledError:
            if has_started:
                raise
            is_cancelled = True
            problem = Problem("draining", "the gateway stopped before the request was answered", retry_after_s=1)
            await problem.response(scope["path"])(scope, receive_and_note, send_after_drain)


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _set_headers(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")


def _too_large(scope: Scope) -> Problem | None:
    """Return the reason to refuse a head that is larger than `HEAD_BYTES`."""
    size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(a) + len(b) + 4 for a, b in scope["headers"])
    if size <= HEAD_BYTES:
        return None
    return Problem("bad-request", f"the head of the request has more than {HEAD_BYTES} bytes")


def _refusal(scope: Scope, headers: Headers) -> Problem | None:
    """Return the reason to refuse a request that a browser may have sent for another site."""
    host = headers.get("host", "")
    if not _is_this_machine(host):
        return Problem(
            "forbidden", f"Host {host[:60]!r} is not this machine; a gateway without --tokens serves it alone"
        )
    origin = headers.get("origin")
    if origin is not None and origin != f"{scope['scheme']}://{host}":
        return Problem("forbidden", f"Origin {origin[:60]!r}: pages of other sites are not served")
    return None


def _is_this_machine(host: str) -> bool:
    """Return True for a loopback address or name, with or without a port.

    Examples
    --------
    >>> [_is_this_machine(host) for host in ("127.0.0.1:8080", "localhost", "[::1]:8080", "evil.example", "")]
    [True, True, True, False, False]
    """
    name = host.rpartition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

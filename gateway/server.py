"""HTTP server of a gateway: uvicorn in a thread of its own, on a socket that is bound before."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from gateway.line import GatewayLine
from gateway.listener import BACKLOG, ConnectionListener
from gateway.protocol import HEAD_BYTES, GatewayProtocol, OpenConnections
from gateway.settings import GatewaySettings
from schemas.errors import InspectionError, SettingsError

log = logging.getLogger(__name__)

_CHECK_S = 0.01
#: Time for the first request of a connection that was made before the stop, in seconds.
_FIRST_REQUEST_S = 0.5
#: Time for answers to reach their clients after the last one was made, in seconds.
_LAST_S = 2.0


class GatewayDied(InspectionError):
    """Gateway that did not start, or ended without being asked to."""


def listen(settings: GatewaySettings) -> socket.socket:
    """Return a socket that listens at the address of the settings.

    Raises
    ------
    SettingsError
        If the server cannot listen there.
    """
    found = bind(settings)
    try:
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        raise _cannot_listen(settings, error) from error
    return found


def bind(settings: GatewaySettings) -> socket.socket:
    """Return a socket that is bound to the address of the settings, and does not listen yet.

    Raises
    ------
    SettingsError
        If the server cannot listen there.
    """
    host, port = settings.host, settings.port
    try:
        if not host:
            raise OSError(None, "no address; name one of this machine, as in 127.0.0.1 or 0.0.0.0")
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio switches Nagle's algorithm off only for sockets that name TCP. With it the body of an answer, which is
        # written after its head, waits about 40 ms for the client's delayed acknowledgement.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if settings.reuse_port:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            found.bind(address)
        except BaseException:
            found.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise _cannot_listen(settings, error) from error
    return found


def _cannot_listen(settings: GatewaySettings, error: Exception) -> SettingsError:
    reason = getattr(error, "strerror", None) or error
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        reason = "another program listens there; name another port with --port"
    return SettingsError(f"cannot listen on {settings.host}:{settings.port}: {reason}")


def is_loopback(bound: socket.socket) -> bool:
    """Return True if only this machine reaches a socket."""
    return ipaddress.ip_address(str(bound.getsockname()[0])).is_loopback


def url_of(bound: socket.socket, settings: GatewaySettings) -> str:
    """Return the address of a server on a socket."""
    host, port = bound.getsockname()[:2]
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class GatewayServer:
    """Server that runs from `start` to `stop`.

    Parameters
    ----------
    bound
        Socket that listens.
    metrics
        Returns the metrics of this process, for its siblings.
    tls
        Certificate and key; None: no TLS.
    """

    def __init__(
        self,
        app: ASGIApp,
        line: GatewayLine,
        settings: GatewaySettings,
        bound: socket.socket,
        metrics: Callable[[], bytes],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._line = line
        self._metrics = metrics
        self._settings = settings
        self._bound = bound
        self._tls = tls
        connections = self._connections = OpenConnections(settings.connections, settings.head_s)

        class Connection(GatewayProtocol):
            others = connections

        self._connection_type = Connection
        config = self._config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, round(settings.head_s)),
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        # uvicorn logs its own life, and a client that does not speak HTTP, as information and warnings.
        # The parser of forms warns of each malformed one.
        for name in ("uvicorn.error", "python_multipart"):
            logging.getLogger(name).setLevel(logging.ERROR)
        config.load()
        self._server = uvicorn.Server(config)
        self._listener: ConnectionListener | None = None
        self._draining: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def is_running(self) -> bool:
        """True while the server runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the server; on return it answers.

        Raises
        ------
        GatewayDied
            If it cannot start.
        """
        self._thread.start()
        while self.is_running and not self._server.started:
            self._started.wait(_CHECK_S)
        if not self._server.started:
            raise GatewayDied(f"the HTTP server cannot start: {self._error}") from self._error

    def stop(self) -> None:
        """Take no more requests, answer those at hand, and end. Idempotent."""
        if not self._call(self._begin_to_drain):
            return
        self._thread.join(self._settings.stop_s)
        self._call(self._line.give_up)
        self._thread.join(_LAST_S)
        self._call(self._begin_to_end)
        self._thread.join()

    def _begin_to_drain(self) -> None:
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        """Accept the connections that were made before, and wait for a request of each; then end the server.

        Requests are answered from now on by what the gateway says while it drains.
        """
        try:
            self._line.drain()
            if self._listener is not None:
                self._listener.drain()
                deadline_s = time.monotonic() + _FIRST_REQUEST_S
                while self._connections.are_new and time.monotonic() < deadline_s:  # noqa: ASYNC110 - many connections
                    await asyncio.sleep(_CHECK_S)
                self._listener.close()
        finally:
            self._server.should_exit = True

    def _begin_to_end(self) -> None:
        self._ending = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        """End the server; it cancels what still runs."""
        self._connections.abort_unread()
        await asyncio.sleep(_CHECK_S)  # their tasks end by themselves
        self._server.force_exit = True

    def _call(self, work: Any) -> bool:
        loop = self._loop
        if loop is None or not self.is_running:
            return False
        try:
            loop.call_soon_threadsafe(work)
        except RuntimeError:  # the loop has ended
            return False
        return True

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._server.started:
                log.exception("the HTTP server has ended")
            self._error = error

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._line.attach(self._loop)
        siblings = self._line.siblings
        answering = None if siblings is None else await siblings.serve(self._metrics, self._line.knows)
        self._listener = ConnectionListener(self._bound, self._connections, self._make_connection, self._tls)
        try:
            # Without sockets of its own: uvicorn runs the connections, and the listener accepts them.
            await self._server.serve(sockets=[])
        finally:
            self._listener.close()
            if answering is not None:
                answering.close()

    def _make_connection(self) -> GatewayProtocol:
        return self._connection_type(self._config, self._server.server_state, {}, self._loop)

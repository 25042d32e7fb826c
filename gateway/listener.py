"""Listener of a server: it accepts one connection at a time, and counts each one from then on.

asyncio's own server accepts up to a whole backlog at once, before a connection can be counted, and does not tell of
those that are still in their TLS handshake. If the process may open no further file, it logs the failure once for each
connection of the backlog, again and again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable

from gateway.protocol import GatewayProtocol, OpenConnections
from transport.limited_log import LimitedLog

#: Most connections that wait to be accepted.
BACKLOG = 1024
_log = logging.getLogger(__name__)
#: Pause if the system has no resources for a connection and none is idle, in seconds.
_PAUSE_S = 0.1
#: Idle connections that are closed at once then: the clients of Kafka need files, too.
_EVICTED = 16
#: Time for the end of TLS, in seconds: an idle client answers it with its next request only, or never.
_TLS_END_S = 1.0


class ConnectionListener:
    """Connections of a socket that listens. Call from the event loop only.

    Parameters
    ----------
    bound
        Socket that listens; `drain` closes it.
    connections
        All connections of the server.
    make_connection
        Returns the protocol of a new connection.
    tls
        Certificate and key of the server; None: no TLS.
    """

    def __init__(
        self,
        bound: socket.socket,
        connections: OpenConnections,
        make_connection: Callable[[], GatewayProtocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._bound = bound
        self._connections = connections
        self._make_connection = make_connection
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._limited = LimitedLog(_log)
        self._pause: asyncio.TimerHandle | None = None
        bound.setblocking(False)
        self._resume()

    def drain(self) -> None:
        """Accept the connections that wait, and no more. Idempotent."""
        if self._pause is not None:
            self._pause.cancel()
        if self._bound.fileno() >= 0:
            for _ in range(BACKLOG):  # the system resets those that are left when the socket closes
                if not self._accept():
                    break
            if self._pause is not None:
                self._pause.cancel()
            self._loop.remove_reader(self._bound)
            self._bound.close()

    def close(self) -> None:
        """Accept no more connections, and abort those in their handshake. Idempotent."""
        self.drain()
        self._connections.abort_handshakes()
        self._limited.flush()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._bound, self._accept)

    def _accept(self) -> bool:
        """Accept one connection: the loop closes an evicted one before it calls this function again.

        Return False if none waits, or if none can be accepted now.
        """
        try:
            accepted, _ = self._bound.accept()
        except BlockingIOError:
            return False
        except (InterruptedError, ConnectionAbortedError):
            return True
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error
            self._limited.warning("accept", f"a connection cannot be accepted: {reason}")
            if not any([self._connections.evict() for _ in range(_EVICTED)]):
                self._loop.remove_reader(self._bound)
                self._pause = self._loop.call_later(_PAUSE_S, self._resume)
            return False
        connection = self._make_connection()
        if not self._connections.opened(connection):
            accepted.close()
            return True
        handshake = self._loop.create_task(self._open(connection, accepted))
        connection.handshake = handshake
        handshake.add_done_callback(lambda ended: self._opened(ended, connection, accepted))
        return True

    async def _open(self, connection: GatewayProtocol, accepted: socket.socket) -> None:
        # asyncio gives handshake and end of TLS 60 s and 30 s.
        handshake_s, end_s = (None, None) if self._tls is None else (self._connections.head_s, _TLS_END_S)
        await self._loop.connect_accepted_socket(
            lambda: connection, accepted, ssl=self._tls, ssl_handshake_timeout=handshake_s, ssl_shutdown_timeout=end_s
        )

    def _opened(self, handshake: asyncio.Task[None], connection: GatewayProtocol, accepted: socket.socket) -> None:
        connection.handshake = None
        if not connection.is_made:  # asyncio does not tell the protocol of a handshake that has failed
            self._connections.closed(connection)
            accepted.close()
        error = None if handshake.cancelled() else handshake.exception()
        if error is not None and not isinstance(error, OSError):  # those are the clients' faults
            self._limited.warning("handshake", f"a connection failed: {type(error).__name__}: {error}")

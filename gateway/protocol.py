"""HTTP/1.1 connections that cannot be held open for nothing.

uvicorn waits for the head of a request as long as the client likes. Here a connection without a complete head is closed
after some seconds, and there is a largest number of connections, those in their TLS handshake included: one more closes
the connection that has been idle for longest.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.problems import Problem

#: Largest head of a request, in bytes. h11 measures a head that comes in parts only.
HEAD_BYTES = 32 * 1024


class OpenConnections:
    """Connections of a server, and those without a request at hand, the longest idle one first.

    Parameters
    ----------
    most
        Most connections of the server.
    head_s
        Longest time without a complete head, in seconds.
    """

    def __init__(self, most: int, head_s: float) -> None:
        self._most = most
        self.head_s = head_s
        self._open: set[GatewayProtocol] = set()
        self._idle: OrderedDict[GatewayProtocol, None] = OrderedDict()

    @property
    def are_new(self) -> bool:
        """True if there is a connection that had no request yet."""
        return any(each.is_new for each in self._open)

    def add(self, connection: GatewayProtocol) -> None:
        """Note an open connection that is idle, if it is not noted yet."""
        if connection in self._open:
            self._idle.setdefault(connection)

    def discard(self, connection: GatewayProtocol) -> None:
        """Note that a connection has a request."""
        self._idle.pop(connection, None)

    def opened(self, connection: GatewayProtocol) -> bool:
        """Note a new connection, and close the one that has been idle for longest if there are too many.

        Return False if all others are at work: then the new one is to be closed.
        """
        if len(self._open) >= self._most and not self.evict():
            return False
        self._open.add(connection)
        self.add(connection)
        return True

    def evict(self) -> bool:
        """Close the longest idle connection; return False if no connection is idle."""
        if not self._idle:
            return False
        longest, _ = self._idle.popitem(last=False)
        # It leaves the set now: the loop reports its end later, perhaps after further connections.
        self._open.discard(longest)
        longest.abort()
        return True

    def abort_unread(self) -> None:
        """Close the connections whose clients do not read their answers: a task that writes to one would not end."""
        for connection in [each for each in self._open if each.is_made and each.flow.write_paused]:
            connection.abort()

    def abort_handshakes(self) -> None:
        """Close the connections that are in their handshake."""
        for connection in [each for each in self._open if not each.is_made]:
            connection.abort()

    def closed(self, connection: GatewayProtocol) -> None:
        """Note the end of a connection."""
        self.discard(connection)
        self._open.discard(connection)


class GatewayProtocol(H11Protocol):
    """Connection of a client."""

    #: Set by the server, which makes a class of its own.
    others: OpenConnections

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        #: Task that opens the connection, until it is open.
        self.handshake: asyncio.Task[None] | None = None
        self._head_timer: asyncio.TimerHandle | None = None

    @property
    def is_made(self) -> bool:
        """True once the connection is open for requests."""
        return self.transport is not None

    @property
    def is_new(self) -> bool:
        """True until the head of the first request is complete."""
        return self.cycle is None

    def abort(self) -> None:
        """Close the connection at once, also during its handshake."""
        if self.is_made:
            self.transport.abort()
        elif self.handshake is not None:
            self.handshake.cancel()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._note_state()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.others.closed(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        self._note_state()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._note_state()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._note_state()

    def on_response_complete(self) -> None:
        self._stop_timer()
        super().on_response_complete()
        self._note_state()

    def _note_state(self) -> None:
        """Start the timer of an idle connection, and stop it when the head of a request is complete.

        A connection that closes is idle: its client may never read the last answer. So is one with a full buffer: its
        client sends requests, and reads no answers.
        """
        if self.cycle is not None and not self.cycle.response_complete and not self.flow.write_paused:
            self._stop_timer()
            self.others.discard(self)
        elif self._head_timer is None:
            self.others.add(self)
            self._head_timer = self.loop.call_later(self.others.head_s, self.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def send_400_response(self, msg: str) -> None:
        """Send a problem to a client that does not speak HTTP/1.1."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.abort()
            return
        response = Problem("bad-request", msg).response()
        headers = [*response.raw_headers, (b"connection", b"close")]
        events = (
            h11.Response(status_code=400, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

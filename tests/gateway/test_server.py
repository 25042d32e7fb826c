"""Socket and start of the server, without Kafka."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.server import GatewayDied, GatewayServer, listen
from gateway.settings import GatewaySettings
from gateway.siblings import Siblings


def test_an_answer_does_not_wait_for_an_acknowledgement_of_its_head() -> None:
    """Head and body are written one after the other: with Nagle's algorithm the body waits some 40 ms."""

    async def has_no_delay() -> bool:
        found = asyncio.get_running_loop().create_future()

        class Connection(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made = transport.get_extra_info("socket")
                found.set_result(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
                transport.close()

        with listen(GatewaySettings(port=0)) as bound:
            server = await asyncio.get_running_loop().create_server(Connection, sock=bound)
            _, writer = await asyncio.open_connection(*bound.getsockname())
            answer = await asyncio.wait_for(found, 60)
            writer.close()
            server.close()
            return bool(answer)

    assert asyncio.run(has_no_delay())


def test_a_server_that_cannot_start_says_so(tmp_path: Path) -> None:
    class Line:
        siblings = Siblings(tmp_path / "none", 0, 2)
        knows = drain = give_up = None

        def attach(self, loop: asyncio.AbstractEventLoop) -> None:
            pass

    line: Any = Line()
    settings = GatewaySettings(port=0)
    with listen(settings) as bound:
        server = GatewayServer(line, line, settings, bound, lambda: b"")
        with pytest.raises(GatewayDied, match=r"the HTTP server cannot start: .*No such file or directory"):
            server.start()
        server.stop()

"""HTTP endpoint of a program: /metrics for Prometheus and, in workers and watches, /health.

The server has threads of its own, so it answers also while the program is busy or stuck.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from schemas.errors import SettingsError

log = logging.getLogger(__name__)

#: Default address: only this machine can reach it.
LOOPBACK = "127.0.0.1"
#: Longest time that a connection may be silent, in seconds.
_SILENT_S = 10.0

#: Returns a JSON object; its ``ok`` decides between status 200 and 503.
Health = Callable[[], dict[str, Any]]


@contextmanager
def serve_http(
    registry: CollectorRegistry,
    port: int | None,
    host: str = LOOPBACK,
    *,
    health: Health | None = None,
    default_port: int | None = None,
) -> Iterator[str | None]:
    """Serve ``/metrics`` and ``/health`` until the block ends; yield the base URL.

    Parameters
    ----------
    registry
        Metrics of the program.
    port
        TCP port. 0: any free port. None: ``default_port``, or any free port if it is taken.
    host
        Address or name of this machine to listen on; ``0.0.0.0`` means all addresses. There is no password and no
        encryption, so anyone who can reach the address can read the metrics: another address than loopback is logged.
    health
        Called in a thread of the server for each request of ``/health``. None: there is no ``/health``.
    default_port
        None: without a port nothing is served, and None is yielded.

    Raises
    ------
    SettingsError
        If the server cannot listen on this address and port.

    Examples
    --------
    >>> import urllib.request
    >>> with serve_http(CollectorRegistry(), 0, health=lambda: {"ok": True}) as url:
    ...     urllib.request.urlopen(f"{url}/health").read()
    b'{"ok": true}'
    """
    if port is None and default_port is None:
        yield None
        return
    server = _listen(_App(registry, health), host, port, default_port)
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    bound, number = str(server.server_name), server.server_port
    url = f"http://{f'[{bound}]' if ':' in bound else bound}:{number}"
    log.info("metrics at %s/metrics", url)
    if not ipaddress.ip_address(bound).is_loopback:
        log.warning("%s is open to whoever reaches it, without password or encryption", url)
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # The base class asks the name service for this machine's name.
        socket_address = self.server_address
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(socket_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that went away."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _SILENT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Log no requests."""


class _App:
    def __init__(self, registry: CollectorRegistry, health: Health | None) -> None:
        self._registry = registry
        self._health = health

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, kind, body = self._answer(environ.get("PATH_INFO", ""))
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, path: str) -> tuple[str, str, bytes]:
        if path == "/metrics":
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path == "/health" and self._health is not None:
            report = self._health()
            status = "200 OK" if report["ok"] else "503 Service Unavailable"
            return status, "application/json", json.dumps(report).encode()
        known = "/metrics" if self._health is None else "/metrics and /health"
        return "404 Not Found", "text/plain; charset=utf-8", f"this program serves {known}\n".encode()


def _listen(app: _App, host: str, port: int | None, default_port: int | None) -> WSGIServer:
    candidates = (port,) if port is not None else (default_port or 0, 0)
    for candidate in candidates:
        try:
            if not host:
                raise OSError(None, "no address; name one of this machine, as in 127.0.0.1 or 0.0.0.0")
            family, *_, address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
            server_class = _Server6 if family == socket.AF_INET6 else _Server
            return make_server(str(address[0]), candidate, app, server_class, _Handler)
        except (OSError, OverflowError, ValueError) as error:
            if port is None and candidate and getattr(error, "errno", None) == errno.EADDRINUSE:
                continue
            reason = getattr(error, "strerror", None) or error
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                reason = "another program listens there; name another port"
            raise SettingsError(f"cannot listen on {host}:{candidate}: {reason}") from error
    raise AssertionError("the last candidate is returned or raises")

"""Prometheus metrics of a program over HTTP, by default on loopback."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from schemas.errors import SettingsError

log = logging.getLogger(__name__)

#: Default address: only this machine can reach it.
LOOPBACK = "127.0.0.1"


@contextmanager
def serve_metrics(registry: CollectorRegistry, port: int | None, address: str = LOOPBACK) -> Iterator[int | None]:
    """Serve ``/metrics`` until the block ends; yield the port.

    Parameters
    ----------
    port
        TCP port. 0: any free port. None: do nothing, and yield None.
    address
        Address of this machine to listen on, IPv4 or IPv6; ``0.0.0.0`` means all of them. There is no password and no
        encryption, so anyone who can reach the address can read the metrics: another address than loopback is logged.

    Raises
    ------
    SettingsError
        If the server cannot listen on this address and port.
    """
    if port is None:
        yield None
        return
    try:
        host = ipaddress.ip_address(address)
    except ValueError as error:
        raise SettingsError(
            f"metrics address {address!r}: an IP address of this machine, as in {LOOPBACK} or 0.0.0.0"
        ) from error
    try:
        server, thread = start_http_server(port, addr=address, registry=registry)
    except (OSError, OverflowError) as error:
        raise SettingsError(f"no metrics on port {port} of {address}: {error}") from error
    shown = f"[{address}]" if host.version == 6 else address
    log.info("metrics at http://%s:%d/metrics", shown, server.server_port)
    if not host.is_loopback:
        log.warning("metrics are open to whoever reaches %s, without password or encryption", shown)
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        if thread is not threading.current_thread():
            thread.join()

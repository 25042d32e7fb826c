"""Prometheus metrics of a program over HTTP, on loopback only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from schemas.errors import SettingsError

log = logging.getLogger(__name__)


@contextmanager
def serve_metrics(registry: CollectorRegistry, port: int | None) -> Iterator[int | None]:
    """Serve ``/metrics`` on 127.0.0.1 meanwhile; yield the port (0 takes a free one). None: do nothing.

    Raises
    ------
    SettingsError
        If the port cannot be had.
    """
    if port is None:
        yield None
        return
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except (OSError, OverflowError) as error:
        raise SettingsError(f"no metrics on port {port}: {error}") from error
    log.info("metrics at http://127.0.0.1:%d/metrics", server.server_port)
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        if thread is not threading.current_thread():
            thread.join()

"""Program of a gateway, until a stop event is set."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from gateway.app import make_app
from gateway.clients import Clients, read_clients
from gateway.line import GatewayLine
from gateway.metrics import GatewayMetrics
from gateway.open_files import RESERVED, room_for
from gateway.report import GatewayReport
from gateway.server import GatewayDied, GatewayServer, is_loopback, listen, url_of
from gateway.settings import GatewaySettings, default_instance
from gateway.siblings import Siblings
from gateway.tls import server_context
from schemas.errors import SettingsError
from schemas.settings import KafkaSettings

log = logging.getLogger(__name__)
_POLL_S = 0.2


def run_gateway(
    kafka: KafkaSettings,
    settings: GatewaySettings,
    stop: threading.Event,
    on_ready: Callable[[str], object] = lambda url: None,
    *,
    siblings: Siblings | None = None,
) -> GatewayReport:
    """Run a gateway until the stop event is set.

    Parameters
    ----------
    on_ready
        Called with the address once the gateway listens.
    siblings
        The other processes of the gateway, if there are several.

    Raises
    ------
    SettingsError
        If the address, the tokens or the files for TLS cannot be used, or if others reach the address without a token.
    BrokerUnavailable, TopicMissing, NotAuthorised, RegistryError
        If the line is not there at the start.
    GatewayDied
        If the server cannot start, or if a thread of the gateway ended.
    """
    clients = Clients() if settings.tokens is None else read_clients(settings.tokens, settings.station)
    tls = server_context(settings)
    with listen(settings) as bound:
        if clients.are_open and not is_loopback(bound):
            raise SettingsError(
                f"--host {settings.host}: others reach this address, so it needs --tokens; "
                "`inspection gateway --new-token NAME` makes one"
            )
        is_first = siblings is None or siblings.number == 0
        if is_first and settings.tls_certificate is None and not is_loopback(bound):
            log.warning("%s is without encryption: tokens can be read on the way", url_of(bound, settings))
        settings = _with_room(settings, is_first)
        if settings.instance is None:
            settings = replace(settings, instance=default_instance(bound.getsockname()[1]))
        metrics = GatewayMetrics()
        line = GatewayLine(kafka, settings, clients, metrics.publishers, siblings=siblings)
        try:
            metrics.follow(line)
            server = GatewayServer(make_app(line, metrics), line, settings, bound, metrics.text, tls)
            url = url_of(bound, settings)
            try:
                server.start()
                if siblings is None:
                    log.info("gateway at %s: %s", url, kafka.bootstrap_servers)
                on_ready(url)
                while server.is_running and line.is_alive and not stop.wait(_POLL_S):
                    pass
                has_died = not stop.is_set()
            finally:
                server.stop()
        finally:
            line.close()
    if has_died:
        raise GatewayDied("a thread of the gateway ended; the log says why")
    stats = line.publisher.stats()
    return GatewayReport(stats, dict.fromkeys(stats, line.publisher.started_at_us))


def _with_room(settings: GatewaySettings, is_first: bool) -> GatewaySettings:
    """Return the settings with as many connections as the process may open files for."""
    found = room_for(settings.connections)
    if found < settings.connections and is_first:
        log.warning(
            "the limit of open files has room for %d connections instead of %d; `ulimit -Hn %d` has room for all",
            found, settings.connections, settings.connections + RESERVED,
        )  # fmt: skip
    return replace(settings, connections=found)

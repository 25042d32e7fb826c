"""Process that runs a Faust app with its endpoint and watchdog, until a signal or a crash ends it with a status."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import faust
from prometheus_client import CollectorRegistry

from schemas.errors import InspectionError
from schemas.settings import KafkaSettings
from transport.http_server import serve_http
from transport.stop_signals import stop_signals

log = logging.getLogger(__name__)

#: Interval between two beats of the event loop, and the longest one of a healthy process, in seconds.
_BEAT_S = 0.5
_STUCK_S = 10.0
#: Interval between two calls of ``settle`` while an app stops, in seconds.
_SETTLE_S = 0.1
#: Time after the beginning of a stop from which on a failed ``settle`` ends the process, in seconds.
_UNSETTLED_S = 20.0
#: Exit status if Kafka does not accept what a process has to publish (BSD's EX_IOERR).
EXIT_CANNOT_PUBLISH = 74


class _App(faust.App):
    """Faust app without a data directory: its tables are in memory, and a root file system may be read-only."""

    def _create_directories(self) -> None:
        pass


def make_faust_app(group: str, kafka: KafkaSettings, session_timeout_s: float = 10.0) -> faust.App:
    """Return a Faust app with the settings that both of our programs need, see docs/faust.md.

    If Kafka hears nothing from a member of the group for ``session_timeout_s``, the others get its partitions.
    """
    return _App(
        group,
        broker=[f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
        store="memory://",
        web_enabled=False,  # it would listen on every interface; we have our own endpoint for health and metrics
        topic_allow_declare=False,  # only `inspection topics apply` creates topics
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=0.5,
        broker_session_timeout=session_timeout_s,
        # A member learns of a rebalance by its next heartbeat: when another one leaves, its frames wait until then.
        broker_heartbeat_interval=min(0.5, session_timeout_s / 3),
        # The worker's transport limits bytes; this limit on the count must not interfere.
        stream_buffer_maxsize=4096,
        worker_redirect_stdouts=False,
        logging_config=None,
    )


def raw_topics(app: faust.App, *names: str) -> list[Any]:
    """Return topics of raw bytes: Faust would ack a message that it fails to decode."""
    return [
        app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        for name in names
    ]


class Stoppable(Protocol):
    """Watcher of a running app, see `stream_processors.worker.watchdog`."""

    def stop(self) -> None:
        """Stop watching."""


async def run_process(
    app: faust.App,
    *,
    registry: CollectorRegistry,
    about: dict[str, Any],
    http_host: str,
    http_port: int | None,
    default_port: int,
    ready: str,
    announce: Callable[[str], object] = lambda url: None,
    watchdog: Callable[[Callable[[], set[int] | None]], Stoppable] | None = None,
    settle: Callable[[], Awaitable[None]] | None = None,
    trouble: Callable[[], str | None] = lambda: None,
) -> None:
    """Run until one of the `stop_signals`; then finish the messages in flight, commit and leave the group.

    Parameters
    ----------
    registry
        Metrics for /metrics.
    about
        Added to /health.
    http_host, http_port, default_port
        See `transport.http_server.serve_http`.
    ready
        Work of the process, for the log.
    announce
        Called with the URL of the endpoint.
    watchdog
        Called when the app runs, with a function that returns its partitions (None during a rebalance).
    settle
        Acks the messages in flight. Called repeatedly while the app stops: Faust waits for every message that it has
        handed out, and its timers have ended by then. If it still fails after 20 s, the process ends with status 74.
    trouble
        Called for /health, in another thread; returns the fault of the work in one line, or None.

    Raises
    ------
    SettingsError
        If the endpoint cannot listen.
    NotAuthorised
        If the user may not read.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop.set)
    loop_monitor = LoopMonitor()
    health = lambda: _health(app, about, stop.is_set(), loop_monitor.trouble() or trouble())  # noqa: E731
    app.loop = loop
    with serve_http(registry, http_port, http_host, health=health, default_port=default_port) as url:
        announce(str(url))
        beats = asyncio.ensure_future(loop_monitor.beat())
        try:
            await _run(app, stop, f"{ready}, health at {url}/health", watchdog, settle)
        finally:
            beats.cancel()
    if app.crashed:
        if isinstance(app.crash_reason, InspectionError):
            raise app.crash_reason
        raise SystemExit(1)
    log.info("stopped")


async def _run(
    app: faust.App,
    stop: asyncio.Event,
    ready: str,
    watchdog: Callable[[Callable[[], set[int] | None]], Stoppable] | None,
    settle: Callable[[], Awaitable[None]] | None,
) -> None:
    watcher = None
    # Faust logs a crash and continues to wait; this process must then end, with a status that shows it.
    try:
        await app.start()
        if watchdog is not None:
            watcher = watchdog(lambda: _assigned(app))
        log.info("ready: %s", ready)
        while not stop.is_set() and not app.crashed:
            await _wait(stop, 0.2)
    finally:
        log.info("stopping: finishing the messages in flight")
        if watcher is not None:
            watcher.stop()
        settling = None if settle is None or app.crashed else asyncio.ensure_future(_settle(settle, _end_unsettled))
        await app.stop()
        if settling is not None:
            settling.cancel()


class LoopMonitor:
    """Detection of an event loop that is stuck. Another thread asks it.

    Examples
    --------
    >>> loop_monitor = LoopMonitor()
    >>> loop_monitor.trouble() is None
    True
    """

    def __init__(self) -> None:
        self._beat_s = time.monotonic()

    async def beat(self) -> None:
        """Record that the event loop runs, again and again."""
        while True:
            self._beat_s = time.monotonic()
            await asyncio.sleep(_BEAT_S)

    def trouble(self) -> str | None:
        """Return the fault in one line; None if there is no fault. Thread-safe."""
        silent_s = time.monotonic() - self._beat_s
        return f"the event loop has been stuck for {silent_s:.0f} s" if silent_s > _STUCK_S else None


async def _settle(settle: Callable[[], Awaitable[None]], end: Callable[[Exception], object]) -> None:
    began_s = time.monotonic()
    while True:
        try:
            await settle()
        except Exception as error:
            if time.monotonic() - began_s >= _UNSETTLED_S:
                end(error)
                return
            log.exception("the messages in flight cannot be finished")
        await asyncio.sleep(_SETTLE_S)


def _end_unsettled(error: Exception) -> None:
    # Faust would wait for these messages for as long as Kafka is away.
    log.critical(
        "ending with messages in flight; they are not committed, and the next start reads them again: %s", error
    )
    logging.shutdown()
    os._exit(EXIT_CANNOT_PUBLISH)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _assigned(app: faust.App) -> set[int] | None:
    """Return the partitions of the process; None during a rebalance."""
    return None if app.rebalancing else {partition.partition for partition in app.consumer.assignment()}


def _health(app: faust.App, about: dict[str, Any], stopping: bool, trouble: str | None) -> dict[str, Any]:
    assigned = sorted(f"{tp.topic}-{tp.partition}" for tp in app.consumer.assignment()) if app.started else []
    # Only the consumer that reads frames has this attribute.
    connected = getattr(app.consumer, "connected", None) if app.started else None
    reason = _reason(app, stopping, connected) or trouble
    return {
        "ok": reason is None,
        "reason": reason,
        **about,
        "assigned": assigned,
        "rebalancing": bool(app.rebalancing),
        "connected": connected,
    }


def _reason(app: faust.App, stopping: bool, connected: bool | None) -> str | None:
    if app.crashed:
        return "a part of the process has failed, and it is ending"
    if stopping:
        return "it was asked to stop"
    if not app.started:
        return "it is starting"
    return "the broker does not answer" if connected is False else None

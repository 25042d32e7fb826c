"""One worker process: check what it needs, start, run until told to stop, leave cleanly."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

import faust

from models import Model, default_model_path, load_model
from schemas.cluster import require_topics
from stream_processors.app import make_app
from stream_processors.http import serve
from stream_processors.metrics import WorkerMetrics
from stream_processors.settings import WorkerSettings
from stream_processors.watchdog import Watchdog

log = logging.getLogger(__name__)


def run_worker(settings: WorkerSettings) -> None:
    """Run until SIGTERM or SIGINT; then finish what is held, commit and leave the group.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        Before anything is started, with the command that helps.
    ModelPackageError
        If the model package must not be used.
    SettingsError
        If the health endpoint cannot listen.
    """
    kafka = settings.kafka
    partitions = require_topics(kafka.bootstrap_servers, [kafka.frames, kafka.decisions, kafka.dead_letters])
    model = load_model(settings.model or default_model_path())
    log.info("model %s %s, recipe %s revision %s", model.name, model.version, model.recipe_id, model.recipe_revision)
    log.info("%d partitions of %s: at most as many workers share them", partitions[kafka.frames], kafka.frames)
    asyncio.run(_run(settings, model))


async def _run(settings: WorkerSettings, model: Model) -> None:
    metrics = WorkerMetrics()
    app = make_app(settings, model, metrics)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner, url = await serve(
        settings.http_host, settings.http_port, metrics.registry, lambda: _health(app, model, stop.is_set())
    )
    app.loop = loop
    watchdog = None
    # Faust logs a crash and goes on waiting; this process must end then, with a status that says so.
    try:
        await app.start()
        if settings.watchdog_s:
            watchdog = Watchdog(settings.kafka, settings.group, lambda: _assigned(app), settings.watchdog_s, metrics)
        log.info("ready: reading %s, health at %s/health", settings.kafka.frames, url)
        while not stop.is_set() and not app.crashed:
            await _wait(stop, 0.2)
    finally:
        log.info("stopping: finishing what is held")
        if watchdog is not None:
            watchdog.stop()
        await app.stop()
        await runner.cleanup()
    if app.crashed:
        raise SystemExit(1)
    log.info("stopped")


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _assigned(app: faust.App) -> set[int] | None:
    """Partitions that the worker has; None while it is not decided."""
    return None if app.rebalancing else {partition.partition for partition in app.consumer.assignment()}


def _health(app: faust.App, model: Model, stopping: bool) -> dict[str, Any]:
    assigned = sorted(f"{tp.topic}-{tp.partition}" for tp in app.consumer.assignment()) if app.started else []
    return {
        "ok": app.started and not app.crashed and not stopping,
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
        "assigned": assigned,
        "rebalancing": bool(app.rebalancing),
    }

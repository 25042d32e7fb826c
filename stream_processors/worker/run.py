"""Worker process: check the requirements, start, run until a stop signal, leave the group cleanly."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from models import Model, default_model_path, load_model
from schemas.clock import SystemClock
from stream_processors.faust_host.process import run_process
from stream_processors.worker.allocator import return_large_blocks
from stream_processors.worker.app import FrameWorker
from stream_processors.worker.group_label import with_group
from stream_processors.worker.metrics import WorkerMetrics
from stream_processors.worker.settings import DEFAULT_PORT, WorkerSettings
from stream_processors.worker.watchdog import Watchdog
from stream_processors.worker.work_health import WorkHealth
from transport.admin import require_topics
from transport.quarantine_folder import open_quarantine
from transport.rights import require_rights

log = logging.getLogger(__name__)


def run_worker(settings: WorkerSettings, announce: Callable[[str], object] = lambda url: None) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP; then finish the frames in flight, commit and leave the group.

    ``announce`` is called with the URL of the health endpoint.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        Before the app starts; the text names the command that helps.
    ModelPackageError
        If the model package must not be used.
    SettingsError
        If the health endpoint cannot listen, or the signing key cannot be read.
    """
    return_large_blocks()
    kafka = settings.kafka
    partitions = require_topics(kafka, [kafka.frames, kafka.decisions, kafka.dead_letters])
    require_rights(kafka, read=[kafka.frames], write=[kafka.decisions, kafka.dead_letters])
    if kafka.signing_key is not None:
        from transport.signing_key import signer_of  # it takes 50 ms, and most workers sign nothing

        signer_of(kafka.signing_key)  # a worker that joins its group and ends stops the others for a moment
    model = load_model(settings.model or default_model_path())
    log.info("model %s %s, recipe %s revision %s", model.name, model.version, model.recipe_id, model.recipe_revision)
    log.info("%d partitions of %s: at most as many workers share them", partitions[kafka.frames], kafka.frames)
    asyncio.run(_run(settings, model, announce))


async def _run(settings: WorkerSettings, model: Model, announce: Callable[[str], object]) -> None:
    metrics = WorkerMetrics()
    health = WorkHealth(settings.unhealthy_after_s, SystemClock())
    quarantine = open_quarantine(settings.group, settings.kafka.frames, settings.state_dir)
    app = FrameWorker(settings, model, metrics, health=health, quarantine=quarantine).make_app()

    def end(status: int) -> None:
        try:
            quarantine.hung(settings.watchdog_s / 2)
        finally:
            os._exit(status)

    def watchdog(assigned: Callable[[], set[int] | None]) -> Watchdog:
        return Watchdog(settings.kafka, settings.group, assigned, settings.watchdog_s, metrics, end)

    try:
        await run_process(
            app,
            registry=with_group(metrics.registry, settings.group),
            about={
                "group": settings.group,
                "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
            },
            http_host=settings.http_host,
            http_port=settings.http_port,
            default_port=DEFAULT_PORT,
            ready=f"reading {settings.kafka.frames}",
            announce=announce,
            watchdog=watchdog if settings.watchdog_s else None,
            trouble=health.trouble,
        )
    except SystemExit:  # a crash, which may be one of memory
        quarantine.abandon()
        raise
    finally:
        quarantine.close()

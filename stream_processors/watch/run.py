"""Process of `inspection watch`: check the requirements, then run until a stop signal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from models import default_model_path
from models.package import load_reference
from models.reference import Reference, SignalReferences
from monitoring.drift import ReferencesOf
from schemas.errors import SettingsError
from schemas.text import shown
from stream_processors.faust_host.process import run_process
from stream_processors.watch.app import make_watch_app
from stream_processors.watch.metrics import WatchMetrics
from stream_processors.watch.notify import Notifier
from stream_processors.watch.publisher import EventPublisher
from stream_processors.watch.settings import WatchSettings
from transport.admin import require_topics
from transport.batch_letters import BatchLetters
from transport.batches import UnreadableBatch
from transport.belief import Belief, make_belief
from transport.quarantine_folder import open_quarantine
from transport.rights import require_rights

log = logging.getLogger(__name__)

DEFAULT_WATCH_PORT = 8089
#: Models without a package here that a warning names: messages may invent them.
_MOST_UNKNOWN = 100


def run_watch(settings: WatchSettings) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP; then publish the state, commit and leave the group.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        Before the app starts; the text names the command that helps.
    ModelPackageError
        If a model package cannot be read.
    SettingsError
        If the webhook is not a URL, the endpoint cannot listen, the trust folder cannot be used, or topics that belong
        together have different numbers of partitions.
    """
    references_of = references(settings.models or [default_model_path()])
    metrics = WatchMetrics()
    notifier = Notifier(settings.webhook, log, registry=metrics.registry)
    kafka = settings.kafka
    belief = make_belief(
        settings.trust,
        settings.signatures,
        lambda _, fault: metrics.signature_faults.labels(fault).inc(),
        line=kafka if settings.trust_topic else None,
    )
    if belief is not None:
        belief.add_metrics(metrics.registry)
    topics = [kafka.decisions, kafka.labels, kafka.drift_state]
    partitions = require_topics(kafka, [*topics, kafka.drift])
    require_rights(kafka, read=topics, write=[kafka.drift, kafka.drift_state])
    if len({partitions[topic] for topic in topics}) > 1:
        counts = ", ".join(f"{topic} {partitions[topic]}" for topic in topics)
        raise SettingsError(f"topics with different numbers of partitions tear a camera apart: {counts}")
    letters = BatchLetters(kafka, "watch")
    try:
        if belief is not None:
            belief.open()
        asyncio.run(_run(settings, references_of, metrics, notifier, letters.write, belief))
    finally:
        if belief is not None:
            belief.close()
        letters.close()
        notifier.close()


def references(packages: Sequence[Path]) -> ReferencesOf:
    """Return a function that finds the training reference of a model package by the model's sha256 and the product.

    It logs one warning for each model that made decisions and has no package here. At most 100 models are named.
    """
    found: dict[str, Reference] = {}
    named = set[str]()
    for package in packages:
        sha256, reference = load_reference(package)
        named.add(sha256)
        if reference is None:
            log.warning("%s has no training reference: each camera's first frames become its reference", package)
        else:
            found[sha256] = reference
            log.info("%s: reference of %d signals", package, len(reference.everything))

    most = len(named) + _MOST_UNKNOWN

    def references_of(model_sha256: str, product: str | None) -> SignalReferences | None:
        if model_sha256 not in named and len(named) < most:
            named.add(model_sha256)
            log.warning(
                "the watch has no package of the model with sha256 %s, which makes decisions: the first frames of each "
                "camera become its reference instead of the training images; start the watch with --model and the "
                "package",
                shown(model_sha256),
            )
        reference = found.get(model_sha256)
        return None if reference is None else reference.of(product)

    return references_of


async def _run(
    settings: WatchSettings,
    references_of: ReferencesOf,
    metrics: WatchMetrics,
    notifier: Notifier,
    on_unreadable: Callable[[UnreadableBatch], object],
    belief: Belief | None,
) -> None:
    quarantine = open_quarantine(settings.group, settings.kafka.decisions)
    publisher = EventPublisher(settings.kafka)
    app, flush = make_watch_app(
        settings, references_of, metrics, notifier, None, quarantine, on_unreadable, publisher, belief
    )
    try:
        await asyncio.to_thread(publisher.connect)
        await run_process(
            app,
            registry=metrics.registry,
            about=metrics.about,
            http_host=settings.http_host,
            http_port=settings.http_port,
            default_port=DEFAULT_WATCH_PORT,
            ready=f"watching {settings.kafka.decisions}",
            settle=flush,
        )
    except SystemExit:  # a crash, which may be one of memory
        quarantine.abandon()
        raise
    finally:
        publisher.close()
        quarantine.close()

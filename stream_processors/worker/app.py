"""Faust app of a worker: reads frames, publishes decisions and dead letters.

The order of steps that guarantees "at least once", for each frame:

1. a thread decodes and inspects the frame; if its image is in a store, another thread fetches the image before, and
   the frames behind it do not wait (`stream_processors.worker.inspection_pool`);
2. the worker sends its decision and its dead letter, and waits for the broker's acknowledgements
   (`stream_processors.worker.result_publisher`);
3. when the frame and every frame before it have come so far, it is acked to Faust
   (`stream_processors.worker.ordered_completion`);
4. Faust commits the acked frames on a timer, and once more on a graceful stop.

If step 2 fails, the process ends at once, and the worker that takes over reads the uncommitted frames again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from typing import Any

import faust
from mode.supervisors import CrashingSupervisor

from models import FramePosition, Model
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from stream_processors.faust_host.bounded_transport import bounded_transport
from stream_processors.faust_host.consumer import NoValue
from stream_processors.faust_host.process import make_faust_app, raw_topics
from stream_processors.worker.frame_processor import FrameMessage, ProcessingResult
from stream_processors.worker.guard import GuardedFrameProcessor, trials_of
from stream_processors.worker.inspection_pool import InspectionPool, Work
from stream_processors.worker.metrics import WorkerMetrics
from stream_processors.worker.ordered_completion import Entry, OrderedCompletion
from stream_processors.worker.result_publisher import ResultPublisher
from stream_processors.worker.retries import Retries
from stream_processors.worker.settings import WorkerSettings
from stream_processors.worker.work_health import WorkHealth
from transport.batch_trials.after_death import BatchTrials
from transport.header_values import traceparent
from transport.image_store import ImageStore
from transport.quarantine import Quarantine

log = logging.getLogger(__name__)

#: Exit status if Kafka did not accept an answer (BSD's EX_IOERR).
EXIT_CANNOT_PUBLISH = 74


def make_app(
    settings: WorkerSettings,
    model: Model,
    metrics: WorkerMetrics,
    clock: Clock | None = None,
    health: WorkHealth | None = None,
    quarantine: Quarantine | None = None,
) -> faust.App:
    """Build the app; it connects when it is started. ``health`` records frames and answers.

    Without a quarantine no file is written.

    Raises
    ------
    RegistryError
        If the settings name a schema registry that does not answer.
    """
    clock = clock or SystemClock()
    health = health or WorkHealth(settings.unhealthy_after_s, clock)
    kafka = settings.kafka
    store = None
    if settings.image_store is not None:
        store = ImageStore(settings.image_store, on_away=metrics.image_store_away.set)
    codec = Codec.from_settings(kafka)
    quarantine = quarantine or Quarantine(None)
    answer = GuardedFrameProcessor(
        model,
        codec,
        clock,
        settings.overload,
        store,
        quarantine=quarantine,
        trials=trials_of(settings),
        is_retry=Retries(kafka, codec, clock).is_retry,
        on_untrue=metrics.untrue_claim,
    )
    app = make_faust_app(settings.group, kafka)
    held_bytes = settings.buffer_mib * 1024 * 1024
    transport = bounded_transport(
        kafka.bootstrap_servers,
        held_bytes,
        trials=BatchTrials(kafka.bootstrap_servers, quarantine.deaths, held_bytes, settings.watchdog_s),
        on_held=metrics.held_bytes.set,
        on_read=lambda message: answer.shedding.newest.read(message.partition, message.key, message.offset),
    )
    app.transport = transport(app.conf.broker, app, app.loop)
    [frames] = raw_topics(app, kafka.frames)

    @app.on_partitions_assigned.connect(weak=False)
    async def look_for_the_dead(*_: Any, **__: Any) -> None:
        # Another worker of the host may have died and left its partitions. This waits for files and starts a process.
        await asyncio.to_thread(answer.look)

    def acked(done: _Done) -> None:
        done.event.ack()
        if answer.has_suspects:
            answer.acked(_received(done.event.message, 0))
        metrics.record(done.answer, done.publish_s)

    def learn(work: Work[Entry[_Done]], made: ProcessingResult, inspection_ms: float, publishing_ms: float) -> None:
        decision = made.decision
        if decision is None:
            return
        if work.frame is not None and "infer" in decision.durations_ms:
            needed_ms = answer.shedding.learn(work.frame, work.message.source, inspection_ms, publishing_ms)
            metrics.estimate.set(needed_ms / 1000)
        elif made.shed is not None:
            answer.shedding.learn_publishing(publishing_ms, decision)

    @app.agent(frames, name="inspect", concurrency=1, supervisor_strategy=CrashingSupervisor)
    async def inspect(stream: Any) -> None:
        stream.enable_acks = False  # the pipeline acks, in order
        outbox = await asyncio.to_thread(ResultPublisher, kafka, _end, codec)
        pipeline: OrderedCompletion[_Done] = OrderedCompletion(acked, settings.in_flight)

        def publish(work: Work[Entry[_Done]], made: ProcessingResult) -> None:
            sent_s = time.perf_counter()

            def done() -> None:
                now_s = time.perf_counter()
                entry = work.item
                entry.item.answer, entry.item.publish_s = made, now_s - sent_s
                health.answered(made)
                learn(work, made, (sent_s - work.began_s) * 1000, (now_s - sent_s) * 1000)
                pipeline.done(entry)

            outbox.publish(made, traceparent(work.message.headers), done)

        lanes = InspectionPool(answer, settings.threads, publish=publish, step_aside=pipeline.step_aside, fail=_end)
        try:
            async for event in stream.events():
                entry = await pipeline.put(_Done(event))
                health.came()
                lanes.submit(_received(event.message, clock.utc_us()), entry)
        finally:
            # A graceful stop cancels this loop: frames in flight are still finished and acked.
            await pipeline.drain()
            lanes.close()
            outbox.close()

    return app


@dataclass(slots=True)
class _Done:
    """Frame in flight; after Kafka's acknowledgement also its answer, and the time that sending took."""

    event: Any
    answer: ProcessingResult = field(default_factory=ProcessingResult)
    publish_s: float = 0.0


def _end(error: BaseException) -> None:
    log.critical("Kafka did not take an answer, ending so that nothing more is committed: %r", error)
    logging.shutdown()
    os._exit(EXIT_CANNOT_PUBLISH)


def _received(message: Any, received_at_us: int) -> FrameMessage:
    if isinstance(message.value, NoValue):
        batch = message.value.batch
        return FrameMessage(
            None, None, {}, FramePosition(batch.topic, batch.partition, batch.first, received_at_us), batch
        )
    source = FramePosition(message.topic, message.partition, message.offset, received_at_us)
    return FrameMessage(message.value, message.key, message.headers, source)

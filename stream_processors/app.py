"""The Faust app: frames in, decisions and dead letters out.

The order that makes "at least once" true, for each frame:

1. it is decoded and inspected in a thread; where its image lies in a store, that is fetched before, in another
   thread, and frames behind it are not held up (`stream_processors.lanes`);
2. its decision and its dead letter are sent, and the broker's acknowledgements awaited;
3. when it and every frame before it have come so far, it is acked to Faust (`stream_processors.pipeline`);
4. Faust commits what is acked on a timer, and once more on a graceful stop.

If step 2 fails the process ends on the spot, and what was not committed is read again by whoever takes over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import faust
from mode.supervisors import CrashingSupervisor

from models import Model, Source
from schemas.clock import Clock, SystemClock
from schemas.image_store import ImageStore
from schemas.topics import MAX_REQUEST_BYTES
from schemas.wire import Codec
from stream_processors.answer import Answer, Answerer, Received
from stream_processors.headers import header_map, traceparent
from stream_processors.lanes import Lanes
from stream_processors.metrics import WorkerMetrics
from stream_processors.pipeline import Pipeline
from stream_processors.process import make_faust_app, raw_topics
from stream_processors.settings import WorkerSettings
from stream_processors.transport import bounded_transport

log = logging.getLogger(__name__)

#: Exit status when Kafka did not take an answer (BSD's EX_IOERR).
EXIT_CANNOT_PUBLISH = 74


def make_app(settings: WorkerSettings, model: Model, metrics: WorkerMetrics, clock: Clock | None = None) -> faust.App:
    """Build the app; it connects when it is started.

    Raises
    ------
    RegistryError
        If the settings name a schema registry that does not answer.
    """
    clock = clock or SystemClock()
    kafka = settings.kafka
    store = None
    if settings.image_store is not None:
        store = ImageStore(settings.image_store, on_away=metrics.image_store_away.set)
    answer = Answerer(model, Codec.from_settings(kafka), clock, settings.overload, store)
    app = make_faust_app(settings.group, kafka, consumer_max_fetch_size=MAX_REQUEST_BYTES, broker_max_poll_records=32)
    transport = bounded_transport(settings.buffer_mib * 1024 * 1024, metrics, answer.newest)
    app.transport = transport(app.conf.broker, app, app.loop)
    lanes = Lanes(answer, settings.threads)
    frames, decisions, dead_letters = raw_topics(app, kafka.frames, kafka.decisions, kafka.dead_letters)

    async def answer_one(event: Any, step_aside: Callable[[], None]) -> None:
        result = await lanes.answer(_received(event.message, clock.utc_us()), step_aside)
        began = time.perf_counter()
        await asyncio.gather(*(await _sends(event.message, result, decisions, dead_letters)))
        publish_s = time.perf_counter() - began
        metrics.record(result, publish_s)
        if result.decision is not None and "infer" in result.decision.durations_ms:
            stages_ms = result.decision.durations_ms
            answer.estimate.update(sum(stages_ms.values()) - stages_ms.get("queue", 0.0) + publish_s * 1000)
            metrics.estimate.set(answer.estimate.ms / 1000)

    @app.agent(frames, name="inspect", concurrency=1, supervisor_strategy=CrashingSupervisor)
    async def inspect(stream: Any) -> None:
        stream.enable_acks = False  # the pipeline acks, in order
        pipeline: Pipeline[Any] = Pipeline(
            lambda event: answer_one(event, pipeline.step_aside),
            ack=lambda event: event.ack(),
            fail=_end,
            limit=settings.in_flight,
        )
        try:
            async for event in stream.events():
                await pipeline.put(event)
        finally:
            # A graceful stop cancels this loop: what is under way is finished and acked all the same.
            await pipeline.drain()

    return app


def _end(error: BaseException) -> None:
    log.critical("Kafka did not take an answer, ending so that nothing more is committed: %r", error)
    logging.shutdown()
    os._exit(EXIT_CANNOT_PUBLISH)


async def _sends(message: Any, result: Answer, decisions: Any, dead_letters: Any) -> list[Any]:
    """Start the sends; each returned future completes when the broker has acknowledged."""
    started = []
    if result.decision is not None:
        trace = traceparent(header_map(message.headers))
        started.append(
            await decisions.send(
                key=result.decision.key.encode(),
                value=result.decision_bytes,
                headers={"traceparent": trace} if trace else None,
            )
        )
    if result.dead_letter is not None:
        started.append(await dead_letters.send(key=result.dead_letter_key, value=result.dead_letter))
    return started


def _received(message: Any, received_at_us: int) -> Received:
    source = Source(message.topic, message.partition, message.offset, received_at_us)
    return Received(message.value, message.key, header_map(message.headers), source)

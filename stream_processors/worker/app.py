"""Worker as a Faust app: its parts, and the stream function that connects them."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import faust
from confluent_kafka import KafkaException
from mode.supervisors import CrashingSupervisor

from models import FramePosition, Model
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.origin_headers import origin_headers
from stream_processors.faust_host.bounded_transport import bounded_transport
from stream_processors.faust_host.messages import PartialAck, ReceivedMessage
from stream_processors.faust_host.process import EXIT_CANNOT_PUBLISH, make_faust_app, raw_topics
from stream_processors.worker.feedback import Feedback
from stream_processors.worker.frame_processor import WORKER_NAME
from stream_processors.worker.frame_task import FrameMessage, FrameTask
from stream_processors.worker.guard import GuardedFrameProcessor, trials_of
from stream_processors.worker.inspection_pool import InspectionPool
from stream_processors.worker.metrics import WorkerMetrics
from stream_processors.worker.ordered_completion import OrderedCompletion
from stream_processors.worker.result_publisher import ResultPublisher
from stream_processors.worker.retries import Retries
from stream_processors.worker.settings import WorkerSettings
from stream_processors.worker.work_health import WorkHealth
from transport.batch_trials.after_death import BatchTrials
from transport.belief import make_belief
from transport.image_store import ImageStore
from transport.public_keys import SignerRole
from transport.quarantine import Quarantine

log = logging.getLogger(__name__)


class FrameWorker:
    """Parts of a worker, and the function that takes frames from the frames topic to their decisions.

    Parameters
    ----------
    settings
        Settings of the worker.
    model
        Model that inspects.
    metrics
        Metrics of the process.
    clock
        Clock for the times of records; default: the system's.
    health
        Records frames and results.
    quarantine
        Files about messages that ended a worker; without a quarantine no file is written.

    Raises
    ------
    RegistryError
        If the settings name a schema registry that does not answer.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        model: Model,
        metrics: WorkerMetrics,
        clock: Clock | None = None,
        health: WorkHealth | None = None,
        quarantine: Quarantine | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock or SystemClock()
        self._codec = Codec.from_settings(settings.kafka)
        self._quarantine = quarantine or Quarantine(None)
        store = None
        if settings.image_store is not None:
            store = ImageStore(settings.image_store, on_unreachable=metrics.image_store_unreachable.set)
        self._retries = Retries(settings.kafka, self._codec, self._clock)
        line = settings.kafka if settings.trust_topic else None
        self._belief = make_belief(settings.trust, settings.signatures, metrics.signature_fault, self._clock, line=line)
        if self._belief is not None:
            self._belief.add_metrics(metrics.registry)
        self._processor = GuardedFrameProcessor(
            model,
            self._codec,
            self._clock,
            settings.overload,
            store,
            quarantine=self._quarantine,
            trials=trials_of(settings),
            is_retry=self._is_retry,
            on_untrue=metrics.untrue_claim,
            signature_fault=self._signature_fault,
        )
        health = health or WorkHealth(settings.unhealthy_after_s, self._clock)
        self._feedback = Feedback(self._processor, health, metrics)
        self._pool: InspectionPool | None = None

    async def process(self, stream: Any) -> None:
        """Take each frame of a stream from its message to the committed decision ("at least once").

        1. Admit: wait for a slot, and give the frame its place in the order (`OrderedCompletion.admit`).
        2. Read: a thread decodes the record, and sheds a frame that is not worth an inspection
           (`InspectionPool.submit`, `FrameProcessor.read`). An image in a store is fetched by another thread, and the
           frames behind it do not wait (`FrameProcessor.image`).
        3. Inspect: the thread inspects the image and decides (`FrameProcessor.inspect_all`).
        4. Publish: decision and dead letter are sent to Kafka (`ResultPublisher.publish`). If Kafka does not accept
           them, the process ends at once, and the worker that takes over reads the uncommitted frames again.
        5. Complete: Kafka has acknowledged decision and dead letter (`OrderedCompletion.complete`).
        6. Acknowledge: when the frame and every frame before it are complete, it is acked to Faust, which commits on a
           timer, and once more on a graceful stop.

        `FrameTask` carries the frame through these stages.
        """
        settings = self._settings
        stream.enable_acks = False  # `OrderedCompletion` acks, in order
        if self._belief is not None:
            await asyncio.to_thread(self._belief.open)  # before the first frame, whose key may be in the topic only
        completion = OrderedCompletion(self._feedback, settings.in_flight)
        headers = origin_headers(settings.group, WORKER_NAME)
        publisher = await asyncio.to_thread(
            ResultPublisher,
            settings.kafka,
            completion,
            _end_process,
            self._codec,
            headers,
            settings.in_flight // 4,  # the others hold their slots
        )
        pool = InspectionPool(self._processor, publisher, completion, settings.threads, fail=_end_process)
        self._pool = pool
        try:
            async for event in stream.events():
                messages = event.message.value.messages
                while messages:
                    await completion.free_slot()
                    message = messages.popleft()
                    ack = PartialAck(event, message.last_offset) if messages else event
                    task = FrameTask(_frame_message(message, self._clock.utc_us()), ack)
                    pool.submit(completion.admit(task))
        finally:
            # A graceful stop cancels this loop: frames in flight are still completed and acknowledged.
            await completion.drain()
            pool.close()
            publisher.close()
            self._retries.close()
            if self._belief is not None:
                self._belief.close()

    def _signature_fault(self, message: FrameMessage, camera: str) -> str | None:
        """Return why a frame is not believed; None if its own camera has signed it, or nobody has to."""
        if self._belief is None:
            return None
        topic = message.source.topic
        return self._belief.refusal(SignerRole.CAMERA, camera, topic, message.key, message.value, message.headers)

    def _is_retry(self, message: FrameMessage) -> bool:
        """Return True if a message is the retry of a dead letter, and an operator has signed it if anyone has to."""
        if self._belief is not None:
            camera, topic = (message.key or b"").decode(errors="replace"), message.source.topic
            if self._belief.refuses_retry(camera, topic, message.key, message.value, message.headers):
                return False
        return self._retries.is_retry(message)

    def make_app(self) -> faust.App:
        """Build the Faust app; it connects when it is started."""
        settings, kafka = self._settings, self._settings.kafka
        buffer_bytes = settings.buffer_mib * 1024 * 1024
        app = make_faust_app(settings.group, kafka, settings.session_timeout_s)
        transport = bounded_transport(
            kafka,
            buffer_bytes,
            trials=BatchTrials(kafka, self._quarantine.deaths, buffer_bytes, settings.watchdog_s),
            is_busy=self._is_busy,
            on_deleted=lambda topic, partition, count: self._metrics.deleted.inc(count),
            on_in_flight_bytes=self._metrics.in_flight_bytes.set,
            on_read=self._note_newest,
        )
        app.transport = transport(app.conf.broker, app, app.loop)
        app.on_partitions_assigned.connect(self._read_quarantine, weak=False)
        [frames] = raw_topics(app, kafka.frames)
        app.agent(frames, name="inspect", concurrency=1, supervisor_strategy=CrashingSupervisor)(self.process)
        return app

    def _is_busy(self) -> bool:
        return self._pool is not None and self._pool.is_busy

    def _note_newest(self, message: ReceivedMessage) -> None:
        self._processor.shedding.newest.read(message.partition, message.key, message.offset)

    async def _read_quarantine(self, *_: Any, **__: Any) -> None:
        # Another worker of the host may have died and left its partitions. This waits for files and starts a process.
        await asyncio.to_thread(self._processor.read_quarantine)


def _end_process(error: BaseException) -> None:
    reason = error.args[0].str() if isinstance(error, KafkaException) else error
    log.critical(
        "Kafka did not take an answer (%s): ending, so that nothing more is committed; start it again to go on",
        reason,
    )
    logging.shutdown()
    os._exit(EXIT_CANNOT_PUBLISH)


def _frame_message(message: ReceivedMessage, received_at_us: int) -> FrameMessage:
    source = FramePosition(message.topic, message.partition, message.offset, received_at_us)
    return FrameMessage(message.value, message.key, message.headers, source, message.batch)

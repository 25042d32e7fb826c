"""Faust app of `inspection watch`: reads decisions and labels, publishes drift events.

The order of steps that guarantees "no message counts twice, none is left out":

1. the camera processes a message, and the resulting events are published and acknowledged;
2. every few seconds a snapshot of each camera that has changed is published and acknowledged;
3. the messages that the snapshots include are acked to Faust, which commits them.

After a crash, the uncommitted messages are read again. Messages below a snapshot's offsets are skipped; the others lead
to the same events with the same ids.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import faust
from confluent_kafka import KafkaError, KafkaException
from mode.supervisors import CrashingSupervisor

from monitoring.drift import ReferencesOf
from monitoring.drift.concept import EventOrigin
from monitoring.shelf import Shelf
from schemas import CodecError, Decision, DriftEvent, Label
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from stream_processors.faust_host.bounded_transport import bounded_transport
from stream_processors.faust_host.messages import ReceivedMessage
from stream_processors.faust_host.process import make_faust_app, raw_topics
from stream_processors.watch.camera import WatchedCamera, written_us
from stream_processors.watch.metrics import WatchMetrics
from stream_processors.watch.notify import Notifier
from stream_processors.watch.publisher import EventPublisher
from stream_processors.watch.settings import WatchSettings
from stream_processors.watch.state import MAX_KEY, Snapshot, find_snapshots
from transport.batch_trials.after_death import BatchTrials
from transport.batches import UNDECODABLE_BATCH, UnreadableBatch
from transport.belief import Belief
from transport.deaths import Deaths
from transport.limited_log import LimitedLog
from transport.public_keys import SignerRole
from transport.quarantine import Quarantine

log = logging.getLogger(__name__)
#: Most bytes of messages that are read but not in a snapshot yet, including those that Faust still keeps.
_HELD_BYTES = 64 * 1024 * 1024
#: Most messages that wait for a snapshot: the transport hands over no more than 4,000 at a time.
_HELD_COUNT = 1500
#: Interval at which forgotten cameras are logged, in seconds, and most characters of their names.
_SAY_S = 60.0
_SHOWN = 100


def make_watch_app(
    settings: WatchSettings,
    references_of: ReferencesOf,
    metrics: WatchMetrics,
    notifier: Notifier,
    clock: Clock | None = None,
    quarantine: Quarantine | None = None,
    on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
    publisher: EventPublisher | None = None,
    belief: Belief | None = None,
) -> tuple[faust.App, Callable[[], Awaitable[None]]]:
    """Build the app and return it with a function that publishes the state and acks the messages in it.

    The app connects when it is started. Without a quarantine the app does not know that a process of its group died.
    ``on_unreadable`` is called with each batch that is skipped. The caller closes the publisher and the belief, which
    checks the signatures of labels; without one every label is believed.
    """
    kafka = settings.kafka
    quarantine = quarantine or Quarantine(None)
    app = make_faust_app(settings.group, kafka)
    # `range` sends the decisions and labels of a camera to the same process.
    trials = BatchTrials(kafka, quarantine.deaths, _HELD_BYTES)
    transport = bounded_transport(kafka, _HELD_BYTES, assignor="range", trials=trials)
    app.transport = transport(app.conf.broker, app, app.loop)
    decisions, labels = raw_topics(app, kafka.decisions, kafka.labels)
    codec = Codec.from_settings(kafka)
    watching = _Watching(
        settings,
        references_of,
        metrics,
        notifier,
        clock or SystemClock(),
        codec,
        publisher or EventPublisher(kafka),
        quarantine.deaths,
        on_unreadable,
        belief,
    )

    # The owner of a partition publishes its state before another process reads it, and reads it when it gets it.
    async def on_rebalance(_app: Any, /, *_: Any, signal: Any, **__: Any) -> None:
        await watching.hand_over()

    app.on_partitions_revoked.connect(on_rebalance, weak=False)
    app.on_partitions_assigned.connect(on_rebalance, weak=False)

    @app.on_partitions_assigned.connect(weak=False)
    async def check_deaths(*_: Any, **__: Any) -> None:
        await asyncio.to_thread(quarantine.look)

    async def follow(stream: Any, read: Callable[[bytes | None], Decision | Label]) -> None:
        stream.enable_acks = False  # acked after the snapshot that includes the message
        try:
            async for event in stream.events():
                await watching.take(event, read)
                if watching.waiting_count >= _HELD_COUNT:
                    await watching.flush()
        finally:
            await watching.flush()

    @app.agent(decisions, name="watch-decisions", concurrency=1, supervisor_strategy=CrashingSupervisor)
    async def watch_decisions(stream: Any) -> None:
        await follow(stream, lambda value: codec.decode(value, Decision))

    @app.agent(labels, name="watch-labels", concurrency=1, supervisor_strategy=CrashingSupervisor)
    async def watch_labels(stream: Any) -> None:
        await follow(stream, lambda value: codec.decode(value, Label))

    @app.timer(settings.snapshot_s)  # type: ignore[untyped-decorator]
    async def snapshot() -> None:
        await watching.flush()

    return app, watching.settle


class _Watching:
    """Cameras of the partitions that this process has; it processes one message at a time."""

    def __init__(
        self,
        settings: WatchSettings,
        references_of: ReferencesOf,
        metrics: WatchMetrics,
        notifier: Notifier,
        clock: Clock,
        codec: Codec,
        publisher: EventPublisher,
        deaths: Deaths,
        on_unreadable: Callable[[UnreadableBatch], object],
        belief: Belief | None = None,
    ) -> None:
        self._settings = settings
        self._references_of = references_of
        self._metrics = metrics
        self._notifier = notifier
        self._clock = clock
        self._publisher, self._deaths = publisher, deaths
        #: Removals of snapshots that are not acknowledged yet.
        self._removals: list[asyncio.Future[None]] = []
        self._codec, self._on_unreadable, self._belief = codec, on_unreadable, belief
        #: Cameras by `_name`; and snapshots, by partition and camera, that no message has needed yet.
        self._cameras: Shelf[WatchedCamera] = Shelf(settings.max_cameras, spare=lambda camera: camera.in_episode)
        self._waiting: dict[int, dict[str, Snapshot]] = {}
        self._topic_ids: dict[str, str] = {}
        self._past_ends: dict[int, Mapping[str, int]] = {}
        self._limited = LimitedLog(log)
        self._reported_s = -_SAY_S
        self._unreported = 0
        self._waiting_events: list[Any] = []
        #: Number of messages that wait for the next snapshot.
        self.waiting_count = 0
        self._lock = asyncio.Lock()
        # If an event was not published, its camera may already have changed: no snapshot may include that change.
        self._is_torn = False

    async def take(self, event: Any, read: Callable[[bytes | None], Decision | Label]) -> None:
        """Process the messages of an event (step 1). An error here ends the process, through the agent's supervisor."""
        async with self._lock:
            self._is_torn = True
            for message in event.message.value.messages:
                await self._take(message, read)
            self._is_torn = False
            self._waiting_events.append(event)
            self.waiting_count += len(event.message.value.messages)

    async def _take(self, message: ReceivedMessage, read: Callable[[bytes | None], Decision | Label]) -> None:
        if message.batch is not None:
            self._metrics.unreadable.labels(UNDECODABLE_BATCH).inc()
            self._on_unreadable(message.batch)
            return
        waiting = await self._snapshots(message.partition)
        try:
            found = read(message.value)
        except CodecError as error:
            self._skip(message, error.kind, str(error))
            return
        if len(found.key) > MAX_KEY:
            self._skip(message, "names-too-long", f"station and camera have {len(found.key)} characters")
            return
        if isinstance(found, Label) and not self._is_believed(message, found):
            return
        name = _name(message.partition, found.key)
        camera, times = self._cameras.get(name), 1
        if camera is None:
            camera = await self._begin(message.partition, found.key, waiting.pop(found.key, None))
            times += camera.quality.decisions  # a restored camera is not a newcomer
        await self._forget(self._cameras.see(name, camera, times))
        camera.topic_ids, camera.past_ends = self._topic_ids, self._past_ends.get(message.partition, {})
        if camera.has_seen(message.topic, message.offset):
            camera.read_again()
            return
        now_us = self._clock.utc_us()
        written = written_us(message.timestamp_s, now_us)
        origin = EventOrigin(message.topic, message.partition, message.offset, now_us, written)
        began = time.perf_counter()
        events = camera.decision(found, origin) if isinstance(found, Decision) else camera.label(found, origin)
        self._metrics.took.observe(time.perf_counter() - began)
        for event in events:
            await self._publish(event)

    def _skip(self, message: ReceivedMessage, kind: str, why: str) -> None:
        self._metrics.unreadable.labels(kind).inc()
        self._limited.warning(kind, f"{message.topic} {message.partition}/{message.offset}: {why}")

    def _is_believed(self, message: ReceivedMessage, label: Label) -> bool:
        if self._belief is None:
            return True
        at_us = written_us(message.timestamp_s, self._clock.utc_us())
        topic, key, value, found = message.topic, message.key, message.value, message.headers
        return self._belief.refusal(SignerRole.OPERATOR, label.key, topic, key, value, found, at_us) is None

    async def _publish(self, event: DriftEvent) -> None:
        topic, value = self._settings.kafka.drift, self._codec.encode(event)
        await (await self._publisher.send(topic, event.key.encode(), value))
        self._metrics.events.labels(event.drift_type.value, event.state.value).inc()
        self._notifier.notify(event)

    async def flush(self) -> bool:
        """Publish the snapshots, then ack the messages in them (steps 2 and 3); return False if no snapshot may be."""
        async with self._lock:
            if self._is_torn:
                return False
            await self._snapshot()
            waiting_events, self._waiting_events, self.waiting_count = self._waiting_events, [], 0
            for event in waiting_events:
                event.ack()
            return True

    async def settle(self) -> None:
        """Flush, or raise an error: the process is stopping, and nothing else tells that it cannot end in order."""
        if not await self.flush():
            raise RuntimeError("an event was not published")

    async def _snapshot(self) -> None:
        loop, writes, removals = asyncio.get_running_loop(), [], self._removals
        self._removals = []
        for _, camera in self._cameras.items():
            if not camera.is_dirty:
                continue
            # It takes some hundredths of a second, so it runs in a thread: no heartbeat waits. The lock stays locked.
            snapshot = await loop.run_in_executor(None, camera.snapshot)
            self._metrics.show(camera, len(snapshot))
            writes.append(asyncio.ensure_future(self._write(camera, snapshot)))
        for each in await asyncio.gather(*removals, *writes, return_exceptions=True):
            if isinstance(each, BaseException) and not _is_unknown_partition(each):
                raise each

    async def hand_over(self) -> None:
        """Publish the state and drop it: the next message of a partition reads it again, here or in another process."""
        await self.flush()
        async with self._lock:
            for name, camera in list(self._cameras.items()):
                camera.close()
                self._metrics.forget(camera)
                self._cameras.drop(name)
            self._waiting.clear()

    async def _snapshots(self, partition: int) -> dict[str, Snapshot]:
        """Return the snapshots of a partition that wait for their camera; each is read when its camera appears."""
        waiting = self._waiting.get(partition)
        if waiting is None:
            settings, loop = self._settings, asyncio.get_running_loop()
            read = partial(
                find_snapshots,
                settings.kafka,
                partition,
                settings.max_cameras,
                is_tried=self._deaths.are_due(),
                on_unreadable=self._on_unreadable,
            )
            found = await loop.run_in_executor(None, read)
            self._metrics.void_snapshots.inc(found.voided)
            self._topic_ids, self._past_ends[partition] = found.ids, found.ends
            waiting = self._waiting[partition] = dict(found.found)
            if waiting:
                log.info("partition %d: going on with %d cameras", partition, len(waiting))
            self._count_forgotten(list(found.dropped))
            for key in found.dropped:
                await self._remove(key, partition)
        return waiting

    async def _write(self, camera: WatchedCamera, snapshot: bytes) -> None:
        """Write to the camera's own partition of the state topic, unless there is no such partition (yet)."""
        topic, key = self._settings.kafka.drift_state, camera.key.encode()
        for is_known in (False, True):
            try:
                await (await self._publisher.send(topic, key, snapshot, camera.partition))
            except KafkaException as error:
                if not _is_unknown_partition(error):
                    raise
                if not is_known:  # it may be a new one
                    await self._publisher.refresh(topic)
            else:
                camera.is_dirty, camera.is_kept = False, True
                return
        log.warning("%s: no snapshot: the state topic has no partition %s", camera.key[:_SHOWN], camera.partition)

    async def _remove(self, key: str, partition: int | None) -> None:
        """Remove the snapshot of a camera from the state topic; the next flush waits for the acknowledgement."""
        sent = await self._publisher.send(self._settings.kafka.drift_state, key.encode(), None, partition)
        self._removals.append(sent)

    async def _begin(self, partition: int, key: str, snapshot: Snapshot | None) -> WatchedCamera:
        settings = self._settings
        camera = WatchedCamera(key, self._references_of, settings.options, self._clock, settings.max_age_h, partition)
        if snapshot is not None:
            # This takes some hundredths of a second too.
            await asyncio.get_running_loop().run_in_executor(None, camera.restore, snapshot)
        return camera

    async def _forget(self, gone: list[tuple[str, WatchedCamera]]) -> None:
        """Drop evicted cameras, from the state topic too."""
        self._count_forgotten([camera.key for _, camera in gone])
        for _, camera in gone:
            camera.close()
            self._metrics.forget(camera)
            if camera.is_kept:
                await self._remove(camera.key, camera.partition)

    def _count_forgotten(self, keys: list[str]) -> None:
        self._metrics.forgotten.inc(len(keys))
        self._unreported += len(keys)
        now_s = self._clock.monotonic_s()
        if self._unreported and now_s - self._reported_s >= _SAY_S:
            newest = f", the newest of them {keys[-1][:_SHOWN]!a}" if keys else ""
            log.warning(
                "more than %d cameras: %d that were unseen for longest are forgotten%s; --max-cameras sets the number",
                self._settings.max_cameras, self._unreported, newest,
            )  # fmt: skip
            self._reported_s, self._unreported = now_s, 0


def _is_unknown_partition(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() == KafkaError._UNKNOWN_PARTITION


def _name(partition: int, key: str) -> str:
    return f"{partition} {key}"

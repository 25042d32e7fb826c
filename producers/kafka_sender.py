"""Sender of frames to Kafka, by way of the disk if Kafka does not accept a frame.

States of a frame, and the events that move it from one state to another. Each step runs under one lock, so that memory,
disk and counts always agree.

=============  ==========================================  ============================  =====================
state          event                                       next state                    function
=============  ==========================================  ============================  =====================
offered        the spool takes every frame (``always``)    offered and on disk, or lost  `offer`
offered        no frame waits, and the client has room     in flight                     `offer`
offered        the queue has room                          queued                        `offer`
offered        the queue is full or closed                 on disk, or lost              `_store_or_drop`
queued         a newer frame evicts it                     on disk, or lost              `_store_or_drop`
queued         its turn, and the client has room           in flight                     `_send`
queued         its turn, and it cannot wait for room       on disk, or lost              `_store_or_drop`
in flight      the broker becomes unreachable              in flight and on disk         `SpoolDrain.check`
in flight      acknowledged                                published                     `_published`
in flight      its batch is too large                      to send alone                 `_on_delivery`
in flight      too large, also alone                       lost                          `_too_large`
in flight      the delivery fails                          on disk, or lost              `_failed`
to send alone  no frame is in flight                       in flight                     `_send_alone`
on disk        its turn, see `producers.spool_drain`       in flight and on disk         `_drain`
in memory      the sender closes                           on disk, or lost              `close`
=============  ==========================================  ============================  =====================

"On disk, or lost": a frame is lost, and counted, if there is no spool, or if the disk refuses the frame. A frame that
is on disk already stays there. It leaves the disk only after its acknowledgement; if the process is killed in between,
the frame is sent twice, with the same frame id.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from confluent_kafka import KafkaError, KafkaException

from producers.bounded_queue import BoundedQueue
from producers.client import make_producer
from producers.message import Message, PublishedFrame
from producers.moving import Moving, SentAlone, in_flight
from producers.options import PublisherOptions
from producers.sender_thread import check_running, start_threads
from producers.spool import LazySpool, Spool, SpoolOptions
from producers.spool.record import FrameKey
from producers.spool_drain import SpoolDrain
from producers.stats import DropReason, PublisherCounters
from schemas.clock import Clock
from schemas.errors import InspectionError
from schemas.settings import KafkaSettings
from transport.limited_log import LimitedLog
from transport.refusals import Refused, refusal_of

_log = logging.getLogger(__name__)

_POLL_S = 0.1
#: Wait of the send thread for a live frame while there is a backlog to drain, in seconds.
_BUSY_S = 0.002
#: Longest wait of `close` for the delivery reports of cancelled frames, in seconds.
_CANCEL_S = 5.0
_DEFAULTS = SpoolOptions()
_CLOSED: tuple[DropReason, str] = ("closed", "closed before Kafka took the frame")


class KafkaSender:
    """Sender of the frames of one camera. Thread-safe. The options bound its memory, also in a long outage.

    Parameters
    ----------
    kafka, topic
        Destination of the frames.
    camera
        ``station/camera``, for the log.
    started_at_us
        Start of the camera. Frames of this start are counted as captured; others, from the spool, are counted as
        recovered.
    options
        Bounds and policy.
    counters
        Counters of the outcome of each frame.
    clock
        Clock with the monotonic time.
    spool, spool_options
        Spool for frames on disk. Without a spool, a frame that Kafka does not accept in time has failed.
    on_published
        Called with each acknowledged frame, in the polling thread.
    on_refused
        Called with an error that waiting does not end; it returns the remedy in a few words.
    takes_record
        Called with the size of a record; it returns True if the topic accepts the record in a batch of its own.
    batch_bytes
        Largest batch that the topic accepts; None if unknown.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        camera: str,
        *,
        started_at_us: int,
        options: PublisherOptions,
        counters: PublisherCounters,
        clock: Clock,
        spool: Spool | LazySpool | None = None,
        spool_options: SpoolOptions = _DEFAULTS,
        on_published: Callable[[PublishedFrame], None] | None = None,
        on_refused: Callable[[KafkaError], str] = lambda error: "it will not take it later either",
        takes_record: Callable[[int], bool] = lambda size_bytes: False,
        batch_bytes: int | None = None,
    ) -> None:
        self._on_refused = on_refused
        self._topic = topic
        self._camera = camera
        self._started_at_us = started_at_us
        self._blocks = options.policy == "block"
        self._counters = counters
        self._clock = clock
        self._on_published = on_published
        self._limited = LimitedLog(_log)
        self._queue = BoundedQueue[Message](options.hand_over_frames, options.hand_over_bytes, options.policy)
        self._alone = SentAlone(takes_record)
        # Reentrant: the thread that purges may also handle the delivery reports of the purged frames.
        self._lock = threading.RLock()
        self._moving: dict[FrameKey, Moving] = {}
        self._spool = SpoolDrain(
            spool, spool_options, self._moving, started_at_us=started_at_us, counters=counters, clock=clock,
            warn=self._warn, on_change=self._on_change,
        )  # fmt: skip
        self._room = threading.Event()
        self._stopped = threading.Event()
        self._make_producer = partial(make_producer, kafka, options, self._on_error, batch_bytes)
        self._producer = self._make_producer()
        work = {f"send {camera}": self._send_all, f"poll {camera}": self._poll_all}
        self._threads = start_threads(work, self._close_queue)

    @property
    def unreachable(self) -> bool:
        """True if the broker does not accept frames at the moment; always False without a spool."""
        return self._spool.unreachable

    @property
    def backlog(self) -> int:
        """Number of frames on disk without an acknowledgement."""
        with self._lock:
            return len(self._spool)

    def check_running(self) -> None:
        """Raise `SenderStopped` if a thread of the sender has ended by an error."""
        check_running(self._threads)

    def offer(self, message: Message) -> bool:
        """Accept a frame for sending; return False if it was dropped at once, and counted.

        If no frame waits, the frame does not go through the queue: its camera's thread sends it.
        """
        with self._lock:  # so that `close` runs before or after this block
            if self._spool.takes_every_frame and not self._queue.closed:
                if not self._spool.store_or_drop(message, *_CLOSED):
                    return False
                self._moving[message.place] = Moving(message, on_disk=True)
            if self._is_next() and self._produce(message, drained=False):
                return True
        outcome = self._queue.put(message, len(message.value))
        for evicted in outcome.evicted:
            self._store_or_drop(evicted, "queue-full", "Kafka is slower than the camera: dropped the oldest frame")
        if outcome.accepted:
            return True
        if self._queue.closed:
            return self._store_or_drop(message, *_CLOSED)
        return self._store_or_drop(message, "queue-full", "Kafka is slower than the camera: dropped the new frame")

    def _is_next(self) -> bool:
        """Return True if the broker is reachable, and no earlier frame waits in memory or on disk."""
        return self._queue.idle and not self.unreachable and self.backlog == 0 and not self._alone

    def _store_or_drop(self, message: Message, reason: DropReason, why: str) -> bool:
        """Remove a frame from memory: it stays on disk, goes to disk, or is dropped. Return True if it is on disk."""
        with self._lock:
            moving = self._moving.pop(message.place, None)
            return (moving is not None and moving.on_disk) or self._spool.store_or_drop(message, reason, why)

    def _send_all(self) -> None:
        """Send queued frames, frames that are sent alone, and frames on disk. Runs in a thread of its own."""
        while not self._queue.closed:
            self._check()
            self._send_alone()
            if self._alone and not self.unreachable:
                self._stopped.wait(_BUSY_S)
                continue
            message = self._queue.take(_POLL_S if self.unreachable or self.backlog == 0 else _BUSY_S)
            if message is not None:
                self._send(message)
            if self._spool.is_turn(after_live=message is not None):
                self._drain()
            with self._lock:
                self._spool.forget(is_idle=message is None)

    def _send(self, message: Message) -> None:
        while True:
            self._room.clear()
            if self._must_wait():
                if not self._blocks:
                    self._store_or_drop(message, "queue-full", "the broker is unreachable")
                    return
            elif self._produce(message, drained=False):
                return
            elif self._spool.is_used and not self._blocks:
                self._store_or_drop(message, "queue-full", "Kafka is slower than the camera")
                return
            # The client's queue is full, or the broker is unreachable and the camera can wait. Meanwhile the hand-over
            # queue fills, and its policy decides.
            if self._queue.closed:
                self._store_or_drop(message, *_CLOSED)
                return
            self._room.wait(_POLL_S)
            self._check()
            self._drain()

    def _must_wait(self) -> bool:
        with self._lock:
            return self._spool.holds_back()

    def _check(self) -> None:
        with self._lock:
            self._spool.check()

    def _produce(self, message: Message, *, drained: bool) -> bool:
        """Pass a frame to the Kafka client; return False if the client has no room."""
        place = message.place
        with self._lock:
            if not self._spool.may_be_in_flight(len(message.value)):
                return False
            before = self._moving.get(place)
            moving = Moving(message, self._clock.monotonic_s(), drained or bool(before and before.on_disk), drained)
            self._moving[place] = moving
        try:
            self._producer.produce(
                self._topic,
                message.value,
                message.key,
                headers=message.headers,
                on_delivery=partial(self._on_delivery, place),
            )
        except BufferError:
            with self._lock:
                moving.since_s = None
                if before is None:
                    del self._moving[place]
            return False
        except KafkaException as error:
            self._on_delivery(place, error.args[0], None)
            if error.args[0].fatal():
                self._replace_producer()
        return True

    def _replace_producer(self) -> None:
        # After a fatal error (a broker has lost the state of the idempotent producer) a client refuses all frames.
        self._producer.purge()
        with suppress(KafkaException):
            self._producer.flush(_CANCEL_S)
        try:
            self._producer = self._make_producer()
        except InspectionError as error:  # a right was taken away: the next frame tries again
            self._warn("kafka", str(error))

    def _poll_all(self) -> None:
        while not self._stopped.is_set():
            try:
                self._producer.poll(_POLL_S)
            except KafkaException as error:  # fatal: the next frame gets a new client
                self._on_error(error.args[0])
                self._stopped.wait(_POLL_S)

    def _on_delivery(self, place: FrameKey, error: KafkaError | None, _: object) -> None:
        with self._lock:
            moving = self._moving.pop(place, None)
            if moving is None:
                return
            if error is None:
                self._published(moving)
            elif refusal_of(error) is Refused.TOO_LARGE and self._alone.put(moving):
                self._on_refused(error)  # the broker refuses a batch as a whole: this frame may fit alone
                moving.since_s = None
                self._moving[place] = moving
            elif refusal_of(error) is Refused.TOO_LARGE:
                self._too_large(moving, f"{error.str()}: {self._on_refused(error)}")
            else:
                self._failed(moving, error)
        self._room.set()
        if error is None and self._on_published is not None:
            try:
                self._on_published(moving.message.frame)
            except Exception:  # noqa: BLE001 - code of the caller
                # It must not end the thread that handles all acknowledgements.
                _log.exception("%s: on_published failed", self._camera)

    def _published(self, moving: Moving) -> None:
        message = moving.message
        self._spool.acknowledged(moving)
        self._counters.record_refusal(None)
        if message.started_at_us != self._started_at_us:
            self._counters.recover()
            return
        # A frame that was read from disk has no monotonic time: its latency is taken from its age.
        age_s = (self._clock.utc_us() - message.frame.captured_at_us) / 1e6
        latency_s = max(0.0, age_s) if message.taken_s is None else self._clock.monotonic_s() - message.taken_s
        self._counters.publish(message.frame.size_bytes, latency_s, spooled=moving.on_disk)

    def _too_large(self, moving: Moving, line: str) -> None:
        place = moving.message.place
        if place[0] == self._started_at_us:
            self._counters.drop("too-large", spooled=moving.on_disk)
        self._spool.record_loss(place, deleted_because="too-large" if moving.on_disk else None)
        self._warn("too-large", line)

    def _failed(self, moving: Moving, error: KafkaError) -> None:
        if not self._spool.is_used:
            self._counters.fail("undelivered")
            self._warn("undelivered", self._explain(error))
            return
        if error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            self._warn("undelivered", f"{self._explain(error)}; the frame stays in the spool")
            self._spool.failed()
        if not moving.on_disk:
            self._spool.store_or_drop(moving.message, *_CLOSED)

    def _explain(self, error: KafkaError) -> str:
        if refusal_of(error) not in (Refused.TIMESTAMP, Refused.RECORD):
            return error.str()
        line = f"{error.str()}: {self._on_refused(error)}"
        self._counters.record_refusal(line)
        return line

    def _send_alone(self) -> None:
        """Send one of the frames that were refused with their batch, if no other frame is in flight."""
        with self._lock:
            if not self._alone or in_flight(self._moving):
                return
            message, drained = self._alone.take()
        if not self._produce(message, drained=drained):
            self._alone.put_back(message, drained)

    def _drain(self) -> None:
        with self._lock:
            messages = self._spool.next_frames()
        for message in messages:
            if not self._produce(message, drained=True):
                with self._lock:
                    self._moving.pop(message.place, None)
                return

    def close(self) -> None:
        """End the sending. Idempotent.

        Frames that are not acknowledged go to the spool; without a spool they are dropped and counted.
        """
        self._close_queue()
        self._threads[0].join()
        for message in self._alone.close():
            self._store_or_drop(message, *_CLOSED)
        with self._lock:
            is_waiting = bool(in_flight(self._moving))
        if is_waiting:
            # Each cancelled frame still gets its delivery report, as an error.
            self._producer.purge()
            self._counters.wait_settled(_CANCEL_S)
        self._stopped.set()
        self._threads[1].join()
        with self._lock:
            self._spool.close()
        self._limited.flush()

    def _close_queue(self) -> None:
        for message in self._queue.close():
            self._store_or_drop(message, *_CLOSED)

    def record_loss(self, sequence: int) -> None:
        """Record on disk a frame of this start that was dropped and counted before it was offered."""
        with self._lock:
            self._spool.record_loss((self._started_at_us, sequence))

    def _on_change(self, unreachable: bool) -> None:
        self._counters.broker_is_unreachable(unreachable)
        if unreachable:
            self._warn("unreachable", "Kafka does not take frames: they go to the spool until it does")
        else:
            self._warn("back", f"Kafka takes frames again, {self.backlog} in the spool", logging.INFO)

    def _on_error(self, error: KafkaError) -> None:
        self._warn("kafka", error.str())

    def _warn(self, kind: str, message: str, level: int = logging.WARNING) -> None:
        self._limited.warning(kind, f"{self._camera}: {message}", level)

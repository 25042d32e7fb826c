"""Sender of frames from the hand-over queue to Kafka, by way of the disk if Kafka does not accept a frame.

Paths of a frame. Each step runs under one lock, so that memory, disk and counts always agree::

    offer ─ queue ─ produce ─ acknowledged          published
               │        └──── failed ─┐
               └─ broker away, full ──┴─ spool ─ produce ─ acknowledged ─ deleted from the spool

If no frame waits, a new frame does not go through the queue: its camera's thread sends it. A frame leaves the disk only
after its acknowledgement. If the process is killed in between, the frame is sent twice, with the same frame id.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from confluent_kafka import KafkaError, KafkaException

from producers.bounded_queue import BoundedQueue
from producers.broker_health import BrokerHealth
from producers.client import make_producer
from producers.message import Message, PublishedFrame
from producers.moving import Moving, SentAgain
from producers.options import PublisherOptions
from producers.spool import Spool, SpoolOptions
from producers.spool.record import FrameKey
from producers.spool_backlog import Refusal, SpoolBacklog
from producers.stats import DropReason, PublisherCounters
from schemas.clock import Clock
from schemas.settings import KafkaSettings
from transport.limited_log import LimitedLog
from transport.refusals import Refused, refusal_of

_log = logging.getLogger(__name__)

_POLL_S = 0.1
#: Wait of the send thread for a live frame while there is a backlog to drain, in seconds.
_BUSY_S = 0.002
#: Longest wait of `close` for the delivery reports of cancelled frames, in seconds.
_CANCEL_S = 5.0
#: Most frames of the spool in flight at once; live frames use the rest of the client's queue.
_DRAIN_IN_FLIGHT = 16
#: Number of live frames in a row after which a frame of the spool gets its turn.
_LIVE_IN_A_ROW = 8

#: Pause before a frame in flight is offered to a full disk again, in seconds.
_STORE_AGAIN_S = 1.0

#: Number of acknowledged frames that are deleted from disk in one step while live frames keep coming.
_FORGET_AT_ONCE = 16
_DEFAULTS = SpoolOptions()


class Sender:
    """Sender of the frames of one camera. Thread-safe. The options bound its memory, also in a long outage.

    Parameters
    ----------
    kafka, topic
        Destination of the frames.
    camera
        ``station/camera``, for the log.
    started_at_us
        Start of the camera. Frames of this start are counted in the tally as captured; others, from the spool, are
        counted as recovered.
    options
        Bounds and policy.
    tally
        Tally of the outcome of each frame.
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
        tally: PublisherCounters,
        clock: Clock,
        spool: Spool | None = None,
        spool_options: SpoolOptions = _DEFAULTS,
        on_published: Callable[[PublishedFrame], None] | None = None,
        on_refused: Callable[[KafkaError], str] = lambda error: "it will not take it later either",
        takes_record: Callable[[int], bool] = lambda size_bytes: False,
        batch_bytes: int | None = None,
    ) -> None:
        self._on_refused = on_refused
        self._again = SentAgain(takes_record)
        self._topic = topic
        self._camera = camera
        self._started_at_us = started_at_us
        self._blocks = options.policy == "block"
        self._tally = tally
        self._clock = clock
        self._on_published = on_published
        self._limited = LimitedLog(_log)
        self._queue = BoundedQueue[Message](options.hand_over_frames, options.hand_over_bytes, options.policy)
        self._backlog = None if spool is None else SpoolBacklog(spool, spool_options, tally, started_at_us, self._warn)
        away_after_s = float("inf") if spool is None else spool_options.away_after_ms / 1000
        self._watch = BrokerHealth(away_after_s, self._on_change)
        # Reentrant: the thread that purges may also handle the delivery reports of the purged frames.
        self._lock = threading.RLock()
        self._moving: dict[FrameKey, Moving] = {}
        self._live_in_a_row = 0
        self._room = threading.Event()
        self._stopped = threading.Event()
        self._make_producer = partial(make_producer, kafka, options, self._on_error, batch_bytes)
        self._producer = self._make_producer()
        self._threads = [
            threading.Thread(target=work, name=f"{what} {camera}", daemon=True)
            for what, work in (("send", self._send_all), ("poll", self._poll_all))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def away(self) -> bool:
        """True if the broker does not accept frames at the moment; always False without a spool."""
        return self._watch.away

    @property
    def backlog(self) -> int:
        """Number of frames on disk without an acknowledgement."""
        with self._lock:
            return 0 if self._backlog is None else len(self._backlog)

    def offer(self, message: Message) -> bool:
        """Accept a frame for sending; return False if it was dropped at once, and counted."""
        with self._lock:  # so that `close` runs before or after this block
            if self._backlog is not None and self._backlog.options.mode == "always" and not self._queue.closed:
                if not self._store(message):
                    return False
                self._moving[message.place] = Moving(message, on_disk=True)
            if self._is_next() and self._produce(message, drained=False):
                return True
        outcome = self._queue.put(message, len(message.value))
        for evicted in outcome.evicted:
            self._set_aside(evicted, "queue-full", "Kafka is slower than the camera: dropped the oldest frame")
        if outcome.accepted:
            return True
        if self._queue.closed:
            return self._set_aside(message, "closed", "closed before Kafka took the frame")
        return self._set_aside(message, "queue-full", "Kafka is slower than the camera: dropped the new frame")

    def _is_next(self) -> bool:
        """Return True if the camera's thread may send its frame itself.

        It may if the broker is reachable, and no earlier frame waits in memory or on disk.
        """
        return self._queue.idle and not self._watch.away and self.backlog == 0 and not self._again

    def close(self) -> None:
        """End the sending. Idempotent.

        Frames that are not acknowledged go to the spool; without a spool they are dropped and counted.
        """
        for message in self._queue.close():
            self._set_aside(message, "closed", "closed before Kafka took the frame")
        self._threads[0].join()
        for message in self._again.close():
            self._set_aside(message, "closed", "closed before Kafka took the frame")
        with self._lock:
            waiting = any(moving.since_s is not None for moving in self._moving.values())
        if waiting:
            # Each cancelled frame still gets its delivery report, as an error.
            self._producer.purge()
            self._tally.wait_settled(_CANCEL_S)
        self._stopped.set()
        self._threads[1].join()
        with self._lock:
            if self._backlog is not None:
                self._backlog.close()
                self._backlog = None
        self._limited.flush()

    def _send_all(self) -> None:
        while not self._queue.closed:
            self._look()
            self._send_again()
            if self._again and not self._watch.away:
                self._stopped.wait(_BUSY_S)  # a frame that is sent again is sent alone
                continue
            message = self._queue.take(self._patience_s())
            if message is not None:
                self._send(message)
                self._live_in_a_row += 1
            if message is None or self._live_in_a_row >= _LIVE_IN_A_ROW:
                self._live_in_a_row = 0
                self._drain()
            with self._lock:
                if self._backlog is not None:
                    self._backlog.forget(at_least=1 if message is None else _FORGET_AT_ONCE)

    def _patience_s(self) -> float:
        return _POLL_S if self._watch.away or self.backlog == 0 else _BUSY_S

    def _send_again(self) -> None:
        """Send one of the frames that were refused with their batch, if no other frame is in flight."""
        with self._lock:
            if not self._again or any(moving.since_s is not None for moving in self._moving.values()):
                return
            message, drained = self._again.take()
        if not self._produce(message, drained=drained):
            self._again.put_back(message, drained)

    def _send(self, message: Message) -> None:
        while True:
            self._room.clear()
            if self._holds_back():
                if not self._blocks:
                    self._set_aside(message, "queue-full", "the broker is away")
                    return
            elif self._produce(message, drained=False):
                return
            elif self._backlog is not None and not self._blocks:
                self._set_aside(message, "queue-full", "Kafka is slower than the camera")
                return
            # The client's queue is full, or the broker is unreachable and the camera can wait. Meanwhile the hand-over
            # queue fills, and its policy decides.
            if self._queue.closed:
                self._set_aside(message, "closed", "closed before Kafka took the frame")
                return
            self._room.wait(_POLL_S)
            self._look()
            self._drain()

    def _holds_back(self) -> bool:
        if self._backlog is None:
            return False
        return self._watch.away or (self._backlog.options.order == "order-first" and self._waiting_on_disk() > 0)

    def _waiting_on_disk(self) -> int:
        """Return the number of frames that are only on disk."""
        with self._lock:
            return self.backlog - sum(moving.on_disk for moving in self._moving.values())

    def _produce(self, message: Message, *, drained: bool) -> bool:
        """Pass a frame to the Kafka client; return False if the client has no room."""
        place = message.place
        with self._lock:
            if self._backlog is not None and not self._backlog.may_be_under_way(
                sum(len(moving.message.value) for moving in self._moving.values() if moving.since_s is not None),
                len(message.value),
            ):
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
        self._producer.flush(_CANCEL_S)
        self._producer = self._make_producer()

    def _poll_all(self) -> None:
        while not self._stopped.is_set():
            self._producer.poll(_POLL_S)

    def _drain(self) -> None:
        """Send frames of the spool, as many as may be in flight; one frame, as a test, if the broker is unreachable."""
        with self._lock:
            if self._backlog is None or self._waiting_on_disk() <= 0:
                return
            under_way = [moving for moving in self._moving.values() if moving.since_s is not None]
            if self._watch.away:
                room = int(not under_way and self._watch.may_try(self._clock.monotonic_s()))
            else:
                room = _DRAIN_IN_FLIGHT - sum(moving.drained for moving in under_way)
            if room <= 0:
                return
            messages = self._backlog.next(room, self._moving.keys())
        for message in messages:
            if not self._produce(message, drained=True):
                with self._lock:
                    self._moving.pop(message.place, None)
                return

    def _look(self) -> None:
        """Check if the broker is unreachable; if so, store the frames that wait for it on disk as well."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            waiting = [moving for moving in self._moving.values() if moving.since_s is not None]
            self._watch.look(min((moving.since_s or now_s for moving in waiting), default=None), now_s)
            if self._watch.away and self._backlog is not None:
                refusal: Refusal | None = None
                for moving in waiting:
                    if not moving.on_disk and moving.store_again_s <= now_s:
                        refusal = self._backlog.append(moving.message, self._moving.keys())
                        moving.on_disk = refusal is None
                        moving.store_again_s = now_s + _STORE_AGAIN_S
                if refusal is not None:
                    # No frame is dropped yet: each frame still gets an outcome, and is counted then.
                    self._warn("unsaved", f"{refusal.why}: frames on their way to Kafka are in memory only")

    def _on_delivery(self, place: FrameKey, error: KafkaError | None, _: object) -> None:
        with self._lock:
            moving = self._moving.pop(place, None)
            if moving is None:
                return
            if error is None:
                self._published(moving)
            elif refusal_of(error) is Refused.TOO_LARGE and self._again.put(moving):
                self._on_refused(error)  # the broker refuses a batch as a whole: this frame may fit alone
                moving.since_s = None
                self._moving[place] = moving
            elif refusal_of(error) is Refused.TOO_LARGE:
                self._give_up(moving, "too-large", f"{error.str()}: {self._on_refused(error)}")
            elif self._backlog is None:
                self._tally.fail("undelivered")
                self._warn("undelivered", self._why(error))
            else:
                if error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
                    self._warn("undelivered", f"{self._why(error)}; the frame stays in the spool")
                    self._watch.failed(self._clock.monotonic_s())
                if not moving.on_disk:
                    self._store(moving.message)
        self._room.set()
        if error is None and self._on_published is not None:
            try:
                self._on_published(moving.message.frame)
            except Exception:  # noqa: BLE001 - code of the caller
                # It must not end the thread that handles all acknowledgements.
                _log.exception("%s: on_published failed", self._camera)

    def _why(self, error: KafkaError) -> str:
        if refusal_of(error) not in (Refused.TIMESTAMP, Refused.RECORD):
            return error.str()
        why = f"{error.str()}: {self._on_refused(error)}"
        self._tally.refuse(why)
        return why

    def _published(self, moving: Moving) -> None:
        message = moving.message
        self._watch.acknowledged()
        self._tally.refuse(None)
        if moving.on_disk and self._backlog is not None:
            self._backlog.acknowledged(message.place)
        if message.started_at_us != self._started_at_us:
            self._tally.recover()
            return
        # A frame that was read from disk has no monotonic time: its latency is taken from its age.
        age_s = (self._clock.utc_us() - message.frame.captured_at_us) / 1e6
        latency_s = max(0.0, age_s) if message.taken_s is None else self._clock.monotonic_s() - message.taken_s
        self._tally.publish(message.frame.size_bytes, latency_s, spooled=moving.on_disk)

    def _give_up(self, moving: Moving, reason: DropReason, message: str) -> None:
        place = moving.message.place
        if place[0] == self._started_at_us:
            self._tally.drop(reason, spooled=moving.on_disk)
        if self._backlog is not None:
            if moving.on_disk:
                self._backlog.give_up(place, reason)
            else:
                self._backlog.lose(place)
        self._warn(reason, message)

    def _set_aside(self, message: Message, reason: DropReason, why: str) -> bool:
        """Remove a frame from memory: it stays on disk, goes to disk, or is dropped. Return True if it is on disk."""
        with self._lock:
            moving = self._moving.pop(message.place, None)
            if moving is not None and moving.on_disk:
                return True
            if self._backlog is not None:
                return self._store(message)
        self._tally.drop(reason)
        self._warn(reason, why)
        return False

    def lost(self, sequence: int) -> None:
        """Record on disk a frame of this start that was dropped and counted before it was offered."""
        with self._lock:
            if self._backlog is not None:
                self._backlog.lose((self._started_at_us, sequence))

    def _store(self, message: Message) -> bool:
        """Put a frame on disk; return False if it was dropped, and counted."""
        if self._backlog is None:
            self._tally.drop("closed")
            return False
        refusal = self._backlog.append(message, self._moving.keys())
        if refusal is None:
            return True
        self._tally.drop(refusal.reason)
        self._tally.spool_gave_up(refusal.reason, 1)
        self._backlog.lose(message.place)
        self._warn(refusal.reason, f"{refusal.why}: dropped the new frame")
        return False

    def _on_change(self, away: bool) -> None:
        self._tally.broker_is_away(away)
        if away:
            self._warn("away", "Kafka does not take frames: they go to the spool until it does")
        else:
            line = f"{self._camera}: Kafka takes frames again, {self.backlog} in the spool"
            self._limited.warning("back", line, logging.INFO)

    def _on_error(self, error: KafkaError) -> None:
        self._warn("kafka", error.str())

    def _warn(self, kind: str, message: str) -> None:
        self._limited.warning(kind, f"{self._camera}: {message}")

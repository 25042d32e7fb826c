"""Publisher of one camera's frames, which accounts for each of them."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from producers.camera import Capture
from producers.encoding import EncodedImage, encode_capture
from producers.frame_limit import FrameLimit
from producers.kafka_sender import KafkaSender
from producers.message import PublishedFrame, make_message
from producers.options import CameraIdentity, PublisherOptions
from producers.sender_thread import SenderStopped
from producers.spool import LazySpool, SpoolOptions, spool_path
from producers.stats import DropReason, FailReason, PublisherCounters, PublisherMetrics, PublisherStats
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.errors import BrokerUnavailable, InspectionError
from schemas.part_ids import real_part_id
from schemas.records import Encoding, ImageReference
from schemas.settings import KafkaSettings
from schemas.topics import MAX_STORED_BYTES
from transport.admin import require_topics
from transport.circuit_breaker import CircuitBreaker
from transport.image_store import ImageStore, ImageStoreError
from transport.limited_log import LimitedLog
from transport.rights import require_rights
from transport.topic_limits import topic_limits

_log = logging.getLogger(__name__)

#: Longest wait for the broker to confirm the topic, in seconds; shorter with a spool, because the camera need not wait.
_PATIENT_S = 5.0
_HASTY_S = 2.0
#: Time without calls to the image store after a failure, in seconds. It doubles while the store is unreachable, up to
#: the second value.
_STORE_REST_S = 5.0
_STORE_LONGEST_REST_S = 30.0
#: Pause between two checks of a spool that is being drained, in seconds.
_POLL_S = 0.05


class FramePublisher:
    """Publisher of the captures of one camera. Call `publish` from one thread only. The options bound the memory.

    `publish` encodes in the caller's thread and hands the message over to `producers.kafka_sender`. The sequence number
    is assigned at capture, so a frame that is dropped later is a gap that the reader sees. With a spool, frames that
    Kafka does not accept go to disk. They are sent when Kafka accepts frames again, also by the next start. With a
    spool, no broker is needed at the start.

    Parameters
    ----------
    kafka
        Address of Kafka and names of the topics.
    identity
        Names of line, station and camera.
    options
        Encoding, deadline, bounds.
    clock
        Clock for the times of captures.
    spool
        Options of the spool, in which frames wait for an unreachable broker. None: no spool; such frames are dropped or
        fail.
    metrics
        Metrics that the publishers of a process share. Default: metrics of its own.
    on_published
        Called with each acknowledged frame, in the polling thread. It must return quickly.

    Raises
    ------
    BrokerUnavailable
        If no broker answers and there is no spool.
    TopicMissing
        If the frames topic does not exist.
    RegistryError
        If the settings name a schema registry that does not answer.
    SpoolInUse, SpoolMisplaced
        If another publisher uses the camera's spool, or if the spool's directory is not a usable directory. On a full
        disk the camera goes on without the spool, and the spool is opened as soon as there is room.

    Examples
    --------
    ::

        with FramePublisher(KafkaSettings(), CameraIdentity("line-1", "press", "top")) as publisher:
            publisher.publish(Capture(image=pixels))
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        identity: CameraIdentity,
        options: PublisherOptions | None = None,
        clock: Clock | None = None,
        *,
        spool: SpoolOptions | None = None,
        metrics: PublisherMetrics | None = None,
        on_published: Callable[[PublishedFrame], None] | None = None,
    ) -> None:
        self._limited = LimitedLog(_log)
        is_there = True
        try:
            require_topics(kafka, [kafka.frames], _PATIENT_S if spool is None else _HASTY_S)
            require_rights(kafka, write=[kafka.frames])
        except BrokerUnavailable as error:
            if spool is None:
                raise
            is_there = False
            _log.warning("%s: %s; frames go to the spool until it answers", identity.key, str(error).splitlines()[0])
        self.identity = identity
        self._options = options or PublisherOptions()
        self._clock = clock or SystemClock()
        self._codec = Codec.from_settings(kafka)
        self._started_at_us = self._clock.utc_us()
        self._counters = PublisherCounters(identity.key, metrics or PublisherMetrics())
        self._closing = threading.Event()
        self._store = None
        if self._options.image_store is not None:
            # Each try may cost the camera time, so the tries become fewer during a long outage.
            breaker = CircuitBreaker(_STORE_REST_S, _STORE_LONGEST_REST_S, self._clock)
            on_unreachable = self._counters.store_is_unreachable
            self._store = ImageStore(self._options.image_store, breaker=breaker, on_unreachable=on_unreachable)
        self._limit = FrameLimit(partial(topic_limits, kafka, kafka.frames, _HASTY_S), self._clock)
        if is_there:
            self._limit.renew()
        opened = None if spool is None else LazySpool(spool_path(spool.directory, kafka.prefix, identity), spool)
        self._sender = KafkaSender(
            kafka,
            kafka.frames,
            identity.key,
            started_at_us=self._started_at_us,
            options=self._options,
            counters=self._counters,
            clock=self._clock,
            spool=opened,
            spool_options=spool or SpoolOptions(),
            on_published=on_published,
            on_refused=lambda error: self._limit.refused(error, has_store=self._store is not None),
            takes_record=self._limit.takes_record,
            batch_bytes=self._limit.message_bytes if self._limit.is_known else None,
        )

    def publish(self, capture: Capture) -> str | None:
        """Publish a capture; return its frame id, or None if it was dropped at once.

        With the policy ``block`` this call waits for room. Every capture is counted, and so is its outcome.

        Raises
        ------
        SenderStopped
            If a fault of the program has ended the sending.
        """
        self._sender.check_running()
        taken_s = self._clock.monotonic_s()
        captured_at_us = capture.captured_at_us if capture.captured_at_us is not None else self._clock.utc_us()
        sequence = self._counters.capture(captured_at_us)
        part_id = real_part_id(capture.part_id, self._options.no_part_ids)
        if part_id != capture.part_id:
            if part_id is None:
                self._counters.no_part_id()
            capture = replace(capture, part_id=part_id)
        try:
            self._limit.renew_soon()
            depth = capture.bit_depth if capture.bit_depth is not None else self._options.bit_depth
            image = encode_capture(capture, self._options.encode, self._options.quality, depth)
            reference = self._claim_check(image, captured_at_us)
            message = make_message(
                capture,
                image,
                identity=self.identity,
                options=self._options,
                started_at_us=self._started_at_us,
                sequence=sequence,
                captured_at_us=captured_at_us,
                taken_s=taken_s,
                codec=self._codec,
                reference=reference,
            )
        except InspectionError as error:
            self._fail(sequence, "unencodable", str(error))
            return None
        if not self._limit.takes_record(len(message.value)):
            cure = self._limit.cure(has_store=self._store is not None)
            self._drop(sequence, "too-large", f"an image of {len(image.data)} bytes is too large: {cure}")
            return None
        if self._closing.is_set():
            self._drop(sequence, "closed", "captured after the publisher was closed")
            return None
        return message.frame.frame_id if self._sender.offer(message) else None

    def flush(self, timeout_s: float) -> int:
        """Wait until every frame has an outcome, also those in the spool.

        Return the number of frames that have no outcome in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            pending = self._counters.wait_settled(max(0.0, deadline_s - time.monotonic()))
            left = pending + self._sender.backlog
            if not left or time.monotonic() >= deadline_s:
                return left
            time.sleep(_POLL_S)

    def close(self, timeout_s: float = 10.0) -> PublisherStats:
        """Wait for acknowledgements, at most ``timeout_s``; return the final counts. Idempotent.

        The remaining frames are dropped, or stay in the spool if there is one. While the broker is unreachable this
        call does not wait for frames on disk, because they are safe there.
        """
        self._closing.set()
        deadline_s = time.monotonic() + timeout_s
        with suppress(SenderStopped):  # there is nothing to wait for then
            while self.flush(_POLL_S) and time.monotonic() < deadline_s:
                self._sender.check_running()
                if self._sender.unreachable and not self._counters.wait_settled(0):
                    break
        self._sender.close()
        return self.stats()

    def missed(self, slots: int) -> None:
        """Count slots of the camera's rate that passed without a capture, as `CameraJob.on_missed` reports them."""
        self._counters.miss(slots)

    @property
    def started_at_us(self) -> int:
        """Start of the camera in its frames, UTC µs."""
        return self._started_at_us

    def stats(self) -> PublisherStats:
        """Return the counts so far."""
        return self._counters.snapshot()

    def __enter__(self) -> FramePublisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _claim_check(self, image: EncodedImage, captured_at_us: int) -> ImageReference | None:
        """Put a large image into the store and return the reference to it; None if the image goes into the frame."""
        if self._store is None or len(image.data) > MAX_STORED_BYTES:  # no reader takes such an image
            return None
        if len(image.data) <= self._options.store_above_bytes and self._limit.takes_image(len(image.data)):
            return None
        digest = hashlib.sha256(image.data).hexdigest()
        suffix = "bin" if image.encoding is Encoding.OTHER else image.encoding.value.lower()
        station, camera_id = self.identity.station, self.identity.camera_id
        try:
            return self._store.put(station, camera_id, captured_at_us, digest, image.data, suffix)
        except ImageStoreError:
            # An image that fits into the topic goes there instead. The store has logged the outage.
            self._counters.store_missed()
            return None

    def _drop(self, sequence: int, reason: DropReason, message: str) -> None:
        self._counters.drop(reason)
        self._sender.record_loss(sequence)
        self._limited.warning(reason, f"{self.identity.key}: {message}")

    def _fail(self, sequence: int, reason: FailReason, message: str) -> None:
        self._counters.fail(reason)
        self._sender.record_loss(sequence)
        self._limited.warning(reason, f"{self.identity.key}: {message}")

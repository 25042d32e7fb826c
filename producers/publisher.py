"""Publishes one camera's frames, and accounts for each of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from confluent_kafka import KafkaError, KafkaException

from producers.camera import Capture
from producers.client import make_producer
from producers.encoding import encode_capture
from producers.handover import HandOverQueue
from producers.limited_log import LimitedLog
from producers.message import Message, PublishedFrame, make_message
from producers.options import CameraIdentity, PublisherOptions
from producers.stats import DropReason, FailReason, PublisherMetrics, PublisherStats, Tally
from schemas.clock import Clock, SystemClock
from schemas.cluster import require_topics
from schemas.errors import InspectionError
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES
from schemas.wire import Codec

_log = logging.getLogger(__name__)

#: Room in a message for key, headers and the record's other fields around the image.
_ENVELOPE_BYTES = 64 * 1024
_POLL_S = 0.1
#: How long `close` waits for the answers to what it has cancelled.
_CANCEL_S = 5.0


class FramePublisher:
    """Publishes captures of one camera, from one thread; memory is bounded by the options.

    `publish` encodes in the caller's thread and hands over; a thread of the publisher's gives the frames to the
    Kafka client, another serves its acknowledgements. The sequence number is taken at capture: a frame
    dropped later is a gap that the reader sees.

    Parameters
    ----------
    kafka
        Where Kafka is.
    identity
        Names of line, station and camera.
    options
        Encoding, deadline, bounds.
    clock
        Time of captures.
    metrics
        Shared by the publishers of a process; private ones without it.
    on_published
        Called with each acknowledged frame, in the polling thread: be quick.

    Raises
    ------
    BrokerUnavailable
        If no broker answers.
    TopicMissing
        If the frames topic is not there.
    RegistryError
        If the settings name a schema registry that does not answer.

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
        metrics: PublisherMetrics | None = None,
        on_published: Callable[[PublishedFrame], None] | None = None,
    ) -> None:
        require_topics(kafka.bootstrap_servers, [kafka.frames])
        self.identity = identity
        self._options = options or PublisherOptions()
        self._clock = clock or SystemClock()
        self._topic = kafka.frames
        self._codec = Codec.from_settings(kafka)
        self._on_published = on_published
        self._started_at_us = self._clock.utc_us()
        self._tally = Tally(identity.key, metrics or PublisherMetrics())
        self._limited = LimitedLog(_log)
        self._queue = HandOverQueue[Message](
            self._options.hand_over_frames, self._options.hand_over_bytes, self._options.policy
        )
        self._make_producer = partial(make_producer, kafka.bootstrap_servers, self._options, self._on_error)
        self._producer = self._make_producer()
        self._room = threading.Event()
        self._closing = threading.Event()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"{what} {identity.key}", daemon=True)
            for what, work in (("send", self._send_all), ("poll", self._poll_all))
        ]
        for thread in self._threads:
            thread.start()

    def publish(self, capture: Capture) -> str | None:
        """Take a capture on its way; return its frame id, or None if it was dropped at once.

        With the policy ``block`` it waits for room. Every capture is counted, and so is its end.
        """
        taken_s = self._clock.monotonic_s()
        captured_at_us = capture.captured_at_us if capture.captured_at_us is not None else self._clock.utc_us()
        sequence = self._tally.capture(captured_at_us)
        try:
            image = encode_capture(capture, self._options.encode, self._options.quality)
            if len(image.data) + _ENVELOPE_BYTES > FRAMES.max_message_bytes:
                self._drop("too-large", f"an image of {len(image.data)} bytes is over the topic's limit")
                return None
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
            )
        except InspectionError as error:
            self._fail("unencodable", str(error))
            return None
        return message.frame.frame_id if self._hand_over(message) else None

    def flush(self, timeout_s: float) -> int:
        """Wait until every frame has come to its end; return how many have not in time."""
        return self._tally.wait_settled(timeout_s)

    def close(self, timeout_s: float = 10.0) -> PublisherStats:
        """Flush, give up what could not be delivered in time, and return the final counts. Idempotent."""
        self._closing.set()
        self.flush(timeout_s)
        for _ in self._queue.close():
            self._drop("closed", "closed before Kafka took the frame")
        self._threads[0].join()
        if self.flush(0):
            # Each cancelled frame still gets its delivery report, as an error.
            self._producer.purge()
            self.flush(_CANCEL_S)
        self._stopped.set()
        self._threads[1].join()
        return self.stats()

    def stats(self) -> PublisherStats:
        """Counts so far."""
        return self._tally.snapshot()

    def __enter__(self) -> FramePublisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hand_over(self, message: Message) -> bool:
        if self._closing.is_set():
            self._drop("closed", "captured after the publisher was closed")
            return False
        outcome = self._queue.put(message, len(message.value))
        for _ in outcome.evicted:
            self._drop("queue-full", "Kafka is slower than the camera: dropped the oldest frame")
        if not outcome.accepted:
            if self._queue.closed:
                self._drop("closed", "closed before Kafka took the frame")
            else:
                self._drop("queue-full", "Kafka is slower than the camera: dropped the new frame")
        return outcome.accepted

    def _send_all(self) -> None:
        while not self._queue.closed:
            message = self._queue.take(_POLL_S)
            if message is not None:
                self._send(message)

    def _send(self, message: Message) -> None:
        while True:
            self._room.clear()
            try:
                self._producer.produce(
                    self._topic,
                    message.value,
                    message.key,
                    headers=message.headers,
                    on_delivery=partial(self._on_delivery, message.frame, message.taken_s),
                )
                return
            except BufferError:
                # The client's queue is full: meanwhile the hand-over queue fills, and its policy decides.
                if self._queue.closed:
                    self._drop("closed", "closed before Kafka took the frame")
                    return
                self._room.wait(_POLL_S)
            except KafkaException as error:
                self._settle_error(error.args[0])
                if error.args[0].fatal():
                    self._replace_producer()
                return

    def _replace_producer(self) -> None:
        # After a fatal error (a broker that lost the idempotent producer's state) a client refuses everything.
        self._producer.purge()
        self._producer.flush(_CANCEL_S)
        self._producer = self._make_producer()

    def _poll_all(self) -> None:
        while not self._stopped.is_set():
            self._producer.poll(_POLL_S)

    def _on_delivery(self, frame: PublishedFrame, taken_s: float, error: KafkaError | None, _: object) -> None:
        self._room.set()
        if error is not None:
            self._settle_error(error)
            return
        self._tally.publish(frame.size_bytes, self._clock.monotonic_s() - taken_s)
        if self._on_published is not None:
            try:
                self._on_published(frame)
            except Exception:  # noqa: BLE001 - anyone's code
                # It must not end the thread that every acknowledgement comes through.
                _log.exception("%s: on_published failed", self.identity.key)

    def _settle_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._drop("too-large", error.str())
        else:
            self._fail("undelivered", error.str())

    def _on_error(self, error: KafkaError) -> None:
        self._limited.warning("kafka", f"{self.identity.key}: {error.str()}")

    def _drop(self, reason: DropReason, message: str) -> None:
        self._tally.drop(reason)
        self._limited.warning(reason, f"{self.identity.key}: {message}")

    def _fail(self, reason: FailReason, message: str) -> None:
        self._tally.fail(reason)
        self._limited.warning(reason, f"{self.identity.key}: {message}")

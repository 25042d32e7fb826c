"""Publisher of the frames of requests: one Kafka client for the cameras of all clients."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from confluent_kafka import KafkaError, KafkaException

from gateway.identity import camera_identity
from gateway.problems import Problem
from gateway.settings import GatewaySettings, default_instance
from producers.camera import Capture
from producers.client import make_producer
from producers.encoding import EncodedImage
from producers.frame_limit import FrameLimit
from producers.message import Message, make_message
from producers.options import CameraIdentity, PublisherOptions
from producers.stats import PublisherCounters, PublisherMetrics, PublisherStats
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.errors import InspectionError
from schemas.records import ImageReference
from schemas.settings import KafkaSettings
from transport.image_store import ImageStore, ImageStoreError
from transport.limited_log import LimitedLog
from transport.refusals import Refused, refusal_of
from transport.topic_limits import topic_limits

_log = logging.getLogger(__name__)

_POLL_S = 0.1
_LIMITS_S = 2.0
#: Longest time until the acknowledgement of a frame, in ms. After it the frame counts as failed.
_DELIVERY_MS = 30_000
_CLOSE_S = 5.0
#: Most cameras of a gateway: each has counts, metrics and a drift watch of its own.
MOST_CAMERAS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRequest:
    """Image of a request, with the facts that its frame records.

    ``sha256`` is the hash of the image, and ``named`` the frame id that the idempotency key gives it, or None.
    """

    client: str
    station: str
    image: EncodedImage
    sha256: str
    captured_at_us: int
    taken_s: float
    deadline_ms: int | None = None
    part_id: str | None = None
    lot: str | None = None
    attributes: dict[str, str]
    named: str | None = None


class GatewayPublisher:
    """Publisher of frames for all clients of a gateway. `publish` is called from one thread.

    Each client has cameras of its own (`gateway.identity`), with sequence numbers as any other camera has. A number is
    taken when the frame goes to the client of Kafka: a request that was refused before leaves no gap.

    Parameters
    ----------
    on_failed
        Called with the frame id and the reason of each frame that Kafka did not accept, in a thread of the publisher.

    Raises
    ------
    NotAuthorised, SettingsError, RegistryError
        If the client of Kafka cannot be made.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: GatewaySettings,
        metrics: PublisherMetrics,
        on_failed: Callable[[str, str], object],
        clock: Clock | None = None,
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._instance = settings.instance or default_instance(settings.port)
        self._metrics = metrics
        self._on_failed = on_failed
        self._clock = clock or SystemClock()
        self._codec = Codec.from_settings(kafka)
        self._limited = LimitedLog(_log)
        self.started_at_us = self._clock.utc_us()
        self._options = PublisherOptions(
            in_flight_frames=4 * settings.waiting, delivery_timeout_ms=_DELIVERY_MS, image_store=settings.image_store
        )
        self._store = None if settings.image_store is None else ImageStore(settings.image_store)
        self._limit = FrameLimit(partial(topic_limits, kafka, kafka.frames, _LIMITS_S), self._clock)
        self._limit.renew()
        self._counters: dict[str, PublisherCounters] = {}
        self._next: dict[str, int] = {}
        self._identities: dict[tuple[str, str, int], CameraIdentity] = {}
        self._make_producer = partial(
            make_producer, kafka, self._options, self._on_error, self._limit.message_bytes, requests_in_flight=1
        )
        self._producer = self._make_producer()
        self._is_broken = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll_all, name="poll", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """True while the thread of the publisher lives."""
        return self._thread.is_alive()

    @property
    def largest_image_bytes(self) -> int:
        """Largest image that a request may bring, in bytes."""
        if self._store is not None:
            return self._settings.largest_image_mib * 1024 * 1024
        return max(0, self._limit.largest_image_bytes)

    def needs_store(self, image: EncodedImage) -> bool:
        """Return True if the image goes to the image store: `store` may then take seconds."""
        return self._store is not None and (
            len(image.data) > self._options.store_above_bytes or not self._limit.takes_image(len(image.data))
        )

    def store(self, request: FrameRequest) -> ImageReference | None:
        """Put the image into the store; return None if the store does not take it, but the topic does.

        Raises
        ------
        Problem
            ``overloaded`` if neither takes it.
        """
        assert self._store is not None
        image = request.image
        camera = camera_identity(self._settings.line, request.station, request.client, self._instance, 0)
        try:
            return self._store.put(
                camera.station, camera.camera_id, request.captured_at_us, request.sha256, image.data,
                image.encoding.value.lower(),
            )  # fmt: skip
        except ImageStoreError as error:
            if self._limit.takes_image(len(image.data)):
                return None
            raise Problem("overloaded", f"the image store does not take the image: {error}", retry_after_s=5) from error

    def publish(self, request: FrameRequest, reference: ImageReference | None = None) -> str:
        """Pass a frame to the client of Kafka, and return its id. It does not wait.

        Raises
        ------
        Problem
            ``too-large``, ``bad-request``, ``overloaded`` or ``broker-away``; then nothing was published.
        """
        self._limit.renew_soon()
        if reference is None and not self._limit.takes_image(len(request.image.data)):
            raise Problem("too-large", self._limit.cure(has_store=self._store is not None))
        if self._is_broken.is_set():
            raise Problem("broker-away", "the client of Kafka is being made again", retry_after_s=1)
        number = self._next[request.client] = (self._next.get(request.client, -1) + 1) % self._settings.cameras
        identity = self._identity(request, number)
        counters = self._counters_of(identity)
        sequence = counters.capture(request.captured_at_us)
        try:
            message = make_message(
                Capture(
                    encoded=request.image.data, captured_at_us=request.captured_at_us, part_id=request.part_id,
                    lot=request.lot, attributes=request.attributes,
                ),
                request.image,
                identity=identity,
                options=replace(self._options, deadline_ms=request.deadline_ms),
                started_at_us=self.started_at_us,
                sequence=sequence,
                captured_at_us=request.captured_at_us,
                taken_s=request.taken_s,
                codec=self._codec,
                reference=reference,
                named=request.named,
                sha256=request.sha256,
            )  # fmt: skip
        except InspectionError as error:
            counters.fail("unencodable")
            raise Problem("bad-request", str(error)) from error
        self._produce(message, counters)
        return message.frame.frame_id

    def _identity(self, request: FrameRequest, number: int) -> CameraIdentity:
        # A name is checked sign by sign when it is made, so it is kept.
        place = request.station, request.client, number
        found = self._identities.get(place)
        if found is None:
            if len(self._identities) >= MOST_CAMERAS:
                raise Problem(
                    "bad-request",
                    f"this gateway has had {MOST_CAMERAS} cameras, so it takes no new station: a station is a place on "
                    "the line, and what differs from part to part is part_id, lot or attributes",
                )
            found = camera_identity(self._settings.line, request.station, request.client, self._instance, number)
            self._identities[place] = found
        return found

    def _counters_of(self, camera: CameraIdentity) -> PublisherCounters:
        found = self._counters.get(camera.key)
        if found is None:
            found = self._counters[camera.key] = PublisherCounters(camera.key, self._metrics)
        return found

    def _produce(self, message: Message, counters: PublisherCounters) -> None:
        try:
            self._producer.produce(
                self._kafka.frames,
                message.value,
                message.key,
                headers=message.headers,
                on_delivery=partial(self._on_delivery, message, counters),
            )
        except BufferError:
            counters.drop("queue-full")
            raise Problem("overloaded", "Kafka does not take frames as fast as they come", retry_after_s=1) from None
        except KafkaException as error:
            counters.fail("undelivered")
            if error.args[0].fatal():
                self._is_broken.set()
            raise Problem("broker-away", error.args[0].str(), retry_after_s=1) from error

    def _on_delivery(self, message: Message, counters: PublisherCounters, error: KafkaError | None, _: object) -> None:
        if error is None:
            counters.publish(message.frame.size_bytes, self._clock.monotonic_s() - (message.taken_s or 0.0))
            return
        if refusal_of(error) is Refused.TOO_LARGE:
            counters.drop("too-large")
        else:
            counters.fail("undelivered")
        self._limit.refused(error, has_store=self._store is not None)
        self._limited.warning("undelivered", f"{message.frame.camera.key}: {error.str()}")
        self._on_failed(message.frame.frame_id, error.str())

    def _poll_all(self) -> None:
        while not self._stopped.is_set():
            try:
                self._producer.poll(_POLL_S)
            except KafkaException as error:
                self._on_error(error.args[0])
                self._is_broken.set()
            if self._is_broken.is_set():
                self._replace_producer()

    def _replace_producer(self) -> None:
        # After a fatal error (a broker has lost the state of the idempotent producer) a client refuses all frames.
        self._producer.purge()
        with suppress(KafkaException):
            self._producer.flush(_CLOSE_S)
        try:
            self._producer = self._make_producer()
        except InspectionError as error:
            self._limited.warning("kafka", str(error))
            self._stopped.wait(1.0)
            return
        self._is_broken.clear()

    def _on_error(self, error: KafkaError) -> None:
        self._limited.warning("kafka", error.str())

    def stats(self) -> dict[str, PublisherStats]:
        """Return the counts of each camera, by ``station/camera``."""
        return {camera: counters.snapshot() for camera, counters in list(self._counters.items())}

    def close(self) -> None:
        """Wait a few seconds for acknowledgements, then drop the rest. Idempotent."""
        if self._stopped.is_set():
            return
        with suppress(KafkaException):
            if self._producer.flush(_CLOSE_S):
                self._producer.purge()
                self._producer.flush(_CLOSE_S)
        self._stopped.set()
        self._thread.join()
        self._limited.flush()

"""Topics that the contenders read: the same images as Avro frames and as bare JPEG, in the same partitions.

The broker stamps each decision when it appends the message. So there is one clock for all contenders, and no reader has
to run beside them.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from schemas import Encoding, Frame
from schemas.codec import encode
from schemas.ids import frame_id
from schemas.topics import MAX_REQUEST_BYTES, TOPICS
from transport.machine import usable_cores

#: Number of partitions: large enough that each frame in flight can be from another partition, also with many cores.
PARTITIONS = max(6, usable_cores())
#: Setting that hides librdkafka's messages about its clean-up on standard error; warnings and errors still show.
QUIET = {"log_level": 4}


@dataclass(frozen=True, slots=True)
class Stream:
    """Topics of one workload.

    Our worker reads ``frames`` and writes ``decisions``. The other contenders read ``raw`` and write ``raw_decisions``.
    """

    prefix: str

    @property
    def frames(self) -> str:
        return f"{self.prefix}.frames"

    @property
    def decisions(self) -> str:
        return f"{self.prefix}.decisions"

    @property
    def raw(self) -> str:
        return f"{self.prefix}.raw"

    @property
    def raw_decisions(self) -> str:
        return f"{self.prefix}.raw-decisions"


def create(bootstrap_servers: str, stream: Stream, partitions: int = PARTITIONS) -> None:
    """Create the topics of a stream, and wait until they can be used."""
    config = {"max.message.bytes": str(MAX_REQUEST_BYTES), "file.delete.delay.ms": "1000"}
    stamped = {**config, "message.timestamp.type": "LogAppendTime"}
    names = {
        topic.name(stream.prefix): (stamped if topic.suffix == "decisions" else config)
        for topic in TOPICS
        if topic.suffix in ("frames", "decisions", "dead-letters")
    } | {stream.raw: config, stream.raw_decisions: stamped}
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, **QUIET})
    wanted = [NewTopic(name, partitions, 1, config=found) for name, found in names.items()]
    for future in admin.create_topics(wanted).values():
        future.result(30)
    await_leaders(bootstrap_servers, list(names), partitions)


def await_leaders(bootstrap_servers: str, topics: Sequence[str], partitions: int = PARTITIONS) -> None:
    """Wait until new topics can be used.

    Raises
    ------
    KafkaException
        If a partition has no leader after half a minute.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, **QUIET})
    until_s = time.monotonic() + 30
    for topic in topics:
        while True:
            try:
                ends(bootstrap_servers, topic, partitions, admin)
                break
            except KafkaException:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.05)


def delete(bootstrap_servers: str, stream: Stream) -> None:
    """Delete the topics of a stream, so that the disk does not fill up over a long run."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, **QUIET})
    names = [name for name in admin.list_topics(timeout=30).topics if name.startswith(f"{stream.prefix}.")]
    for future in admin.delete_topics(names).values():
        future.result(30)
    gc.collect()  # remaining clients would log errors when the broker ends


def make_frame(
    image: bytes,
    size_wh: tuple[int, int],
    camera: str,
    sequence: int,
    *,
    captured_at_us: int | None = None,
    sha256: str | None = None,
    deadline_ms: int | None = None,
) -> Frame:
    """Return a frame, captured now by default; without a deadline it is inspected after any wait."""
    now_us = time.time_ns() // 1000 if captured_at_us is None else captured_at_us
    return Frame(
        frame_id=frame_id("bench", camera, 1, sequence), line="bench", station="bench", camera_id=camera,
        started_at_us=1, sequence=sequence, captured_at_us=now_us, deadline_ms=deadline_ms,
        part_id=f"P{sequence}", lot="L1", encoding=Encoding.JPEG, width=size_wh[0], height=size_wh[1],
        sha256=sha256 or hashlib.sha256(image).hexdigest(), image=image,
    )  # fmt: skip


def fill(
    bootstrap_servers: str,
    stream: Stream,
    images: Sequence[bytes],
    size_wh: tuple[int, int],
    count: int,
    cameras: int,
    partitions: int = PARTITIONS,
) -> None:
    """Publish ``count`` frames to both topics; the cameras are spread over the partitions as evenly as possible.

    Each camera has one partition.

    Raises
    ------
    RuntimeError
        If a frame cannot be written.
    """
    producer = Producer(
        {"bootstrap.servers": bootstrap_servers, "message.max.bytes": MAX_REQUEST_BYTES, "linger.ms": 20}
    )
    errors: list[str] = []

    def delivered(error: object, _: object) -> None:
        if error is not None:
            errors.append(str(error))

    for number in range(count):
        camera = f"c{number % cameras}"
        image = images[number % len(images)]
        values = {
            stream.frames: encode(make_frame(image, size_wh, camera, number // cameras)),
            stream.raw: image,
        }
        for topic, value in values.items():
            while True:
                try:
                    producer.produce(
                        topic,
                        value,
                        f"bench/{camera}",
                        partition=place(number % cameras, cameras, partitions),
                        on_delivery=delivered,
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    if producer.flush(120) or errors:
        raise RuntimeError(f"frames could not be written: {errors[:1]}")


def place(camera: int, cameras: int, partitions: int) -> int:
    """Return the partition of a camera.

    Examples
    --------
    >>> [place(camera, 3, 6) for camera in range(3)]
    [0, 2, 4]
    >>> [place(camera, 8, 6) for camera in range(8)]
    [0, 1, 2, 3, 4, 5, 0, 1]
    """
    return camera % partitions if cameras >= partitions else camera * partitions // cameras


def ends(
    bootstrap_servers: str, topic: str, partitions: int = PARTITIONS, admin: AdminClient | None = None
) -> list[int]:
    """Return the end offset of each partition; pass an ``admin`` client if you call this often."""
    admin = admin or AdminClient({"bootstrap.servers": bootstrap_servers, **QUIET})
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(topic, number): latest for number in range(partitions)}
    found = {asked.partition: future.result(10).offset for asked, future in admin.list_offsets(wanted).items()}
    return [found[number] for number in range(partitions)]


def appended(bootstrap_servers: str, topic: str, begin: Sequence[int]) -> Iterator[tuple[float, bytes]]:
    """Yield the append time (seconds since 1970) and the value of each message from given offsets to the end."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": "bench-read", "enable.partition.eof": True, **QUIET}
    )
    try:
        consumer.assign([TopicPartition(topic, number, offset) for number, offset in enumerate(begin)])
        left = len(begin)
        while left:
            message = consumer.poll(10)
            if message is None:
                raise RuntimeError(f"{topic} cannot be read")
            if message.error():
                left -= 1  # the end of a partition
                continue
            yield message.timestamp()[1] / 1000, message.value() or b""
    finally:
        consumer.close()

"""Open load, like that of cameras: each frame is sent at its own time, whatever happens to earlier frames.

The times are fixed before the run. If the sender or Kafka is slow, a frame is sent late; it has waited since its
intended time, and that wait is part of its latency. A slow contender does not slow down the load, so no latency is left
out (no coordinated omission). Sender and receiver are separate processes, with Python's garbage collector off. A frame
is made and encoded before its time comes.
"""

from __future__ import annotations

import gc
import hashlib
import json
import random
import time
from dataclasses import dataclass
from functools import partial

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from benchmarks.line_topics import QUIET, make_frame, place
from benchmarks.workloads import images, workload
from schemas import Decision, ResultState
from schemas.codec import decode, encode
from schemas.topics import MAX_REQUEST_BYTES

#: Partition and offset of a frame in the topic that a contender reads.
Place = tuple[int, int]

_LEAD_S = 0.3
_FLUSH_S = 60.0
#: Smaller sequence numbers belong to frames that only test if a contender is ready.
_FIRST_SEQUENCE = 1000


@dataclass(frozen=True, slots=True)
class Shot:
    """Frame of the schedule: seconds after its start, camera, number."""

    at_s: float
    camera: int
    number: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Schedule of cameras with one constant rate; the phase of each camera is drawn from ``seed``.

    Examples
    --------
    >>> shots = Schedule(rate=10, seconds=2, cameras=4, seed=1).shots()
    >>> len(shots), sorted({shot.camera for shot in shots})
    (20, [0, 1, 2, 3])
    """

    rate: float
    seconds: float
    cameras: int
    seed: int = 0

    def shots(self) -> list[Shot]:
        """Return all frames in the order of their times."""
        period_s = self.cameras / self.rate
        phases = random.Random(self.seed)
        found = []
        for camera in range(self.cameras):
            first_s, number = phases.random() * period_s, 0
            while (at_s := first_s + number * period_s) < self.seconds:
                found.append(Shot(at_s, camera, number))
                number += 1
        return sorted(found, key=lambda shot: shot.at_s)


@dataclass(frozen=True, slots=True)
class Load:
    """Load for a topic: frames as Avro or bare images of a workload, by a schedule."""

    bootstrap_servers: str
    topic: str
    as_frames: bool
    workload: str
    schedule: Schedule
    partitions: int
    deadline_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """Lists with one item for each frame: monotonic seconds of the intended time, delay of sending, and place."""

    intended_s: list[float]
    late_s: list[float]
    places: list[Place]


@dataclass(frozen=True, slots=True)
class Answered:
    """Monotonic seconds at which each frame's decision was read; number of further decisions, and of failures."""

    at_s: dict[Place, float]
    again: int
    not_completed: int


def prepare(name: str) -> None:
    """Make the images of a workload before they are needed, and switch the garbage collector off."""
    kind = workload(name)
    images(kind.size_wh, kind.colour)
    gc.collect()
    gc.disable()


def send(load: Load) -> Sent:
    """Send each frame at its time.

    Raises
    ------
    RuntimeError
        If Kafka does not take a frame.
    """
    kind = workload(load.workload)
    pictures = images(kind.size_wh, kind.colour)
    digests = [hashlib.sha256(picture).hexdigest() for picture in pictures]
    shots = load.schedule.shots()
    places: list[Place] = [(-1, -1)] * len(shots)
    errors: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": load.bootstrap_servers,
            "linger.ms": 0,
            "message.max.bytes": MAX_REQUEST_BYTES,
            "socket.nagle.disable": True,
        }
    )

    def delivered(number: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            errors.append(error.str())
        else:
            places[number] = (message.partition() or 0, message.offset() or 0)

    producer.list_topics(load.topic, 10)
    start_s, start_us = time.monotonic() + _LEAD_S, time.time_ns() // 1000 + int(_LEAD_S * 1e6)
    late_s = []
    for number, shot in enumerate(shots):
        picture, camera = number % len(pictures), f"c{shot.camera}"
        value = pictures[picture]
        if load.as_frames:
            frame = make_frame(
                value, kind.size_wh, camera, _FIRST_SEQUENCE + shot.number,
                captured_at_us=start_us + int(shot.at_s * 1e6), sha256=digests[picture],
                deadline_ms=load.deadline_ms,
            )  # fmt: skip
            value = encode(frame)
        due_s = start_s + shot.at_s
        while (early_s := due_s - time.monotonic()) > 0:
            time.sleep(early_s)
        partition = place(shot.camera, load.schedule.cameras, load.partitions)
        while True:
            try:
                producer.produce(
                    load.topic, value, f"bench/{camera}", partition=partition, on_delivery=partial(delivered, number)
                )
                break
            except BufferError:
                producer.poll(0.01)
        late_s.append(time.monotonic() - due_s)
        producer.poll(0)
    if producer.flush(_FLUSH_S) or errors:
        raise RuntimeError(f"frames could not be sent: {errors[:1]}")
    return Sent([start_s + shot.at_s for shot in shots], late_s, places)


def receive(
    bootstrap_servers: str, topic: str, begin: list[int], expected: int, timeout_s: float, *, as_frames: bool
) -> Answered:
    """Read decisions from given offsets on, until ``expected`` frames are answered or the time is up.

    ``as_frames``: decisions are Avro, as our worker writes them. Messages are decoded later; during the run only their
    time is taken.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "bench-latency",
            "fetch.min.bytes": 1,
            "fetch.queue.backoff.ms": 1,
            "enable.auto.commit": False,
            **QUIET,
        }
    )
    consumer.assign([TopicPartition(topic, number, offset) for number, offset in enumerate(begin)])
    until_s = time.monotonic() + timeout_s
    read: list[tuple[float, bytes]] = []
    at_s: dict[Place, float] = {}
    again = not_completed = 0
    try:
        while len(at_s) < expected and time.monotonic() < until_s:
            while len(read) < expected - len(at_s) and time.monotonic() < until_s:
                message = consumer.poll(0.1)
                if message is None or message.error():
                    continue
                read.append((time.monotonic(), message.value() or b""))
            for when_s, value in read:
                place, completed = _answers(value, as_frames=as_frames)
                again += place in at_s
                not_completed += not completed
                at_s.setdefault(place, when_s)
            read.clear()
    finally:
        consumer.close()
    return Answered(at_s, again, not_completed)


def _answers(value: bytes, *, as_frames: bool) -> tuple[Place, bool]:
    """Return the place of the frame of a decision, and True if the frame was inspected."""
    if as_frames:
        decision = decode(value, Decision)
        place = decision.source_partition, decision.source_offset
        return place, decision.result_state is ResultState.COMPLETED
    found = json.loads(value)
    return (found["partition"], found["offset"]), True

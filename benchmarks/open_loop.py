"""Load as cameras give it: each frame at its own time, whatever becomes of those before it.

The times are fixed before the run. A frame that is sent late, because the sender or Kafka was slow, has waited from its
intended time on, and that wait is part of its latency: nothing slows the load down when the contender is slow, so no
latency is left out (no coordinated omission). Sender and receiver are processes of their own, with the collector of
Python off; a frame is made and encoded while its time has not come yet.
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
#: Sequences below are left to the frames that only find out whether a contender is ready.
_FIRST_SEQUENCE = 1000


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of the schedule: seconds after its start, camera, number."""

    at_s: float
    camera: int
    number: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Cameras of one constant rate, each with a phase of its own, drawn from ``seed``.

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
        """All frames in the order of their times."""
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
    """What is sent where: frames as Avro or bare images of a workload, after a schedule."""

    bootstrap_servers: str
    topic: str
    as_frames: bool
    workload: str
    schedule: Schedule
    partitions: int
    deadline_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """For each frame of the schedule: monotonic seconds of the intended time, how late it was sent, and its place."""

    intended_s: list[float]
    late_s: list[float]
    places: list[Place]


@dataclass(frozen=True, slots=True)
class Answered:
    """When the decision on each frame was read, monotonic seconds; decisions beyond the first on a frame; failures."""

    at_s: dict[Place, float]
    again: int
    not_completed: int


def prepare(name: str) -> None:
    """Make the images of a workload before they are needed, and stop collecting garbage."""
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
    """Read decisions from given offsets on, until so many frames are answered or time is up.

    ``as_frames`` if they are Avro, as ours are. Nothing but the time is taken while they come.
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
    """Which frame a decision is about, and whether it was inspected."""
    if as_frames:
        decision = decode(value, Decision)
        place = decision.source_partition, decision.source_offset
        return place, decision.result_state is ResultState.COMPLETED
    found = json.loads(value)
    return (found["partition"], found["offset"]), True

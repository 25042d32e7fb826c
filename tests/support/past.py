"""A past to select from: frames on several partitions, out of order, with their decisions."""

from __future__ import annotations

import dataclasses
import random
import time
from dataclasses import dataclass, field

from confluent_kafka import Producer

from schemas import Action, Decision, Encoding, Frame, KafkaSettings, Verdict
from schemas.codec import encode
from schemas.ids import frame_id
from transport.stored_message import MessagePosition


def an_hour_ago_us(now_s: int | None = None) -> int:
    """Return a whole second about an hour ago that half an hour of the same UTC day follows.

    What is older than a topic keeps may be gone before it is read, and an archive keeps each day in files of its own.
    """
    at_s = (int(time.time()) if now_s is None else now_s) - 3_600
    end_of_day_s = (at_s // 86_400 + 1) * 86_400
    return min(at_s, end_of_day_s - 1_800) * 1_000_000


EPOCH_US = an_hour_ago_us()
CAMERAS = ("press/top", "press/side", "oven/top")


def make_frame(number: int, camera: str = CAMERAS[0], **changes: object) -> Frame:
    """Frame ``number`` of a camera, captured so many seconds after `EPOCH_US`; its image is no image."""
    station, camera_id = camera.split("/")
    frame = Frame(
        frame_id=frame_id(station, camera_id, 1, number), line="l", station=station, camera_id=camera_id,
        started_at_us=1, sequence=number, captured_at_us=EPOCH_US + number * 1_000_000, encoding=Encoding.JPEG,
        width=2, height=2, sha256="aa", image=b"image of %d" % number, part_id=f"P{number // 2}", lot=f"L{number % 3}",
    )  # fmt: skip
    return dataclasses.replace(frame, **changes)


def make_decision(frame: Frame, place: MessagePosition, action: Action = Action.ACCEPT, **changes: object) -> Decision:
    """What was decided on a frame, 50 ms after its capture."""
    verdict = Verdict.OK if action is Action.ACCEPT else Verdict.NOT_OK
    decision = Decision(
        decision_id=f"{frame.frame_id}-m", frame_id=frame.frame_id, line=frame.line, station=frame.station,
        camera_id=frame.camera_id, started_at_us=1, sequence=frame.sequence, image_sha256=frame.sha256,
        part_id=frame.part_id, lot=frame.lot, verdict=verdict, action=action, result_state="COMPLETED", reason="",
        model_name="m", model_version="1", model_sha256="m", recipe_id="r", recipe_revision="1", score=0.2,
        threshold=0.5, captured_at_us=frame.captured_at_us, received_at_us=frame.captured_at_us,
        decided_at_us=frame.captured_at_us + 50_000, source_topic=place.topic, source_partition=place.partition,
        source_offset=place.offset,
    )  # fmt: skip
    return dataclasses.replace(decision, **changes)


@dataclass
class Past:
    """What was published: timestamp, frame and decision by place."""

    kafka: KafkaSettings
    rows: dict[MessagePosition, tuple[int, Frame, Decision]] = field(default_factory=dict)

    def places(self, wanted: object) -> set[MessagePosition]:
        """Places of the rows for which a function of timestamp, frame and decision holds."""
        return {place for place, row in self.rows.items() if wanted(*row)}  # type: ignore[operator]


def publish_past(kafka: KafkaSettings, count: int, *, seed: int = 0, disorder: int = 40) -> Past:
    """Publish frames on three partitions, up to ``disorder`` seconds from their place in time, and their decisions."""
    chance = random.Random(seed)
    order = sorted(range(count), key=lambda number: number + chance.uniform(0, disorder))
    past, sent = Past(kafka), {}
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, "log_level": 0})

    def delivered(frame: Frame, timestamp_us: int) -> object:
        def on_delivery(error: object, message: object) -> None:
            assert error is None
            sent[MessagePosition(message.topic(), message.partition(), message.offset())] = timestamp_us, frame  # type: ignore[attr-defined]

        return on_delivery

    for number in order:
        frame = make_frame(number, CAMERAS[number % 3])
        # Not the time of the capture, so that a test can tell them apart.
        timestamp_us = frame.captured_at_us + 7_000_000
        producer.produce(
            kafka.frames, encode(frame), frame.key, partition=2 * (number % 3), timestamp=timestamp_us // 1000,
            on_delivery=delivered(frame, timestamp_us),
        )  # fmt: skip
    assert producer.flush(20) == 0
    for place, (timestamp_us, frame) in sent.items():
        action = chance.choice([Action.ACCEPT, Action.ACCEPT, Action.ACCEPT, Action.REJECT, Action.REVIEW])
        decision = make_decision(frame, place, action)
        past.rows[place] = timestamp_us, frame, decision
        producer.produce(
            kafka.decisions, encode(decision), decision.key, partition=place.partition, timestamp=timestamp_us // 1000
        )
    assert producer.flush(20) == 0
    return past

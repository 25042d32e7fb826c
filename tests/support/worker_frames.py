"""Frames for workers that run as processes, and the count of their decisions."""

from __future__ import annotations

import hashlib
import time

import cv2
import numpy as np
from confluent_kafka import Producer

from infra.demo.processes import WorkerProcess
from schemas import Encoding, Frame, KafkaSettings
from schemas.ids import frame_id
from schemas.topics import FRAMES
from transport.loopback import open_direct


def image(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (120, 160), dtype=np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def make_frame(sequence: int, camera: str = "cam1") -> Frame:
    data = image(sequence)
    return Frame(
        frame_id=frame_id("demo", camera, 1, sequence), line="l", station="demo", camera_id=camera, started_at_us=1,
        sequence=sequence, captured_at_us=time.time_ns() // 1000, deadline_ms=60_000, encoding=Encoding.JPEG,
        width=160, height=120, sha256=hashlib.sha256(data).hexdigest(), image=data,
    )  # fmt: skip


def publish(line: KafkaSettings, values: list[tuple[str, bytes]], pause_s: float = 0.0) -> None:
    producer = Producer(
        {"bootstrap.servers": line.bootstrap_servers, "message.max.bytes": FRAMES.max_message_bytes, "log_level": 0}
    )
    failed: list[object] = []
    for key, value in values:
        producer.produce(line.frames, value, key, on_delivery=lambda error, _: error and failed.append(error))
        producer.poll(0)
        time.sleep(pause_s)
    assert producer.flush(20) == 0
    assert not failed


def decided_by(worker: WorkerProcess) -> int:
    with open_direct(worker.url + "/metrics", 5) as answer:
        lines = answer.read().decode().splitlines()
    return int(sum(float(row.split()[-1]) for row in lines if row.startswith("inspection_decisions_total")))

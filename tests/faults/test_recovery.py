"""Recovery from slow moments: after a paused broker and after slow frames, all cameras are inspected again."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from confluent_kafka import Producer, TopicPartition

from infra.demo.processes import WorkerProcess
from schemas import Decision, Encoding, ResultState
from schemas.codec import decode, encode
from schemas.groups import READER
from schemas.ids import frame_id
from schemas.topics import FRAMES
from tests.support.faults import OwnBroker
from tests.support.line_users import LineUsers
from tests.support.press_frames import make_frame
from transport.clients import client_config, make_consumer

pytestmark = [pytest.mark.broker, pytest.mark.faults]

CAMERAS = ("cam0", "cam1")
#: Two seconds are the aim on a machine of its own (`python -m benchmarks.overload` and docs/overload.md); without the
#: fix it never comes.
PATIENCE_S = 20.0


class Cameras:
    """Send frames with a deadline of half a second all the time, and read the decisions."""

    def __init__(self, users: LineUsers, fps: float = 10) -> None:
        self._frames = users.camera.frames
        self._fps = fps
        self.producer = Producer({**client_config(users.camera), "message.max.bytes": FRAMES.max_message_bytes})
        self._consumer = make_consumer(users.reviewer, {"group.id": READER, "enable.auto.commit": False})
        decisions = users.reviewer.decisions
        partitions = self._consumer.list_topics(decisions, timeout=20).topics[decisions].partitions
        self._consumer.assign([TopicPartition(decisions, number, 0) for number in partitions])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        sequence = 0
        while not self._stop.wait(1 / self._fps):
            sequence += 1
            for camera in CAMERAS:
                frame = make_frame(sequence, captured_at_us=time.time_ns() // 1000, deadline_ms=500, camera=camera)
                self.producer.produce(self._frames, encode(frame), frame.key)
            self.producer.poll(0)

    def read(self) -> list[Decision]:
        """Return the decisions since the last call."""
        return [decode(m.value(), Decision) for m in self._consumer.consume(500, 0.2) if m.error() is None]

    def await_inspected(self, since_us: int) -> dict[str, float]:
        """Return the seconds until the first inspected frame of each camera that was captured after a moment."""
        found: dict[str, float] = {}
        until_s = time.monotonic() + PATIENCE_S
        while set(found) != set(CAMERAS):
            assert time.monotonic() < until_s, f"inspected again: {found}"
            for each in self.read():
                if each.result_state is ResultState.COMPLETED and each.captured_at_us > since_us:
                    found.setdefault(each.camera_id, (each.decided_at_us - since_us) / 1e6)
            found = {camera: at_s for camera, at_s in found.items() if camera in CAMERAS}
        return found

    def inspected_share(self, seconds: float) -> float:
        """Return the share of the cameras' frames that is inspected from now on."""
        self.read()
        since_us, until_s, decisions = time.time_ns() // 1000, time.monotonic() + seconds, []
        while time.monotonic() < until_s:
            decisions += [each for each in self.read() if each.camera_id in CAMERAS and each.captured_at_us > since_us]
        assert len(decisions) > 10
        return sum(each.result_state is ResultState.COMPLETED for each in decisions) / len(decisions)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.producer.flush(10)
        self._consumer.close()


def start_worker(users: LineUsers, folder: Path) -> WorkerProcess:
    kafka = users.worker
    return WorkerProcess(
        kafka, model=None, group=kafka.prefix, log=folder / "worker.log", client_file=users.worker_file
    )


def slow_png() -> bytes:
    """Return a few kilobytes that take a large part of a second to decode."""
    done, data = cv2.imencode(".png", np.zeros((9_000, 9_000), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return bytes(data)


@pytest.mark.long
def test_after_a_broker_that_paused(either_broker: OwnBroker, tmp_path: Path, fault_row: Callable[..., None]) -> None:
    users = either_broker.users
    with start_worker(users, tmp_path) as worker:
        worker.await_ready()
        cameras = Cameras(users)
        try:
            cameras.await_inspected(0)
            either_broker.signal(signal.SIGSTOP)
            try:
                time.sleep(4)
            finally:
                either_broker.signal(signal.SIGCONT)
            # Shorter than the session timeout of 6 s, so the worker is still a member of its group.
            recovered = cameras.await_inspected(time.time_ns() // 1000)
            share = cameras.inspected_share(3)
        finally:
            cameras.close()
    fault_row(
        f"broker paused 4 s, overload{users.kind}", recovered_s=max(recovered.values()), inspected_percent=100 * share
    )
    assert share > 0.3
    assert max(recovered.values()) < 5, "the worker was not a member of its group any more"


@pytest.mark.long
def test_after_sixteen_slow_frames(users: LineUsers, tmp_path: Path, fault_row: Callable[..., None]) -> None:
    image = slow_png()
    with start_worker(users, tmp_path) as worker:
        worker.await_ready()
        cameras = Cameras(users)
        try:
            cameras.await_inspected(0)
            for number in range(16):
                slow = replace(
                    make_frame(number, captured_at_us=time.time_ns() // 1000, deadline_ms=None, camera="slow"),
                    frame_id=frame_id("press", "slow", 1, number), encoding=Encoding.PNG, width=9_000, height=9_000,
                    image=image, sha256=hashlib.sha256(image).hexdigest(),
                )  # fmt: skip
                cameras.producer.produce(users.camera.frames, encode(slow), slow.key)
            answered = 0
            until_s = time.monotonic() + 90
            while answered < 16:
                assert time.monotonic() < until_s, f"{answered} of 16 slow frames are answered"
                slow_ones = [each for each in cameras.read() if each.camera_id == "slow"]
                assert all(each.result_state is ResultState.COMPLETED for each in slow_ones), slow_ones
                answered += len(slow_ones)
            recovered = cameras.await_inspected(time.time_ns() // 1000)
            share = cameras.inspected_share(3)
        finally:
            cameras.close()
    fault_row(f"sixteen slow frames{users.kind}", recovered_s=max(recovered.values()), inspected_percent=100 * share)
    assert share > 0.3

"""Frames whose image lies in the store, from the camera to the decision."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from infra.demo.processes import WorkerProcess
from producers import CameraIdentity, Capture, FramePublisher, PublisherOptions
from replay import read_topic
from schemas import Action, DeadLetter, Decision, Frame, KafkaSettings, ResultState
from schemas.codec import decode
from tests.support.s3 import files, s3_server, s3_settings

pytestmark = pytest.mark.broker


def test_large_images_travel_by_reference(line: KafkaSettings, tmp_path: Path) -> None:
    store = tmp_path / "images"
    options = PublisherOptions(encode="png", image_store=str(store), store_above_bytes=5_000)
    sizes = [40, 200, 200, 200]  # the first is small enough to travel in the frame
    with FramePublisher(line, CameraIdentity("l", "press", "top"), options) as publisher:
        for seed, side in enumerate(sizes):
            publisher.publish(Capture(image=np.random.default_rng(seed).integers(0, 255, (side, side), dtype=np.uint8)))
        assert publisher.flush(20) == 0
    frames = sorted(
        (decode(message.value, Frame) for message in read_topic(line, line.frames)),
        key=lambda frame: frame.sequence,
    )
    assert [frame.reference is None for frame in frames] == [True, False, False, False]
    paths = [Path(frame.reference.uri.removeprefix("file://")) for frame in frames if frame.reference is not None]
    assert all(path.is_file() and path.is_relative_to(store) for path in paths)
    paths[0].unlink()
    altered = bytearray(paths[1].read_bytes())
    altered[-20] ^= 1
    paths[1].write_bytes(altered)

    worker = WorkerProcess(
        line, model=None, group=line.prefix, log=tmp_path / "worker.log", options=["--image-store", str(store)]
    )
    try:
        worker.await_ready()
        deadline = time.monotonic() + 30
        decisions: dict[int, Decision] = {}
        while len(decisions) < 4 and time.monotonic() < deadline:
            read = (decode(m.value, Decision) for m in read_topic(line, line.decisions))
            decisions = {decision.sequence: decision for decision in read}
    finally:
        worker.stop()
    states = [decisions[sequence].result_state for sequence in range(4)]
    assert states == [ResultState.COMPLETED, ResultState.FAILED, ResultState.FAILED, ResultState.COMPLETED]
    assert decisions[1].action is decisions[2].action is Action.REJECT
    letters = [decode(m.value, DeadLetter) for m in read_topic(line, line.dead_letters)]
    assert {letter.frame_id: letter.kind for letter in letters} == {
        frames[1].frame_id: "image-missing",
        frames[2].frame_id: "image-altered",
    }


@pytest.mark.alone
@pytest.mark.long
def test_large_images_travel_through_s3(line: KafkaSettings, tmp_path: Path) -> None:
    options = PublisherOptions(encode="png", image_store="s3://images/line", store_above_bytes=0)
    with s3_server() as endpoint, s3_settings(endpoint):
        with FramePublisher(line, CameraIdentity("l", "press", "top"), options) as publisher:
            for seed in range(3):
                pixels = np.random.default_rng(seed).integers(0, 255, (200, 200), dtype=np.uint8)
                publisher.publish(Capture(image=pixels))
            assert publisher.flush(20) == 0
        first, second, _ = sorted(files().find("images"))
        files().rm_file(first)
        files().pipe_file(second, b"")
        arguments = ["--image-store", "s3://images/line"]
        worker = WorkerProcess(
            line, model=None, group=line.prefix, log=tmp_path / "worker.log", options=arguments
        )  # fmt: skip
        try:
            worker.await_ready()
            deadline = time.monotonic() + 30
            states: list[ResultState] = []
            while len(states) < 3 and time.monotonic() < deadline:
                read = read_topic(line, line.decisions)
                states = [decode(message.value, Decision).result_state for message in read]
        finally:
            worker.stop()
    assert sorted(states) == [ResultState.COMPLETED, ResultState.FAILED, ResultState.FAILED]
    letters = [decode(m.value, DeadLetter).kind for m in read_topic(line, line.dead_letters)]
    assert sorted(letters) == ["image-altered", "image-missing"]


def test_a_store_that_is_away_costs_no_frame_that_fits_the_topic(line: KafkaSettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    options = PublisherOptions(encode="png", image_store=str(tmp_path / "file" / "store"), store_above_bytes=0)
    with FramePublisher(line, CameraIdentity("l", "press", "top"), options) as publisher:
        publisher.publish(Capture(image=np.zeros((20, 20), np.uint8)))
        assert publisher.flush(20) == 0
    [message] = read_topic(line, line.frames)
    assert decode(message.value, Frame).image is not None

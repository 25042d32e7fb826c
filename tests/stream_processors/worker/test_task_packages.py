"""Packages of every task on a real line: cameras, Kafka, a worker process, and the decisions that come out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from infra.demo.processes import WorkerProcess
from models import inspect_image, load_model
from producers import CameraIdentity, Capture, FramePublisher, PublisherOptions
from schemas import KafkaSettings
from schemas.records import Action, ResultState, Verdict
from tests.support.packages import MakePackage, encoded
from tests.support.task_models import CASES
from tests.support.topics import read_decisions

pytestmark = [pytest.mark.broker, pytest.mark.long]

WHITE, BLACK = (np.full((16, 16), level, np.uint8) for level in (255, 0))


@contextmanager
def running(line: KafkaSettings, package: Path, log: Path) -> Iterator[None]:
    worker = WorkerProcess(line, model=package, group=line.prefix, log=log)
    try:
        worker.await_ready()
        yield
    finally:
        worker.stop()


@pytest.mark.parametrize("task", CASES)
def test_a_worker_decides_as_the_package_does(
    task: str, line: KafkaSettings, make_package: MakePackage, tmp_path: Path
) -> None:
    data, changes = CASES[task]
    package = make_package(data(), **changes)
    images = [WHITE, BLACK] * 5
    with running(line, package, tmp_path / "worker.log"):
        options = PublisherOptions(encode="png", deadline_ms=60_000)
        with FramePublisher(line, CameraIdentity("l", "press", "top"), options) as publisher:
            for pixels in images:
                publisher.publish(Capture(image=pixels))
            assert publisher.flush(20) == 0
        decided = sorted(read_decisions(line, len(images)), key=lambda decision: decision.sequence)
    model = load_model(package)
    for pixels, decision in zip(images, decided, strict=True):
        expected = inspect_image(encoded(pixels), model)
        assert decision.result_state is ResultState.COMPLETED
        assert (decision.verdict, decision.action) == (expected.verdict, expected.action)
        assert (decision.score, decision.labels) == (expected.score, expected.labels)
        assert decision.defects == expected.defects
        assert decision.model_sha256 == model.sha256
    assert {decision.verdict for decision in decided} == {Verdict.OK, Verdict.NOT_OK}
    assert {decision.action for decision in decided} == {Action.ACCEPT, Action.REJECT}

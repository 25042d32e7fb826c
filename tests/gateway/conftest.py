"""Workers and images for the tests of the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from infra.demo.processes import WorkerProcess
from schemas import KafkaSettings
from tests.support.image_files import png


@pytest.fixture
def worker(line: KafkaSettings, tmp_path: Path) -> Iterator[WorkerProcess]:
    """Run a worker with the model that ships."""
    with WorkerProcess(line, model=None, group=line.prefix, log=tmp_path / "worker.log") as running:
        yield running


@pytest.fixture(scope="session")
def image() -> bytes:
    """A grey PNG."""
    return make_image(0)


@pytest.fixture(scope="session")
def other_image() -> bytes:
    """Another grey PNG."""
    return make_image(1)


def make_image(seed: int) -> bytes:
    return png(np.random.default_rng(seed).integers(0, 255, (120, 160)).astype(np.uint8))

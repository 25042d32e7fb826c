"""What the fault tests share: load with known frames, workers that are restarted, and the books at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import KafkaSettings
from tests.support.faults import (
    OwnBroker,
    Workers,
)


@pytest.fixture
def workers(line: KafkaSettings, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(line, tmp_path)
    yield workers
    workers.close()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[OwnBroker]:
    broker = OwnBroker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()

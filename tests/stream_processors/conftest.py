"""Workers as processes, on the real broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.demo.processes import WorkerProcess
from schemas import KafkaSettings
from tests.support.workers import StartWorker


@pytest.fixture
def start_worker(line: KafkaSettings, tmp_path: Path) -> Iterator[StartWorker]:
    """Start workers of one group; they are stopped at the end."""
    started: list[WorkerProcess] = []

    def start(*options: str) -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        worker = WorkerProcess(line, model=None, group=line.prefix, log=log, options=options)
        started.append(worker)
        worker.await_ready()
        return worker

    yield start
    for worker in started:
        worker.stop()

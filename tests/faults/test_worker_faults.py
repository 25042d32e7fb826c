"""Workers that are killed, frozen, and come and go under load: no frame is unaccounted for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas import KafkaSettings
from tests.support.faults import FULL, Load, Workers, await_progress, settle

pytestmark = [pytest.mark.broker, pytest.mark.faults]

Row = Callable[..., None]


@pytest.mark.long
def test_worker_killed(line: KafkaSettings, workers: Workers, tmp_path: Path, fault_row: Row) -> None:
    workers.start().await_ready()
    load = Load(line, tmp_path / "spool")
    recovered = []
    for number in range(10 if FULL else 2):
        time.sleep(1 + number % 3)
        workers.kill()
        # The group waits for the session timeout (6 s) before it gives the partitions to another.
        workers.start()
        recovered.append(await_progress(line))
    fault_row("worker kill -9", recovered_s=max(recovered), times=len(recovered), **vars(settle(line, load)))


@pytest.mark.long
def test_zombie_worker(line: KafkaSettings, workers: Workers, tmp_path: Path, fault_row: Row) -> None:
    first = workers.start()
    first.await_ready()
    load = Load(line, tmp_path / "spool")
    time.sleep(2)
    os.kill(first.pid, signal.SIGSTOP)
    workers.start()
    recovered = await_progress(line)
    time.sleep(max(0.0, 13 - recovered))  # past the session timeout
    os.kill(first.pid, signal.SIGCONT)
    time.sleep(4)
    fault_row("worker SIGSTOP 13 s, SIGCONT", recovered_s=recovered, **vars(settle(line, load, tend=workers.revive)))


@pytest.mark.long
def test_scale_1_3_1(line: KafkaSettings, workers: Workers, tmp_path: Path, fault_row: Row) -> None:
    workers.start().await_ready()
    load = Load(line, tmp_path / "spool")
    recovered = []
    for _ in range(10 if FULL else 1):
        workers.start()
        workers.start()
        workers.running[-1].await_ready()
        time.sleep(1)
        workers.stop_one()
        workers.stop_one()
        recovered.append(await_progress(line))
        assert workers.revive() == 0, "the remaining worker has ended"
    fault_row("scale 1-3-1", recovered_s=max(recovered), times=len(recovered), **vars(settle(line, load)))

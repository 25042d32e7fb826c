"""Workers that are killed, frozen, and come and go under load: no frame is unaccounted for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import FULL, Load, Workers, await_progress, settle
from tests.support.line_users import LineUsers

pytestmark = [pytest.mark.broker, pytest.mark.faults]

Row = Callable[..., None]


@pytest.mark.long
def test_worker_killed(users: LineUsers, workers: Workers, tmp_path: Path, fault_row: Row) -> None:
    workers.start().await_ready()
    load = Load(users.camera, tmp_path / "spool")
    recovered = []
    for number in range(10 if FULL else 2):
        time.sleep(1 + number % 3)
        workers.kill()
        # The group waits for the session timeout (6 s) before it gives the partitions to another.
        workers.start()
        recovered.append(await_progress(users.reviewer))
    figures = settle(users.reviewer, load)
    fault_row(f"worker kill -9{users.kind}", recovered_s=max(recovered), times=len(recovered), **vars(figures))


@pytest.mark.long
def test_zombie_worker(users: LineUsers, workers: Workers, tmp_path: Path, fault_row: Row) -> None:
    first = workers.start()
    first.await_ready()
    load = Load(users.camera, tmp_path / "spool")
    time.sleep(2)
    os.kill(first.pid, signal.SIGSTOP)
    workers.start()
    recovered = await_progress(users.reviewer)
    time.sleep(max(0.0, 13 - recovered))  # past the session timeout
    os.kill(first.pid, signal.SIGCONT)
    time.sleep(4)
    figures = settle(users.reviewer, load, tend=workers.revive)
    fault_row(f"worker SIGSTOP 13 s, SIGCONT{users.kind}", recovered_s=recovered, **vars(figures))


@pytest.mark.long
def test_scale_1_3_1(users: LineUsers, workers: Workers, tmp_path: Path, fault_row: Row) -> None:
    workers.start().await_ready()
    load = Load(users.camera, tmp_path / "spool")
    recovered = []
    for _ in range(10 if FULL else 1):
        workers.start()
        workers.start()
        workers.running[-1].await_ready()
        time.sleep(1)
        workers.stop_one()
        workers.stop_one()
        recovered.append(await_progress(users.reviewer))
        assert workers.revive() == 0, "the remaining worker has ended"
    figures = settle(users.reviewer, load)
    fault_row(f"scale 1-3-1{users.kind}", recovered_s=max(recovered), times=len(recovered), **vars(figures))

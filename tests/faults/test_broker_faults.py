"""A broker that is killed or falls silent in mid-flow: cameras spool, workers come back, the books close."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import FULL, Load, OwnBroker, Workers, await_progress, settle

pytestmark = [pytest.mark.broker, pytest.mark.faults]


@pytest.mark.long
@pytest.mark.parametrize("fault", ["kill -9", "SIGSTOP"])
def test_broker(either_broker: OwnBroker, tmp_path: Path, fault: str, fault_row: Callable[..., None]) -> None:
    users = either_broker.users
    workers = Workers(users.worker, tmp_path, users.worker_file)
    try:
        workers.start().await_ready()
        load = Load(users.camera, tmp_path / "spool")
        time.sleep(3)
        if fault == "SIGSTOP":
            either_broker.signal(signal.SIGSTOP)
            time.sleep(30 if FULL else 12)
            either_broker.signal(signal.SIGCONT)
        else:
            either_broker.signal(signal.SIGKILL)
            time.sleep(3)
            either_broker.start()
        recovered = await_progress(users.reviewer, tend=workers.revive, timeout_s=90)
        figures = settle(users.reviewer, load, tend=workers.revive)
        fault_row(
            f"broker {fault}{users.kind}", recovered_s=recovered, workers_restarted=workers.started - 1, **vars(figures)
        )
    finally:
        workers.close()

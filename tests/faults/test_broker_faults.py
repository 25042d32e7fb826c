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
def test_broker(own_broker: OwnBroker, tmp_path: Path, fault: str, fault_row: Callable[..., None]) -> None:
    workers = Workers(own_broker.kafka, tmp_path)
    try:
        workers.start().await_ready()
        load = Load(own_broker.kafka, tmp_path / "spool")
        time.sleep(3)
        if fault == "SIGSTOP":
            own_broker.signal(signal.SIGSTOP)
            time.sleep(30 if FULL else 12)
            own_broker.signal(signal.SIGCONT)
        else:
            own_broker.signal(signal.SIGKILL)
            time.sleep(3)
            own_broker.start()
        recovered = await_progress(own_broker.kafka, tend=workers.revive, timeout_s=90)
        figures = settle(own_broker.kafka, load, tend=workers.revive)
        fault_row(f"broker {fault}", recovered_s=recovered, workers_restarted=workers.started - 1, **vars(figures))
    finally:
        workers.close()

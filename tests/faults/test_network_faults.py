"""TCP resets and stalls between the line's programs and the broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import FULL, Load, Workers, await_progress, settle
from tests.support.line_users import LineUsers
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.broker, pytest.mark.faults]


@pytest.mark.long
@pytest.mark.parametrize("fault", ["resets", "stall"])
def test_network(
    proxied_users: tuple[Proxy, LineUsers, LineUsers], tmp_path: Path, fault: str, fault_row: Callable[..., None]
) -> None:
    proxy, through, past = proxied_users
    workers = Workers(through.worker, tmp_path, through.worker_file)
    try:
        workers.start().await_ready()
        load = Load(through.camera, tmp_path / "spool")
        time.sleep(2)
        if fault == "resets":
            for _ in range(20 if FULL else 6):
                time.sleep(0.7)
                proxy.reset_all()
            assert proxy.resets > 6
        else:
            proxy.stall()
            time.sleep(20 if FULL else 8)
            proxy.resume()
        recovered = await_progress(past.reviewer, tend=workers.revive, timeout_s=90)
        figures = settle(past.reviewer, load, tend=workers.revive)
        fault_row(
            f"TCP {fault}{past.kind}", recovered_s=recovered, workers_restarted=workers.started - 1, **vars(figures)
        )
    finally:
        workers.close()

"""Two groups of workers: one worker is killed, frozen or cut off, and every part gets its decision in time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support.faults import FULL, SECURED_FIRST
from tests.support.line_users import LineUsers
from tests.support.proxy import Proxy
from tests.support.redundant_lines import DEADLINE_MS, GateFigures, RedundantLine

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.long, pytest.mark.alone]

#: Length of a fault: the frames of its first seconds are too old when the worker comes back.
_FAULT_S = DEADLINE_MS / 1000 + (12 if FULL else 4)


def check(figures: GateFigures) -> None:
    """Check that nothing contradicts, and that the parts were decided. With one group most of them would not be.

    On a machine that stands still for seconds some parts are late whatever the workers do.
    """
    assert figures.conflicts == 0
    assert figures.failsafe <= (0 if FULL else figures.frames // 4)


@pytest.mark.parametrize("users", SECURED_FIRST, indirect=True)
@pytest.mark.parametrize("is_second", [False, True], ids=["first group", "second group"])
@pytest.mark.parametrize("fault", ["kill -9", "SIGSTOP"])
def test_a_worker(
    users: LineUsers, tmp_path: Path, is_second: bool, fault: str, fault_row: Callable[..., None]
) -> None:
    redundant = RedundantLine(users, tmp_path)
    try:
        redundant.begin_fault()
        redundant.signal(is_second, signal.SIGKILL if fault == "kill -9" else signal.SIGSTOP)
        time.sleep(_FAULT_S)
        if fault == "SIGSTOP":
            redundant.signal(is_second, signal.SIGCONT)
        else:
            redundant.workers[is_second].stop()
            redundant.start(is_second)
        redundant.await_shed(is_second)
        time.sleep(3)
        figures = redundant.settle()
    finally:
        redundant.close()
    name = "second" if is_second else "first"
    fault_row(f"two groups, deadline {DEADLINE_MS} ms: {fault} in the {name}{users.kind}", **asdict(figures))
    check(figures)
    assert figures.superseded > 0


@pytest.mark.parametrize("proxied_users", SECURED_FIRST, indirect=True)
def test_a_worker_without_network(
    proxied_users: tuple[Proxy, LineUsers, LineUsers], tmp_path: Path, fault_row: Callable[..., None]
) -> None:
    proxy, through, past = proxied_users
    redundant = RedundantLine(past, tmp_path, second=through.worker)
    try:
        redundant.begin_fault()
        proxy.stall()
        time.sleep(_FAULT_S)
        proxy.reset_all()
        proxy.resume()
        redundant.await_shed(True)
        time.sleep(3)
        figures = redundant.settle()
    finally:
        redundant.close()
    fault_row(f"two groups, deadline {DEADLINE_MS} ms: network of the second lost{past.kind}", **asdict(figures))
    check(figures)
    assert figures.superseded > 0

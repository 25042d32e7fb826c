"""What the fault tests share: load with known frames, workers that are restarted, and the books at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from infra.broker.cluster import LocalCluster
from infra.broker.ports import free_port
from infra.broker.security import Tunnel
from schemas import KafkaSettings
from tests.support.clusters import Arrivals, await_in_sync
from tests.support.faults import OPEN, SECURED, Load, OwnBroker, Workers, await_progress, settle
from tests.support.line_users import LineUsers, make_users
from tests.support.proxy import Proxy
from tests.support.secured import SecuredBroker


@pytest.fixture(params=[OPEN, SECURED])
def users(request: pytest.FixtureRequest, unique: str, tmp_path: Path) -> LineUsers:
    """Settings of the programs of a line whose topics exist."""
    if not request.param:
        line: KafkaSettings = request.getfixturevalue("line")
        return LineUsers.same(line)
    secured: SecuredBroker = request.getfixturevalue("secured")
    secured.create_topics(unique)
    return make_users(secured.settings(unique), tmp_path)


@pytest.fixture
def workers(users: LineUsers, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(users.worker, tmp_path, users.worker_file)
    yield workers
    workers.close()


@pytest.fixture(params=[OPEN, SECURED])
def either_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnBroker]:
    """An open broker of its own, or a secured one."""
    broker = OwnBroker(tmp_path / "broker", is_secured=request.param)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(params=[OPEN, SECURED])
def proxied_users(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Proxy, LineUsers, LineUsers]]:
    """The proxy, the users of a line through it, and the same users past it (for the books)."""
    listen, advertised = free_port(), free_port()
    broker = OwnBroker(tmp_path / "broker", is_secured=request.param, tunnel=Tunnel(listen, advertised))
    broker.start()
    proxy = Proxy(advertised, listen)
    yield proxy, broker.users.at(advertised), broker.users
    proxy.close()
    broker.stop()


@pytest.fixture
def under_load(tmp_path: Path, fault_row: Callable[..., None]) -> Callable[..., AbstractContextManager[Workers]]:
    """Run a line around a block that breaks nodes: ``under_load(name, cluster, users)``.

    After the block the nodes are started, every frame must have its answer, and the figures are a row with that name.
    """

    @contextmanager
    def run(name: str, cluster: LocalCluster, users: LineUsers) -> Iterator[Workers]:
        workers = Workers(users.worker, tmp_path, users.worker_file)
        arrivals = Arrivals(users.reviewer)
        try:
            workers.start().await_ready(120)
            load = Load(users.camera, tmp_path / "spool", fps=20)
            await_progress(users.reviewer)
            time.sleep(3)
            began_s = time.monotonic()
            yield workers
            cluster.start(timeout_s=300)
            await_in_sync(cluster)
            figures = settle(users.reviewer, load, tend=workers.revive)
            gap_s = arrivals.longest_gap_s(began_s)
        finally:
            workers.close()
            arrivals.close()
        fault_row(f"{name}{users.kind}", recovered_s=gap_s, workers_restarted=workers.started - 1, **vars(figures))

    return run

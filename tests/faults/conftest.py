"""What the fault tests share: load with known frames, workers that are restarted, and the books at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from infra.broker import LocalBroker
from infra.broker.cluster import LocalCluster
from infra.broker.ports import free_port
from infra.broker.security import Tunnel
from schemas import KafkaSettings
from tests.support.clusters import Arrivals, await_in_sync
from tests.support.faults import LineUsers, Load, OwnBroker, Workers, await_progress, make_users, settle
from tests.support.proxy import Proxied, Proxy
from tests.support.secured import SecuredBroker
from transport.topic_setup import apply

#: The short faults run on an open broker, and on a secured one with a user for each program.
SECURED = pytest.param(True, id="secured", marks=pytest.mark.long)
OPEN = pytest.param(False, id="open")


@pytest.fixture(params=[OPEN, SECURED])
def users(request: pytest.FixtureRequest, unique: str, tmp_path: Path) -> LineUsers:
    """Settings of the programs of a line whose topics exist."""
    if not request.param:
        line: KafkaSettings = request.getfixturevalue("line")
        return LineUsers(line, line, line)
    secured: SecuredBroker = request.getfixturevalue("secured")
    secured.create_topics(unique)
    return make_users(secured.settings(unique), tmp_path)


@pytest.fixture
def workers(users: LineUsers, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(users.worker, tmp_path, users.worker_file)
    yield workers
    workers.close()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[OwnBroker]:
    broker = OwnBroker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    """The proxy, the line through it, and the line past it (for the books)."""
    direct, listen, advertised = (free_port() for _ in range(3))
    with LocalBroker(tmp_path / "broker", direct, 256, tunnel=Tunnel(listen, advertised)) as broker:
        past = KafkaSettings(broker.bootstrap_servers)
        apply(past)
        proxy = Proxy(advertised, listen)
        yield proxy, KafkaSettings(f"127.0.0.1:{advertised}"), past
        proxy.close()


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
    """Run a line around a block that breaks nodes: ``under_load(name, cluster, line)``.

    After the block the nodes are started, every frame must have its answer, and the figures are a row with that name.
    """

    @contextmanager
    def run(name: str, cluster: LocalCluster, line: KafkaSettings) -> Iterator[Workers]:
        workers = Workers(line, tmp_path)
        arrivals = Arrivals(line)
        try:
            workers.start().await_ready(120)
            load = Load(line, tmp_path / "spool", fps=20)
            await_progress(line)
            time.sleep(3)
            began_s = time.monotonic()
            yield workers
            cluster.start(timeout_s=300)
            await_in_sync(cluster)
            figures = settle(line, load, tend=workers.revive)
            gap_s = arrivals.longest_gap_s(began_s)
        finally:
            workers.close()
            arrivals.close()
        fault_row(name, recovered_s=gap_s, workers_restarted=workers.started - 1, **vars(figures))

    return run

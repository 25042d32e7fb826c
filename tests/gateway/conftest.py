"""Lines with a gateway, and images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.broker import LocalBroker
from infra.demo.processes import WorkerProcess
from schemas import KafkaSettings
from tests.support.faults import OwnBroker
from tests.support.gateways import Served, make_image, running_gateway
from transport.topic_setup import apply


@pytest.fixture(scope="module")
def served(broker: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a worker with the model that ships, and a gateway before it."""
    folder = tmp_path_factory.mktemp("served")
    kafka = KafkaSettings(broker.bootstrap_servers, folder.name)
    apply(kafka)
    with (
        WorkerProcess(kafka, model=None, group=kafka.prefix, log=folder / "worker.log") as worker,
        running_gateway(kafka) as gateway,
    ):
        worker.await_ready()
        yield Served(kafka, gateway)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[OwnBroker]:
    """A broker that the test may freeze and kill."""
    broker = OwnBroker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def image() -> bytes:
    """A grey PNG."""
    return make_image(0)


@pytest.fixture(scope="session")
def other_image() -> bytes:
    """Another grey PNG."""
    return make_image(1)

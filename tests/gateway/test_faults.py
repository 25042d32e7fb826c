"""Faults under load: every request ends in one answer or one error, within its wait."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from infra.demo.processes import WorkerProcess
from schemas import KafkaSettings
from tests.support.faults import OwnBroker, Workers
from tests.support.gateway_load import Requests, check_books
from tests.support.gateways import GatewayProcess, running_gateway, wait_until
from tests.support.partitions import add_partitions

pytestmark = pytest.mark.broker


@pytest.mark.long
def test_a_worker_that_is_killed(line: KafkaSettings, tmp_path: Path) -> None:
    def start(name: str) -> WorkerProcess:
        worker = WorkerProcess(line, model=None, group=line.prefix, log=tmp_path / f"{name}.log")
        worker.await_ready()
        return worker

    with start("first") as first, running_gateway(line) as gateway:
        requests = Requests(lambda: gateway.url)
        try:
            requests.await_successes(20)
            os.killpg(first.pid, signal.SIGKILL)
            wait_until(lambda: requests.statuses()[503])
            with start("second"):
                requests.await_successes(20)
                requests.end()
                requests.check_keys()
                check_books(line)
        finally:
            requests.stop()


@pytest.mark.long
def test_a_broker_that_is_killed(own_broker: OwnBroker, tmp_path: Path) -> None:
    workers = Workers(own_broker.kafka, tmp_path)
    try:
        workers.start().await_ready()
        with running_gateway(own_broker.kafka) as gateway:
            requests = Requests(lambda: gateway.url)
            try:
                requests.await_successes(20)
                own_broker.signal(signal.SIGKILL)
                wait_until(lambda: requests.statuses()[503])
                assert gateway.ask("GET", "/ready").status == 503
                own_broker.start()
                seen = requests.statuses()[200]

                def has_recovered() -> bool:
                    workers.revive()
                    return requests.statuses()[200] >= seen + 20

                wait_until(has_recovered)
                requests.end()
                requests.check_keys()
            finally:
                requests.stop()
        check_books(own_broker.kafka)
    finally:
        workers.close()


@pytest.mark.long
def test_a_gateway_that_is_killed(line: KafkaSettings, tmp_path: Path) -> None:
    with (
        WorkerProcess(line, model=None, group=line.prefix, log=tmp_path / "worker.log") as worker,
        GatewayProcess(line, tmp_path / "first.log", "--instance", "one") as first,
    ):
        worker.await_ready()
        first.await_ready()
        urls = [first.url]
        requests = Requests(lambda: urls[-1])
        try:
            requests.await_successes(20)
            first.process.kill()
            wait_until(lambda: requests.statuses()[0])
            with GatewayProcess(line, tmp_path / "second.log", "--instance", "one") as second:
                second.await_ready()
                urls.append(second.url)
                requests.await_successes(20)
                requests.end()
                requests.check_keys()
                broken = [key for key, (status, _) in requests.answers.items() if status == 0][:3]
                for key in broken:
                    retried, again = requests.ask(key, 60), requests.ask(key, 60)
                    assert retried is not None
                    assert again is not None
                    # The first gateway may have published a frame that was then shed.
                    assert retried.status in (200, 504)
                    assert again.json == retried.json
                assert " 0 dropped, 0 failed" in second.stop()
                check_books(line)
        finally:
            requests.stop()


@pytest.mark.long
def test_partitions_that_are_added(line: KafkaSettings, tmp_path: Path) -> None:
    with (
        WorkerProcess(line, model=None, group=line.prefix, log=tmp_path / "worker.log") as worker,
        running_gateway(line, cameras=8) as gateway,
    ):
        worker.await_ready()
        requests = Requests(lambda: gateway.url)
        try:
            requests.await_successes(20)
            add_partitions(line.bootstrap_servers, line.frames, 9)
            add_partitions(line.bootstrap_servers, line.decisions, 12)
            requests.await_successes(100)
            requests.end()
            requests.check_keys()
            check_books(line)
        finally:
            requests.stop()

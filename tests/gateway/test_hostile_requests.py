"""Mutated requests: none is a fault of the gateway, none hangs, each error says in one sentence what is wrong."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from infra.demo.processes import WorkerProcess
from operations.audit.counts import total
from operations.audit.topics import audit_topics
from replay.past.source import Source
from schemas import KafkaSettings
from tests.support.gateways import GatewayProcess, Served, ask, wait_until
from tests.support.hostile_clients import HostileRun, send_all

#: Requests of the long run, and those after which the memory is compared.
REQUESTS, WARM = 20_000, 8_000
#: Most growth of the memory after that, in MiB: it keeps some thousand decisions more.
MOST_MIB = 20
FAMILIES = (
    "form", "batch of files", "batch of lines", "infer", "infer, binary", "predict", "headers", "query", "image",
    "label",
)  # fmt: skip


def check(run: HostileRun, count: int) -> None:
    assert not run.faults, "\n".join(run.faults)
    assert run.statuses.total() == count
    for family in FAMILIES:
        statuses = run.of(family)
        assert any(status < 300 for status in statuses), (family, statuses)
        assert any(400 <= status < 500 for status in statuses), (family, statuses)


@pytest.mark.broker
def test_mutated_requests_are_answered(served: Served) -> None:
    wait_until(lambda: served.gateway.ask("GET", "/ready").status == 200)
    check(send_all(served.gateway.url, seed=1, count=600, clients=2), 600)


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.broker
def test_many_mutated_requests_are_answered(line: KafkaSettings, tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    with (
        WorkerProcess(line, model=None, group=line.prefix, log=tmp_path / "worker.log") as worker,
        GatewayProcess(line, log, "--wait-s", "5") as gateway,
    ):
        worker.await_ready()
        gateway.await_ready()
        process, memory = psutil.Process(gateway.process.pid), []

        def note_memory(number: int) -> None:
            if number >= WARM and number % 500 == 0:
                memory.append(process.memory_info().rss / 2**20)

        run = send_all(gateway.url, seed=2, count=REQUESTS, clients=3, on_number=note_memory)
        check(run, REQUESTS)
        assert ask(gateway.url, "GET", "/health").status == 200
        assert ask(gateway.url, "GET", "/ready").status == 200
        assert memory[-1] - memory[0] < MOST_MIB, memory
        assert b"inspection_gateway_waiting 0.0" in ask(gateway.url, "GET", "/metrics").data
        gateway.stop()
        assert "Traceback" not in log.read_text()
    counts = total(audit_topics(Source(line)).cameras())
    assert (counts.conflicts, counts.unaccounted, counts.unexplained_gaps) == (0, 0, 0)

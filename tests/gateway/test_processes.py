"""A gateway of several processes behind one port."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.siblings import Siblings
from schemas import Frame, KafkaSettings
from tests.support.answering import answering_worker
from tests.support.gateways import PATIENCE_S, Answer, GatewayProcess, ask, wait_until

#: Connections, each of which the kernel gives to one of two processes.
CONNECTIONS = 40


def inspect(gateway: GatewayProcess, image: bytes, **headers: str) -> Answer:
    return ask(gateway.url, "POST", "/v1/inspections", image, **{"Content-Type": "image/png", **headers})


def sums(gateway: GatewayProcess, name: str) -> Counter[str]:
    """Return the sum of a metric for each process."""
    found: Counter[str] = Counter()
    page = ask(gateway.url, "GET", "/metrics").data.decode()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels["process"]] += round(sample.value)
    return found


@pytest.mark.long
@pytest.mark.broker
def test_keys_and_open_frames_are_those_of_all_processes(line: KafkaSettings, tmp_path: Path, image: bytes) -> None:
    answers = threading.Event()

    def answering(frame: Frame) -> dict[str, Any] | None:
        answers.wait(PATIENCE_S)
        return {}

    options = ["--processes", "2", "--instance", "duo", "--json"]
    with (
        answering_worker(line, answering),
        GatewayProcess(line, tmp_path / "log", *options) as gateway,
    ):
        wait_until(lambda: all(ask(gateway.url, "GET", "/ready").status == 200 for _ in range(10)))
        paths = [inspect(gateway, image, Prefer="respond-async").headers["location"] for _ in range(CONNECTIONS)]
        # Whichever process is asked, the frame is known to be open.
        assert {ask(gateway.url, "GET", path).status for path in paths} == {202}
        assert ask(gateway.url, "GET", "/v1/inspections/http.local--duo-0--0.1.00000000").status == 404
        answers.set()
        assert {ask(gateway.url, "GET", f"{path}?wait=60").status for path in paths} == {200}
        keyed = [inspect(gateway, image, Idempotency_Key="part-7", Prefer="wait=60") for _ in range(CONNECTIONS)]
        assert {answer.status for answer in keyed} == {200}
        assert len({answer.json["decision_id"] for answer in keyed}) == 1
        assert [answer.headers.get("idempotency-replayed") for answer in keyed] == [None, *["true"] * (len(keyed) - 1)]
        captured = sums(gateway, "inspection_producer_captured_total")
        assert set(captured) == {"0", "1"}
        assert captured.total() == CONNECTIONS + 1
        rows = json.loads(gateway.stop())["cameras"]
        assert gateway.process.returncode == 0
    assert {row["name"]: row["published"] for row in rows} == {
        f"http/local--duo-{number}--0": captured[number] for number in ("0", "1")
    }
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.parametrize("is_parent", [False, True], ids=["one of them", "the command"])
def test_processes_end_together(line: KafkaSettings, tmp_path: Path, is_parent: bool) -> None:
    with GatewayProcess(line, tmp_path / "log", "--processes", "2") as gateway:
        parent = psutil.Process(gateway.process.pid)
        children = [child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]
        assert len(children) == 2
        (parent if is_parent else children[0]).send_signal(signal.SIGKILL)
        assert gateway.process.wait(PATIENCE_S) != 0
        wait_until(lambda: not any(child.is_running() for child in children))
    if not is_parent:
        assert "error: process 0 of the gateway ended with status -9" in (tmp_path / "log").read_text()


@pytest.mark.long
@pytest.mark.broker
def test_what_is_wrong_is_told_once(line: KafkaSettings, tmp_path: Path) -> None:
    from tests.infra.test_demo import run

    place = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix, "--processes", "2"]
    with GatewayProcess(line, tmp_path / "log") as other:
        port = other.url.rpartition(":")[2]
        done = run("gateway", *place, "--port", port)
        assert done.returncode == 1
        assert f"error: cannot listen on 127.0.0.1:{port}: another program listens there" in done.stderr
    done = run("gateway", *place, "--port", "0", "--tokens", str(tmp_path / "none"))
    assert done.returncode == 1
    assert [text for text in done.stderr.splitlines() if text.startswith("error: ")] == [
        f"error: --tokens {tmp_path / 'none'}: No such file or directory"
    ]
    assert "Traceback" not in done.stderr


def test_a_question_to_siblings_that_are_not_there_is_answered(tmp_path: Path) -> None:
    import asyncio

    async def talk() -> None:
        one, two = (Siblings(tmp_path, number, 3) for number in range(2))
        assert not await one.know("a")
        server = await two.serve(lambda: b"waiting 1.0\n", lambda frame_id: frame_id == "a")
        assert await one.know("a")
        assert not await one.know("b")
        assert not await one.know("a\nmetrics")
        assert await one.metrics() == {"1": "waiting 1.0\n"}
        server.close()

    asyncio.run(talk())

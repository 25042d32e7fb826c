"""A gateway of several processes behind one port."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.processes import run_processes, set_on_sigterm
from gateway.settings import GatewaySettings
from gateway.siblings import Siblings
from schemas import Frame, KafkaSettings
from schemas.errors import SettingsError
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


@pytest.fixture
def short_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of temporary files with a short path: paths of sockets are short."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def children_of(gateway: GatewayProcess) -> list[psutil.Process]:
    found = psutil.Process(gateway.process.pid).children()
    return [child for child in found if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.parametrize("is_parent", [False, True], ids=["one of them", "the command"])
def test_processes_end_together(line: KafkaSettings, tmp_path: Path, short_folder: Path, is_parent: bool) -> None:
    with GatewayProcess(line, tmp_path / "log", "--processes", "2") as gateway:
        children = children_of(gateway)
        assert len(children) == 2
        assert len(list(short_folder.glob("inspection-gateway-*/*.sock"))) == 2
        (psutil.Process(gateway.process.pid) if is_parent else children[0]).send_signal(signal.SIGKILL)
        assert gateway.process.wait(PATIENCE_S) != 0
        wait_until(lambda: not any(child.is_running() for child in children))
    text = (tmp_path / "log").read_text()
    assert "Traceback" not in text
    assert list(short_folder.iterdir()) == []
    if not is_parent:
        assert "error: process 0 of the gateway ended with status -9" in text


@pytest.mark.long
@pytest.mark.broker
def test_a_process_that_is_frozen_does_not_stop_the_end(line: KafkaSettings, tmp_path: Path) -> None:
    with GatewayProcess(line, tmp_path / "log", "--processes", "2") as gateway:
        children = children_of(gateway)
        try:
            children[1].send_signal(signal.SIGSTOP)
            gateway.process.terminate()
            assert gateway.process.wait(60) == 1
            assert not any(child.is_running() for child in children)
        finally:
            if children[1].is_running():
                children[1].kill()
    error = "error: these processes of the gateway did not end in time and were killed: 1"
    assert error in " ".join((tmp_path / "log").read_text().split())


def test_a_long_path_of_temporary_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(SettingsError, match=r"TMPDIR: a socket in .* bytes, more than 103"):
        run_processes(KafkaSettings("127.0.0.1:1", "none"), GatewaySettings(port=0), 2, threading.Event())
    assert list(long.iterdir()) == []


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


def test_a_signal_within_the_wait_for_it_sets_the_event() -> None:
    """A handler that takes the lock of the event waits for its own thread, for ever."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    set_on_sigterm(stop)
    try:
        with stop._cond:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGTERM)
            assert not stop.is_set()
        assert stop.wait(PATIENCE_S)
    finally:
        signal.signal(signal.SIGTERM, before)

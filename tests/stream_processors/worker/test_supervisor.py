"""Several worker processes under one command, on the real broker."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from prometheus_client.parser import text_string_to_metric_families

from infra.broker import LocalBroker
from infra.demo.processes import WorkerProcess
from schemas import KafkaSettings
from schemas.codec import encode
from schemas.errors import InspectionError
from stream_processors.worker import supervisor
from stream_processors.worker.settings import WorkerSettings, share_of_cores
from tests.support.topics import committed, read_decisions
from tests.support.worker_frames import decided_by, make_frame, publish
from transport.child_process import ChildFailure
from transport.loopback import open_direct

pytestmark = pytest.mark.broker

StartWorker = Callable[..., WorkerProcess]


def members(worker: WorkerProcess) -> list[psutil.Process]:
    """The processes that inspect: those with threads of that name do, multiprocessing's helper does not."""
    return [child for child in psutil.Process(worker.pid).children() if child.num_threads() > 4]


def await_shares(worker: WorkerProcess) -> Any:
    """Wait until each process has partitions; returns those of all."""
    until = time.monotonic() + 15
    report: dict[str, Any] = {"processes": []}
    while not report["processes"] or not all(each.get("assigned") for each in report["processes"]):
        assert time.monotonic() < until, report
        time.sleep(0.1)
        report = worker.health() or report
    return report["assigned"]


def await_end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, 15)
    assert not alive


def test_they_share_the_frames_and_look_like_one(
    line: KafkaSettings, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy that does not exist: the fleet must not ask it for its own processes.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    worker = start_worker("--processes", "2")
    inspecting = members(worker)
    assert len(inspecting) == 2
    assert await_shares(worker) == [f"{line.frames}-{number}" for number in range(6)]

    frames = [make_frame(number, f"cam{number % 12}") for number in range(240)]
    publish(line, [(f.key, encode(f)) for f in frames])
    decisions = read_decisions(line, 240)
    assert sorted(d.frame_id for d in decisions) == sorted(f.frame_id for f in frames)
    until = time.monotonic() + 10
    while decided_by(worker) < 240 and time.monotonic() < until:
        time.sleep(0.1)
    with open_direct(worker.url + "/metrics", 5) as answer:
        families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    by_process: dict[str, float] = {}
    for sample in families["inspection_decisions"].samples:
        if sample.name == "inspection_decisions_total":
            process = sample.labels["process"]
            by_process[process] = by_process.get(process, 0) + sample.value
    assert set(by_process) == {"0", "1"}
    assert sum(by_process.values()) == 240
    assert families["inspection_capture_to_decision_seconds"].type == "histogram"

    assert worker.stop() == 0
    await_end(inspecting)
    assert committed(line) == 240


@pytest.mark.long
@pytest.mark.parametrize("killed", ["a member", "the parent"])
def test_all_end_with_one(start_worker: StartWorker, killed: str) -> None:
    worker = start_worker("--processes", "2")
    inspecting = members(worker)
    await_shares(worker)
    (inspecting[0] if killed == "a member" else psutil.Process(worker.pid)).kill()
    await_end(inspecting)
    assert worker.wait() == (1 if killed == "a member" else -9)


def test_one_that_cannot_start_says_why(line: KafkaSettings, tmp_path: Path) -> None:
    worker = WorkerProcess(
        line, model=tmp_path / "nothing", group=line.prefix, log=tmp_path / "log", options=["--processes", "2"]
    )
    with pytest.raises(InspectionError, match="nothing"):
        worker.await_ready()
    text = (tmp_path / "log").read_text()
    assert "Traceback" not in text
    assert text.splitlines()[-1].startswith("error: ")


def tell_and_hang(settings: WorkerSettings, number: int, level: int, pipe: Connection) -> None:
    """Stand for a process that a signal ends between its last message and its exit."""
    pipe.send(ChildFailure("the user may not READ the group", 78))
    time.sleep(60)


def test_a_signal_after_the_last_message_does_not_change_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_run_child", tell_and_hang)
    workers = supervisor.WorkerSupervisor(WorkerSettings(KafkaSettings()), 1)
    [child] = workers._children
    assert child.pipe.poll(60)
    workers.stop()
    error = workers.failure()
    assert isinstance(error, InspectionError)
    assert (str(error), error.exit_code) == ("the user may not READ the group", 78)


def sleep_on(settings: WorkerSettings, number: int, level: int, pipe: Connection) -> None:
    """Stand for a process that does not end at SIGTERM: a frozen one gets no signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send("ready")
    time.sleep(600)


def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_run_child", sleep_on)
    monkeypatch.setattr(supervisor, "_STOPPED_S", 1.0)
    workers = supervisor.WorkerSupervisor(WorkerSettings(KafkaSettings()), 2)
    assert all(child.pipe.poll(60) for child in workers._children)
    began_s = time.monotonic()
    workers.stop()
    assert 1.0 <= time.monotonic() - began_s < 30
    assert [child.process.exitcode for child in workers._children] == [-signal.SIGKILL] * 2


@pytest.mark.parametrize("threads", [None, 1])
def test_with_fewer_partitions_the_threads_are_shared_out_unless_they_are_given(
    broker: LocalBroker, unique: str, tmp_path: Path, threads: int | None
) -> None:
    kafka = KafkaSettings(broker.bootstrap_servers, unique)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    admin.create_topics([NewTopic(kafka.frames, 1, 1)])[kafka.frames].result(20)
    given = [] if threads is None else ["--threads", str(threads)]
    log = tmp_path / "log"
    worker = WorkerProcess(kafka, model=None, group=unique, log=log, options=["--processes", "2", *given])
    with pytest.raises(InspectionError, match=kafka.decisions):  # which is not there
        worker.await_ready()
    each = 2 * share_of_cores(processes=2)[1] if threads is None else threads
    assert "has 1 partitions: 1 processes, more would have nothing to do" in log.read_text()
    assert f"1 processes of {each} threads" in log.read_text()

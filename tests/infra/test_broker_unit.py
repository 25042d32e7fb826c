"""The local broker's parts, without a broker: locks, ports, log tail, jar cache."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.broker import BrokerError, LocalBroker, kafka_jars
from infra.broker.cluster import find_plan
from infra.broker.errors import KafkaUnresolved
from infra.broker.locks import try_lock
from infra.broker.log_tail import log_tail, size
from infra.broker.ports import free_port
from infra.broker.state import read_state


def test_a_child_that_inherits_the_lock_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "broker.lock"
    held = try_lock(path)
    assert held is not None
    with held:
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        child = subprocess.Popen(sleep, pass_fds=[held.fileno()])
    try:
        assert try_lock(path) is None
    finally:
        child.kill()
        child.wait(10)
    free = try_lock(path)
    assert free is not None
    free.close()


STATE = {"pid": 4711, "created_at": 1.0, "port": 9092, "version": "4", "log": "broker.log"}
PLAN = {"cluster_id": "x", "ports": [9092, 9093, 9094], "controller_ports": [9192, 9193, 9194]}
NO_STATES = [
    {"pid": "x"}, {"pid": -1}, {"pid": 2**70}, {"pid": True}, {"created_at": None}, {"created_at": float("nan")},
    {"created_at": 1e300}, {"port": "9092"}, {"port": 2**70}, {"version": 4}, {"log": None}, {"more": 1},
]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "null", "[" * 100_000, "{}", '"x"', "\0", *(json.dumps(STATE | change) for change in NO_STATES)],
)
def test_a_state_of_a_broker_that_is_none_is_no_broker(tmp_path: Path, text: str) -> None:
    (tmp_path / "broker.json").write_text(text)
    assert read_state(tmp_path / "broker.json") is None


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[" * 100_000, "{}", "\0", json.dumps(PLAN | {"ports": "909"}), json.dumps(PLAN | {"ports": []}),
        json.dumps(PLAN | {"ports": [9092, 2**70, 1]}), json.dumps(PLAN | {"controller_ports": [float("nan")] * 3}),
    ],
)  # fmt: skip
def test_a_plan_of_a_cluster_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(BrokerError, match=r"cluster\.json cannot be read"):
        find_plan(tmp_path)


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_an_impossible_port_is_one_line(tmp_path: Path, port: int) -> None:
    with pytest.raises(BrokerError, match=f"port {port} is not one"):
        free_port(port)


def test_a_broker_is_not_started_on_a_directory_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.broker.kafka_jars.classpath", lambda progress: "")
    held = try_lock(tmp_path / "broker.lock")
    assert held is not None
    with held, pytest.raises(BrokerError, match=f"uses {tmp_path}; end its java process first"):
        LocalBroker(tmp_path, 0).start()


def test_the_tail_leaves_out_what_an_earlier_broker_said(tmp_path: Path) -> None:
    log, output = tmp_path / "broker.log", tmp_path / "stdout.log"
    log.write_text("ERROR of yesterday\n")
    since = size(log)
    with log.open("a") as file:
        file.write("INFO starting\nERROR of today\n")
    assert log_tail(log, output, since) == "ERROR of today"


def test_the_tail_has_the_reason_that_the_jvm_gives(tmp_path: Path) -> None:
    output = tmp_path / "stdout.log"
    output.write_text("Error occurred during initialization of VM\nToo small maximum heap\n")
    assert log_tail(tmp_path / "none.log", output, 0).endswith("Too small maximum heap")


def test_the_tail_of_a_log_that_was_rolled_over_is_all_of_it(tmp_path: Path) -> None:
    log = tmp_path / "broker.log"
    log.write_text("ERROR new\n")
    assert log_tail(log, tmp_path / "none", 10_000) == "ERROR new"


def test_a_cache_that_cannot_be_made_names_the_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    (tmp_path / "file").touch()
    with pytest.raises(KafkaUnresolved, match=r"cannot be used: Not a directory.*KAFKA_HOME.*compose\.yaml"):
        kafka_jars.classpath(tmp_path / "file" / "cache")


def test_a_corrupted_jar_is_fetched_again_and_only_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    bad = kafka_jars.locked_jars()[2]
    monkeypatch.setattr(kafka_jars, "is_intact", lambda path, jar: jar != bad)
    fetched: list[kafka_jars.Jar] = []
    monkeypatch.setattr(kafka_jars, "_download", lambda missing, *_: fetched.extend(missing))
    kafka_jars.classpath(tmp_path)
    assert fetched == [bad]


def test_jars_that_are_there_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    monkeypatch.setattr(kafka_jars, "is_intact", lambda path, jar: True)
    # None in sys.modules makes its import fail: the client that fetches is not even loaded.
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    assert len(kafka_jars.classpath(tmp_path).split(":")) == len(kafka_jars.locked_jars())


def test_the_version_of_a_distribution_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.1.1.jar").touch()
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    assert kafka_jars.version_to_run() == "4.1.1"
    monkeypatch.delenv("KAFKA_HOME")
    assert kafka_jars.version_to_run() == kafka_jars.kafka_version()

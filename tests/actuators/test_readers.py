"""Changes of a topic while a gate reads it: none of them blinds the gate."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from actuators import DecisionConsumer, DriftWatch, FrameTriggers, Undecodable
from schemas import Codec, Decision, Frame, KafkaSettings
from schemas.errors import RegistryError
from tests.support.bombs import send_bomb
from tests.support.drifting_gates import OPENED, event
from tests.support.gate_records import make_decision, make_frame, now_us
from tests.support.partitions import add_partitions, delivered
from tests.support.transactions import abort_transaction
from transport.tail import Tail

pytestmark = pytest.mark.broker


def send(line: KafkaSettings, *parts: str, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "log_level": 0})
    codec = Codec.from_settings(line)
    for part in parts:
        value = codec.encode(make_decision(part, captured_at_us=now_us()))
        producer.produce(line.decisions, value, "s/cam", partition, on_delivery=delivered)
    assert producer.flush(20) == 0


def await_parts(consumer: DecisionConsumer, *parts: str, timeout_s: float = 30) -> None:
    """Poll until these parts have come, and no others."""
    found: list[str] = []
    deadline = time.monotonic() + timeout_s
    while len(found) < len(parts) and time.monotonic() < deadline:
        if (decision := consumer.poll(0.05)) is not None:
            found.append(decision.part_key)
    assert sorted(found) == sorted(parts)


def admin(line: KafkaSettings) -> AdminClient:
    return AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})


def test_a_batch_that_no_client_reads_is_counted_and_what_follows_comes(line: KafkaSettings) -> None:
    told: list[Undecodable] = []
    with DecisionConsumer(line, on_undecodable=told.append, max_age_s=None) as consumer:
        send(line, "before")
        send_bomb(line.bootstrap_servers, line.decisions, count=3, partition=0)
        send(line, "behind")
        await_parts(consumer, "before", "behind")
        assert consumer.counts.undecodable == 1
    assert [(one.kind, one.topic, one.partition, one.offset) for one in told] == [
        ("undecodable-batch", line.decisions, 0, 1)
    ]


@pytest.mark.long
def test_a_batch_that_would_take_all_memory_is_left_out_at_the_next_start(line: KafkaSettings, tmp_path: Path) -> None:
    told: list[Undecodable] = []
    options = {"max_age_s": None, "state_dir": tmp_path, "on_undecodable": told.append}
    with DecisionConsumer(line, **options) as consumer:  # type: ignore[arg-type]
        send(line, "read")
        await_parts(consumer, "read")
    send(line, "before")
    send_bomb(line.bootstrap_servers, line.decisions, count=3, partition=0, codec="gzip", size=700_000_000)  # 2 to 4
    send(line, "behind")
    with DecisionConsumer(line, **options) as consumer:  # type: ignore[arg-type]
        await_parts(consumer, "before", "behind")
        assert consumer.poll(0.1) is None
        assert consumer.counts.undecodable == 1
        send(line, "later")
        await_parts(consumer, "later")
    assert [(one.kind, one.partition, one.offset) for one in told] == [("undecodable-batch", 0, 2)]
    stored = json.loads((tmp_path / f"{line.decisions}.offsets.json").read_text())
    assert stored["next_offsets"]["0"] == 7


@pytest.mark.long
def test_a_batch_of_the_past_that_would_take_all_memory_is_no_drift(line: KafkaSettings) -> None:
    send_bomb(line.bootstrap_servers, line.drift, partition=0, codec="gzip", size=700_000_000)
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "log_level": 0})
    producer.produce(line.drift, Codec.from_settings(line).encode(event("open", OPENED)), partition=0)
    assert producer.flush(20) == 0
    watch = DriftWatch(line, patience_s=30)
    watch.open()
    try:
        assert (watch.stats.open_episodes, watch.stats.undecodable) == (1, 1)
    finally:
        watch.close()


def test_the_watch_of_drift_outlives_a_batch_that_takes_all_memory(
    line: KafkaSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "log_level": 0})
    producer.produce(line.drift, Codec.from_settings(line).encode(event("open", OPENED)), partition=0)
    assert producer.flush(20) == 0
    poll, failed = Tail.poll, threading.Event()

    def poll_without_memory(tail: Tail, timeout_s: float) -> object:
        if not failed.is_set():
            failed.set()
            raise SystemError("<method 'poll'> returned a result with an exception set")
        return poll(tail, timeout_s)

    monkeypatch.setattr(Tail, "poll", poll_without_memory)
    watch = DriftWatch(line, patience_s=30)
    watch.open()
    try:
        assert failed.is_set()
        assert watch.stats.open_episodes == 1
    finally:
        watch.close()
    assert f"{line.drift} is read again" in caplog.text


def test_an_open_transaction_of_a_stranger_holds_nothing_back(line: KafkaSettings) -> None:
    stranger = Producer({"bootstrap.servers": line.bootstrap_servers, "transactional.id": line.prefix, "log_level": 0})
    stranger.init_transactions(20)
    with DecisionConsumer(line) as consumer:
        stranger.begin_transaction()
        stranger.produce(line.decisions, b"never ended", partition=0)
        assert stranger.flush(20) == 0
        send(line, "p1", "p2")
        await_parts(consumer, "p1", "p2")
        assert consumer.counts.undecodable == 1
    abort_transaction(stranger, line, line.decisions)


def test_partitions_that_are_added_are_read_from_their_beginning(
    line: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with DecisionConsumer(line, max_age_s=None) as consumer:
        add_partitions(line.bootstrap_servers, line.decisions, 8)
        send(line, "seventh", partition=6)
        send(line, "eighth", partition=7)
        send(line, "first")
        await_parts(consumer, "first", "seventh", "eighth")
        send(line, "on", partition=7)
        await_parts(consumer, "on")
    assert f"{line.decisions} has new partitions, 6, 7" in caplog.text


def test_a_topic_that_is_created_again_is_read_from_its_beginning(
    line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = admin(line)
    with DecisionConsumer(line, max_age_s=None, state_dir=tmp_path) as consumer:
        send(line, "a", "b", "c")
        await_parts(consumer, "a", "b", "c")
        client.delete_topics([line.decisions])[line.decisions].result(20)
        time.sleep(1)
        client.create_topics([NewTopic(line.decisions, 6)])[line.decisions].result(20)
        send(line, "d")
        await_parts(consumer, "d")
    assert "was deleted and created again: it is read from its beginning" in caplog.text
    stored = json.loads((tmp_path / f"{line.decisions}.offsets.json").read_text())
    assert stored["next_offsets"] == {"0": 1}


@pytest.mark.parametrize("offset", [2**62, -5], ids=["beyond the end", "below zero"])
def test_offsets_that_the_topic_does_not_have_are_void(
    line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture, offset: int
) -> None:
    stored = {"topic": line.decisions, "next_offsets": {"0": offset, "1": 0}}
    (tmp_path / f"{line.decisions}.offsets.json").write_text(json.dumps(stored))
    with DecisionConsumer(line, max_age_s=None, state_dir=tmp_path) as consumer:
        send(line, "p")
        await_parts(consumer, "p")
    assert "that offset is void" in caplog.text


def test_offsets_of_a_topic_that_was_created_again_are_void(
    line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    send(line, "old", "older")
    stored = {"topic": line.decisions, "topic_id": "another", "next_offsets": dict.fromkeys(map(str, range(6)), 0)}
    (tmp_path / f"{line.decisions}.offsets.json").write_text(json.dumps(stored))
    with DecisionConsumer(line, max_age_s=None, state_dir=tmp_path) as consumer:
        send(line, "new")
        await_parts(consumer, "new")
    assert "was deleted and created again since the last run" in caplog.text


def test_with_a_registry_a_gate_reads_what_a_worker_writes(line: KafkaSettings) -> None:
    kafka = replace(line, schema_registry_url=f"mock://{line.prefix}")
    codec = Codec.from_settings(kafka)
    decision, frame = make_decision("p", captured_at_us=now_us()), make_frame("p", captured_at_us=now_us())
    drifted = event("open", OPENED)
    assert {codec.encode(record)[:1] for record in (decision, frame, drifted)} == {b"\x00"}
    expected: list[Frame] = []
    triggers = FrameTriggers(kafka, expected.append, max_age_s=None)
    watch = DriftWatch(kafka)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 0, "log_level": 0})
    with DecisionConsumer(kafka) as consumer:
        triggers.start()
        watch.open()
        try:
            for topic, record in ((kafka.decisions, decision), (kafka.frames, frame), (kafka.drift, drifted)):
                producer.produce(topic, codec.encode(record), record.key)
            assert producer.flush(20) == 0
            read: list[Decision | None] = []
            deadline = time.monotonic() + 20
            while (decision not in read or not expected or not watch.episodes) and time.monotonic() < deadline:
                read.append(consumer.poll(0.05))
        finally:
            triggers.stop()
            watch.close()
    assert decision in read
    assert expected == [frame]
    assert (watch.stats.open_episodes, watch.stats.undecodable) == (1, 0)


def test_a_registry_that_does_not_answer_is_one_line_at_the_start(line: KafkaSettings) -> None:
    kafka = replace(line, schema_registry_url="http://127.0.0.1:9")
    for begin in (DecisionConsumer(kafka).open, FrameTriggers(kafka, lambda frame: None, max_age_s=None).start):
        with pytest.raises(RegistryError, match=r"schema registry at http://127\.0\.0\.1:9"):
            begin()


def test_readers_log_no_line_for_each_error_of_a_batch(line: KafkaSettings, caplog: pytest.LogCaptureFixture) -> None:
    with DecisionConsumer(line, max_age_s=None) as consumer, caplog.at_level(logging.WARNING):
        send_bomb(line.bootstrap_servers, line.decisions, partition=0)
        send(line, "behind")
        await_parts(consumer, "behind")
    lines = [record for record in caplog.records if line.decisions in record.getMessage()]
    assert len(lines) == 1


def test_a_batch_that_no_client_reads_is_no_trigger_and_no_drift(line: KafkaSettings) -> None:
    read: list[bool] = []
    triggers = FrameTriggers(line, lambda frame: None, max_age_s=None, on_read=read.append)
    watch = DriftWatch(line)
    triggers.start()
    watch.open()
    try:
        send_bomb(line.bootstrap_servers, line.frames, partition=0)
        send_bomb(line.bootstrap_servers, line.drift, partition=0)
        deadline = time.monotonic() + 20
        while (not read or not watch.stats.undecodable) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        triggers.stop()
        watch.close()
    assert read == [False]
    assert (triggers.counts.undecodable, watch.stats.undecodable) == (1, 1)


def test_a_first_connection_is_not_called_another_one(caplog: pytest.LogCaptureFixture) -> None:
    reader = Tail(KafkaSettings("127.0.0.1:9"), "t")
    broker = {"nodeid": 1, "rxidle": 0}
    states = [json.dumps({"topics": {}, "brokers": {"b": {**broker, "state": state}}}) for state in ("CONNECT", "UP")]
    with caplog.at_level(logging.INFO):
        for state in states:
            reader._on_stats(state)
        assert not caplog.records
        for _ in range(2):
            reader._on_stats(states[0])
            reader._on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        reader._on_stats(states[1])
    assert [record.getMessage() for record in caplog.records] == [
        "t: no broker at 127.0.0.1:9; trying again",
        "t: connected to 127.0.0.1:9 again",
    ]

"""A broker that goes away and comes back, with a sink that follows it."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from infra.broker import LocalBroker
from infra.broker.ports import free_port
from replay.archive import Archive, ArchiveError, ArchiveSink, ArchiveStore, SinkOptions
from schemas import KafkaSettings
from schemas.codec import encode
from schemas.errors import BrokerUnavailable
from tests.support.past import make_frame
from transport.topic_setup import apply

pytestmark = pytest.mark.broker


def publish(kafka: KafkaSettings, begin: int, end: int) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for number in range(begin, end):
        producer.produce(kafka.frames, encode(make_frame(number)), partition=0, timestamp=time.time_ns() // 1_000_000)
    assert producer.flush(20) == 0


@pytest.mark.long
def test_a_broker_that_goes_away_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    kafka = KafkaSettings(f"127.0.0.1:{port}")
    broker = LocalBroker(tmp_path / "broker", port, 256)
    broker.start()
    stop, ended = threading.Event(), []

    def follow(sink: ArchiveSink) -> None:
        try:
            sink.follow(stop)
        except (ArchiveError, BrokerUnavailable) as error:
            ended.append(error)

    try:
        apply(kafka)
        publish(kafka, 0, 10)
        sink = ArchiveSink(kafka, ArchiveStore(str(tmp_path / "a")), SinkOptions(every_s=0.5))
        thread = threading.Thread(target=follow, args=(sink,))
        thread.start()
        deadline = time.monotonic() + 180
        while sink.report.messages < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        with caplog.at_level(logging.WARNING):
            broker.stop()
            while "no broker answers" not in caplog.text.lower() and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(1)
            broker.start()
            publish(kafka, 10, 25)
            while sink.report.messages < 25 and time.monotonic() < deadline:
                time.sleep(0.05)
        assert ended == []
        stop.set()
        thread.join(30)
        assert ended == []
        assert Archive.open(str(tmp_path / "a")).covered(kafka.frames)[0] == ((0, 25),)
        assert caplog.text.count("it is asked until one does") <= 1 + caplog.text.count("a broker answers again")
        assert caplog.text.count("tried again until it succeeds") <= 1
        assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) >= 1
    finally:
        stop.set()
        broker.stop()


def test_an_archive_whose_volume_is_gone_is_waited_for(
    line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Check that nothing is written into the empty folder below a volume that is no longer mounted."""
    folder, volume = tmp_path / "a", tmp_path / "volume"
    stop = threading.Event()
    sink = ArchiveSink(line, ArchiveStore(str(folder)), SinkOptions(every_s=0.2))
    thread = threading.Thread(target=sink.follow, args=(stop,))
    publish(line, 0, 10)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while sink.report.messages < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        folder.rename(volume)
        folder.mkdir()
        publish(line, 10, 25)
        while "archive.json is gone: mount its volume again" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        assert list(folder.iterdir()) == []
        folder.rmdir()
        volume.rename(folder)
        while sink.report.messages < 25 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join(30)
    assert Archive.open(str(folder)).covered(line.frames)[0] == ((0, 25),)

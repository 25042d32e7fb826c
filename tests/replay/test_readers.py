"""Topics with transactions and unreadable batches: the readers of the past read on, and report them."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest
from confluent_kafka import Producer

from operations.audit.topics import audit_topics
from replay import read_topic
from replay.archive import ArchiveSink, ArchiveStore, SinkOptions
from replay.archive.reader import Archive
from replay.past.source import Source
from schemas import Codec, DeadLetter, Decision, DriftEvent, Frame, KafkaSettings, Label
from schemas.topics import MAX_REQUEST_BYTES
from stream_processors.watch.state import Snapshot, find_snapshots, read_snapshots
from tests.support import records as examples
from tests.support.bombs import send_bomb
from tests.support.past import make_frame
from tests.support.transactions import abort_transaction
from transport.batches import UnreadableBatch
from transport.limited_child import start_child
from transport.range_reader import ReadingFailed

pytestmark = pytest.mark.broker


def send(line: KafkaSettings, *frames: Frame) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "log_level": 0})
    for frame in frames:
        producer.produce(line.frames, Codec().encode(frame), frame.key, partition=0)
    assert producer.flush(20) == 0


@pytest.mark.long
def test_a_batch_that_no_client_reads_is_left_out_by_replay_audit_and_archive(
    line: KafkaSettings, tmp_path: Path
) -> None:
    frames = [make_frame(number) for number in range(4)]
    send(line, *frames[:2])
    send_bomb(line.bootstrap_servers, line.frames, count=3, partition=0)  # 2 to 4
    send(line, *frames[2:])
    batches: list[UnreadableBatch] = []
    read = list(read_topic(line, line.frames, on_unreadable=batches.append))
    assert [message.offset for message in read] == [0, 1, 5, 6]
    assert [(batch.first, batch.following) for batch in batches] == [(2, 5)]

    audit = audit_topics(Source(line))
    assert audit.unreadable_positions == [(line.frames, 0, 2)]
    assert audit.unreadable_unaccounted == 1  # no worker has left a dead letter

    report = ArchiveSink(line, ArchiveStore(str(tmp_path)), SinkOptions()).run_once(threading.Event())
    assert (report.messages, report.undecodable) == (4, 3)
    assert Archive.open(str(tmp_path)).covered(line.frames)[0] == ((0, 7),)


@pytest.mark.parametrize(
    ("codec", "size"), [pytest.param("gzip", 700_000_000, marks=pytest.mark.long), ("lz4", 350_000_000)]
)
def test_a_batch_that_would_take_all_memory_is_left_out(
    line: KafkaSettings, tmp_path: Path, codec: str, size: int
) -> None:
    frames = [make_frame(number) for number in range(4)]
    send(line, *frames[:2])
    send_bomb(line.bootstrap_servers, line.frames, count=3, partition=0, codec=codec, size=size)  # 2 to 4
    send(line, *frames[2:])
    batches: list[UnreadableBatch] = []
    read = list(read_topic(line, line.frames, on_unreadable=batches.append))
    assert [message.offset for message in read] == [0, 1, 5, 6]
    assert [(batch.first, batch.following) for batch in batches] == [(2, 5)]
    if codec != "gzip":
        return
    audit = audit_topics(Source(line))
    assert audit.unreadable_positions == [(line.frames, 0, 2)]
    report = ArchiveSink(line, ArchiveStore(str(tmp_path)), SinkOptions()).run_once(threading.Event())
    assert (report.messages, report.undecodable) == (4, 3)
    assert Archive.open(str(tmp_path)).covered(line.frames)[0] == ((0, 7),)


def test_a_reader_whose_child_is_ended_from_outside_reads_on(
    line: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(line, *[make_frame(number) for number in range(50)])
    children: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        children.append(start_child(*command))
        return children[-1]

    monkeypatch.setattr("transport.range_reader.start_child", start)
    offsets = []
    for message in read_topic(line, line.frames):
        offsets.append(message.offset)
        if len(offsets) == 1:
            children[0].kill()
    assert offsets == list(range(50))
    assert all(child.poll() is not None for child in children)


def test_a_reader_whose_children_do_not_live_fails_with_a_line(
    line: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(line, make_frame(0))
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ReadingFailed, match="cannot be read"):
        list(read_topic(line, line.frames))


def test_a_reader_of_committed_messages_says_what_holds_it_back(
    line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    send(line, make_frame(0))
    stranger = Producer({"bootstrap.servers": line.bootstrap_servers, "transactional.id": line.prefix, "log_level": 0})
    stranger.init_transactions(20)
    stranger.begin_transaction()
    stranger.produce(line.frames, b"never ended", partition=0)
    assert stranger.flush(20) == 0
    send(line, make_frame(1))
    assert len(list(read_topic(line, line.frames))) == 1
    said = f"partition 0 of {line.frames} is held back by an open transaction since offset 1"
    assert said in caplog.text
    caplog.clear()
    assert ArchiveSink(line, ArchiveStore(str(tmp_path)), SinkOptions()).run_once(threading.Event()).messages == 1
    assert caplog.text.count(said) == 1
    abort_transaction(stranger, line, line.frames)
    caplog.clear()
    assert len(list(read_topic(line, line.frames))) == 2
    assert "held back" not in caplog.text


def test_the_state_of_the_watch_is_read_behind_such_a_batch_and_without_its_partition(
    line: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "log_level": 0})
    snapshot = Snapshot({"d": 7}, {"data": b"x"})
    send_bomb(line.bootstrap_servers, line.drift_state, key="cam", partition=0)
    producer.produce(line.drift_state, snapshot.dumps(), "cam", partition=0)
    assert producer.flush(20) == 0
    assert read_snapshots(line, 0) == {"cam": snapshot}
    assert read_snapshots(line, 6) == {}
    assert "none of number 6" in caplog.text


@pytest.mark.long
def test_a_state_that_would_take_all_memory_is_left_out_after_a_death(line: KafkaSettings) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "log_level": 0})
    snapshots = {f"cam{number}": Snapshot({"d": number}, {"data": b"x"}) for number in range(2)}
    for number, (camera, snapshot) in enumerate(snapshots.items()):
        if number == 1:
            send_bomb(line.bootstrap_servers, line.drift_state, partition=0, codec="gzip", size=700_000_000)
        producer.produce(line.drift_state, snapshot.dumps(), camera, partition=0)
        assert producer.flush(20) == 0
    found = find_snapshots(line, 0, is_tried=True)
    assert (found.found, found.voided) == (snapshots, 0)


@pytest.mark.parametrize("record", [Frame, Decision, DeadLetter, Label, DriftEvent])
def test_with_a_registry_one_codec_reads_what_another_writes(record: type, unique: str) -> None:
    kafka = KafkaSettings(prefix=unique, schema_registry_url=f"mock://{unique}")
    [example] = [one for one in examples.ALL if type(one) is record]
    written = Codec.from_settings(kafka).encode(example)
    assert written[:1] == b"\x00"
    assert Codec.from_settings(kafka).decode(written, record, max_bytes=MAX_REQUEST_BYTES) == example

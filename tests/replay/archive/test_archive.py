"""Topics into an archive and back, on the real broker."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from typer.testing import CliRunner, Result

from infra.cli.root import app
from replay.archive import Archive, ArchiveError, ArchiveSink, ArchiveStore, SinkOptions, SinkReport
from replay.archive.collector import Collector
from replay.archive.follower import Partition
from replay.archive.index import load_commits
from replay.archive.metrics import ArchiveMetrics
from replay.archive.verify import verify
from replay.past.resolved_selection import ResolvedSelection
from replay.past.selection import Selection
from replay.past.source import Source
from schemas import DeadLetter, Decision, DriftEvent, Frame, KafkaSettings, Label
from schemas.codec import encode
from schemas.errors import BrokerUnavailable, SettingsError, TopicMissing
from tests.support import records as examples
from tests.support.archives import archive, delete_before
from tests.support.past import EPOCH_US, make_frame, publish_past
from tests.support.s3 import s3_server, s3_settings
from tests.support.transactions import abort_transaction, commit_transaction
from transport.image_store import ImageStore
from transport.offset_ranges import total
from transport.range_reader import read_ranges
from transport.stored_message import StoredMessage
from transport.topic_ranges import TimeRange

pytestmark = pytest.mark.broker
ALL = (Frame, Decision, Label, DriftEvent, DeadLetter)


def everything(source: Source, kind: type = Frame) -> list[StoredMessage[Any]]:
    return sorted(source.records(kind), key=lambda one: one.position)


def produce(kafka: KafkaSettings, topic: str, messages: list[tuple[bytes | None, int]], partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for value, timestamp_us in messages:
        producer.produce(topic, value, b"k", partition=partition, timestamp=timestamp_us // 1000)
    assert producer.flush(20) == 0


def frames(count: int, begin: int = 0, **changes: Any) -> list[tuple[bytes | None, int]]:
    made = [make_frame(number, **changes) for number in range(begin, begin + count)]
    return [(encode(frame), frame.captured_at_us) for frame in made]


def run(kafka: KafkaSettings, *arguments: str) -> Result:
    options = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    at = 1 if arguments[:1] in (("status",),) else 0
    return CliRunner().invoke(app, ["archive", *arguments[:at], *options, *arguments[at:]])


@pytest.mark.long
def test_all_comes_back_as_the_topics_have_it(line: KafkaSettings, tmp_path: Path) -> None:
    publish_past(line, 300)
    for topic, record in zip(
        (line.labels, line.drift, line.dead_letters),
        (examples.LABEL, examples.DRIFT_EVENT, examples.DEAD_LETTER), strict=True,
    ):  # fmt: skip
        for partition in range(1 if topic != line.labels else 2):
            produce(line, topic, [(encode(record), EPOCH_US), (b"\x00garbage", EPOCH_US), (None, EPOCH_US)], partition)
    hostile = make_frame(0, "..\n../" + "x" * 5000, lot="\x1b[2J")
    produce(line, line.frames, [(encode(hostile), EPOCH_US), (encode(make_frame(1))[:50], EPOCH_US)], 5)
    report = archive(line, tmp_path, memory_bytes=20_000)
    assert (report.messages, report.unreadable) == (300 + 300 + 12 + 2, 9)
    assert report.commits >= 12
    live, archived = Source(line), Source(line, Archive.open(str(tmp_path)), topics=False)
    both = Source(line, Archive.open(str(tmp_path)))
    for kind in ALL:
        wanted = everything(live, kind)
        assert wanted == everything(archived, kind) == everything(both, kind)
        assert [encode(a.record) for a in wanted if a.record] == [
            encode(b.record) for b in everything(archived, kind) if b.record
        ]
    middle = TimeRange(EPOCH_US + 60_000_000, EPOCH_US + 200_000_000)
    by_place = lambda one: one.position  # noqa: E731
    assert sorted(live.records(Frame, middle), key=by_place) == sorted(archived.records(Frame, middle), key=by_place)
    checked = verify(ArchiveStore(str(tmp_path)))
    assert (checked.damage, checked.gaps, checked.leftovers, checked.twice) == ([], [], {}, 0)
    assert checked.messages == report.messages
    # Nothing new: nothing is written.
    before = ArchiveStore(str(tmp_path)).find("")
    assert archive(line, tmp_path) == SinkReport()
    assert ArchiveStore(str(tmp_path)).find("") == before


def test_partly_archived_and_partly_live_is_each_once(line: KafkaSettings, tmp_path: Path) -> None:
    produce(line, line.frames, frames(60))
    wanted = everything(Source(line))
    archive(line, tmp_path)
    produce(line, line.frames, frames(40, 60))
    wanted += everything(Source(line))[60:]
    delete_before(line, line.frames, 0, 35)  # retention
    assert len(everything(Source(line))) == 65
    source = Source(line, Archive.open(str(tmp_path)))
    assert everything(source) == wanted
    within = TimeRange(EPOCH_US + 20_000_000, EPOCH_US + 80_000_000)
    assert [one.record.sequence for one in source.records(Frame, within)] == list(range(20, 80))
    assert total(source.extent(Frame)) == 100
    chosen = ResolvedSelection(source, Selection(last=70))
    assert [found.record.sequence for found, _ in chosen.frames()] == list(range(30, 100))
    # The next run goes on at offset 60, whatever the topic has deleted before.
    assert archive(line, tmp_path).messages == 40
    assert everything(Source(line, Archive.open(str(tmp_path)), topics=False)) == wanted


def test_a_selection_of_a_camera_opens_its_files_alone(line: KafkaSettings, tmp_path: Path) -> None:
    publish_past(line, 90)
    archive(line, tmp_path)
    opened = Archive.open(str(tmp_path))
    resolved = ResolvedSelection(Source(line, opened, topics=False), Selection(cameras=("press/top",)))
    before = opened.files_opened
    assert len(list(resolved.frames())) == 30
    assert opened.files_opened - before == 1


def test_what_retention_deletes_before_it_is_archived_is_said(
    line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    produce(line, line.frames, frames(10))
    delete_before(line, line.frames, 0, 3)
    archive(line, tmp_path)
    produce(line, line.frames, frames(20, 10))
    delete_before(line, line.frames, 0, 25)
    assert archive(line, tmp_path).deleted == 15
    assert "offsets 10 to 24 were deleted before they were archived" in caplog.text
    checked = verify(ArchiveStore(str(tmp_path)))
    assert checked.gaps == [f"{line.frames}-0: offsets 10 to 24 were deleted before they were archived"]
    assert checked.damage == []
    assert Archive.open(str(tmp_path)).covered(line.frames)[0] == ((3, 10), (25, 30))
    shown = run(line, "status", str(tmp_path)).stdout
    assert "partition 0: offsets 3 to 29; not 10 to 24" in shown
    assert archive(line, tmp_path).deleted == 0


@pytest.mark.long
def test_commits_that_are_lost_are_made_anew(line: KafkaSettings, tmp_path: Path) -> None:
    for begin in (0, 10, 20):
        produce(line, line.frames, frames(10, begin))
        archive(line, tmp_path)
    wanted = everything(Source(line))
    store = ArchiveStore(str(tmp_path))
    store.remove(load_commits(store, line.frames)[1].path)
    assert "a commit is missing" in verify(store).damage[0]
    assert len(everything(Source(line, Archive.open(str(tmp_path)), topics=False))) == 20
    assert archive(line, tmp_path).messages == 10
    assert verify(store).damage == []
    assert everything(Source(line, Archive.open(str(tmp_path)), topics=False)) == wanted


@pytest.mark.long
def test_transactions(line: KafkaSettings, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "transactional.id": line.prefix, "log_level": 0})
    producer.init_transactions(20)

    def send(number: int) -> None:
        producer.begin_transaction()
        producer.produce(line.frames, encode(make_frame(number)), partition=0, timestamp=EPOCH_US // 1000)
        assert producer.flush(20) == 0

    send(0)
    abort_transaction(producer, line, line.frames)
    assert archive(line, tmp_path).messages == 0
    assert Archive.open(str(tmp_path)).covered(line.frames) == {0: ((0, 2),)}  # settled: there is no message
    send(1)
    commit_transaction(producer, line, line.frames)
    send(2)
    produce(line, line.frames, frames(1, 3))
    assert archive(line, tmp_path).messages == 1  # up to the one that is open
    abort_transaction(producer, line, line.frames)
    assert archive(line, tmp_path).messages == 1
    read = everything(Source(line, Archive.open(str(tmp_path)), topics=False))
    assert [one.record.sequence for one in read] == [1, 3]
    assert read == everything(Source(line))
    assert verify(ArchiveStore(str(tmp_path))).damage == []


def remake(kafka: KafkaSettings, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    admin.delete_topics([topic])[topic].result(20)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        time.sleep(0.2)
        try:
            admin.create_topics([NewTopic(topic, 6, 1)])[topic].result(20)
        except KafkaException:  # it is still being deleted
            continue
        return
    raise AssertionError("the topic cannot be made anew")


@pytest.mark.long
def test_a_topic_made_anew_is_refused(line: KafkaSettings, tmp_path: Path) -> None:
    produce(line, line.frames, frames(10))
    archive(line, tmp_path)
    wanted = everything(Source(line))
    sink = ArchiveSink(line, ArchiveStore(str(tmp_path)), SinkOptions(every_s=1.0))
    raised: list[BaseException] = []

    def follow() -> None:
        try:
            sink.follow(threading.Event())
        except ArchiveError as error:
            raised.append(error)
        except TopicMissing as error:  # it was asked in the moment between
            raised.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    time.sleep(1.5)
    remake(line, line.frames)
    produce(line, line.frames, frames(30, 100))
    thread.join(30)
    assert raised
    with pytest.raises(ArchiveError, match="deleted and re-created"):
        archive(line, tmp_path)
    opened = Archive.open(str(tmp_path))
    with pytest.raises(SettingsError, match="another topic"):
        everything(Source(line, opened))
    assert everything(Source(line, opened, topics=False)) == wanted
    assert verify(ArchiveStore(str(tmp_path))).damage == []
    assert "deleted and re-created" in run(line, "status", str(tmp_path)).stdout


def test_images_by_reference_are_archived_in_their_frames(
    line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = ImageStore(str(tmp_path / "images"))
    data = b"pixels" * 1000
    digest = hashlib.sha256(data).hexdigest()
    reference = images.put("press", "top", EPOCH_US, digest, data, "jpeg")
    there = make_frame(0, image=None, reference=reference, sha256=digest)
    gone = make_frame(1, image=None, reference=dataclasses.replace(reference, uri=reference.uri.replace("/top", "/x")))
    produce(line, line.frames, [(encode(there), EPOCH_US), (encode(gone), EPOCH_US), (encode(gone), EPOCH_US)])
    assert archive(line, tmp_path / "archive", image_store=images).references == 2
    assert caplog.text.count("archived without its image") == 1
    read = everything(Source(line, Archive.open(str(tmp_path / "archive")), topics=False))
    assert [one.record for one in read] == [dataclasses.replace(there, image=data, reference=None), gone, gone]
    assert "2 frames without their image" in run(line, "status", str(tmp_path / "archive")).stdout


@pytest.mark.long
def test_on_s3_by_the_commands(line: KafkaSettings) -> None:
    publish_past(line, 60)
    with s3_server() as endpoint, s3_settings(endpoint):
        uri = "s3://images/archive"
        result = run(line, "--to", uri, "--once", "--json")
        assert result.exception is None, result.exception
        done = json.loads(result.stdout)
        assert done["messages"] == 120
        assert "whole: 2 topics" in CliRunner().invoke(app, ["archive", "verify", uri]).stdout
        [decisions, found] = json.loads(run(line, "status", uri, "--json").stdout)["topics"]
        assert (found["messages"], found["lag"], decisions["lag"]) == (60, 0, 0)
        assert set(found["cameras"]) == {"press/top", "press/side", "oven/top"}
        opened = Archive.open(uri)
        assert everything(Source(line, opened, topics=False)) == everything(Source(line))
        store = ArchiveStore(uri)
        cut, empty, gone = list(store.find(line.frames))
        store.write(cut, store.read(cut, 0, 3000))
        store.write(empty, b"")
        store.remove(gone)
        for path in (cut, empty, gone):
            result = CliRunner().invoke(app, ["archive", "verify", uri])
            assert result.exit_code == 1
            assert f"{path} is damaged" in result.stdout
        with pytest.raises(ArchiveError, match="is damaged"):
            everything(Source(line, Archive.open(uri), topics=False))
        with pytest.raises(ArchiveError, match="bucket does not exist"):
            archive(line, "s3://nowhere/archive")


@pytest.mark.long
def test_following_goes_on_until_told_to_stop(line: KafkaSettings, tmp_path: Path) -> None:
    stop = threading.Event()
    sink = ArchiveSink(line, ArchiveStore(str(tmp_path)), SinkOptions(every_s=0.5))
    thread = threading.Thread(target=sink.follow, args=(stop,))
    thread.start()
    produce(line, line.frames, frames(20))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and sink.report.messages < 20:
        time.sleep(0.05)
    assert sink.report.messages == 20
    # Retention overtakes it, a partition is added, and more comes.
    admin = AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    admin.create_partitions([NewPartitions(line.frames, 7)])[line.frames].result(20)
    produce(line, line.frames, frames(10, 20), 6)
    while time.monotonic() < deadline and sink.report.messages < 30:
        time.sleep(0.05)
    produce(line, line.frames, frames(5, 30))
    while time.monotonic() < deadline and sink.report.messages < 35:
        time.sleep(0.05)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert everything(Source(line, Archive.open(str(tmp_path)), topics=False)) == everything(Source(line))
    assert verify(ArchiveStore(str(tmp_path))).damage == []


@pytest.mark.long
def test_an_archive_that_does_not_answer_is_tried_again(
    line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replay.archive.sink._FIRST_WAIT_S", 0.1)
    uri = tmp_path / "mounted"
    stop = threading.Event()
    sink = ArchiveSink(line, ArchiveStore(str(uri)), SinkOptions(every_s=0.3))
    thread = threading.Thread(target=sink.follow, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 20
    produce(line, line.frames, frames(1))
    while time.monotonic() < deadline and not sink.report.messages:
        time.sleep(0.02)
    uri.rename(tmp_path / "unmounted")
    uri.write_text("in the way")  # as root there is no directory that cannot be written
    with caplog.at_level(logging.WARNING):
        produce(line, line.frames, frames(20, 1))
        while time.monotonic() < deadline and "tried again until it succeeds" not in caplog.text:
            time.sleep(0.05)
        time.sleep(0.5)
        uri.unlink()
        (tmp_path / "unmounted").rename(uri)
        while time.monotonic() < deadline and ("archived again" not in caplog.text or sink.report.messages < 21):
            time.sleep(0.05)
    stop.set()
    thread.join(20)
    assert caplog.text.count("tried again until it succeeds") == caplog.text.count("archived again") == 1
    assert everything(Source(line, Archive.open(str(uri)), topics=False)) == everything(Source(line))


def test_empty_topics_make_an_empty_archive(line: KafkaSettings, tmp_path: Path) -> None:
    assert archive(line, tmp_path) == SinkReport()
    opened = Archive.open(str(tmp_path))
    assert (opened.topics(), opened.covered(line.frames), opened.topic_id(line.frames)) == ([], {}, None)
    assert everything(Source(line, opened)) == everything(Source(line, opened, topics=False)) == []
    assert "nothing is archived yet" in run(line, "status", str(tmp_path)).stdout
    assert CliRunner().invoke(app, ["archive", "verify", str(tmp_path)]).exit_code == 0


def test_mistakes_are_errors_of_one_line(line: KafkaSettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    nobody = KafkaSettings("127.0.0.1:9", line.prefix)
    for kafka, arguments, error, text in (
        (line, ["--once"], SettingsError, "where to?"),
        (line, ["--to", "", "--once"], SettingsError, "archive: an empty address"),
        (line, ["--to", "gs9://x", "--once"], SettingsError, "archive 'gs9://x'"),
        (line, ["--to", str(tmp_path / "file"), "--once"], ArchiveError, "cannot be"),
        (nobody, ["--to", str(tmp_path / "a"), "--once"], BrokerUnavailable, "127.0.0.1:9"),
        (KafkaSettings(line.bootstrap_servers, "none"), ["--to", str(tmp_path / "b")], TopicMissing, "none.frames"),
        (line, ["status", str(tmp_path / "c")], ArchiveError, "no archive at"),
    ):
        found = run(kafka, *arguments).exception
        assert isinstance(found, error), (arguments, found)
        assert text in str(found)
        assert "\n" not in str(found)


def test_retention_that_overtakes_a_sink_at_work_is_one_gap(line: KafkaSettings, tmp_path: Path) -> None:
    produce(line, line.frames, frames(10))
    archive(line, tmp_path)
    collector = Collector(line, ArchiveStore(str(tmp_path)), SinkOptions(), None, ArchiveMetrics(), lambda batch: None)
    collector.begin()
    produce(line, line.frames, frames(40, 10))
    partition = Partition(line.frames, 0)
    for before in (20, 30, 30):
        delete_before(line, line.frames, 0, before)
        assert collector.move_on(partition) == before
    assert collector.report.deleted == 20
    for message in read_ranges(line, line.frames, {0: ((30, 50),)}):
        collector.add(message)
        collector.add(message)  # the client may give one again
    collector.write_all()
    assert verify(ArchiveStore(str(tmp_path))).gaps == [
        f"{line.frames}-0: offsets 10 to 29 were deleted before they were archived"
    ]
    assert verify(ArchiveStore(str(tmp_path))).damage == []
    assert len(everything(Source(line, Archive.open(str(tmp_path)), topics=False))) == 30

"""Spans: `verify` sees that the first or the last commits of a partition are missing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from replay.archive import ArchiveStore
from replay.archive.index import load_commits
from replay.archive.layout import span_name
from replay.archive.span import ArchivedSpan, span_of
from replay.archive.store import ArchiveEntry
from replay.archive.verify import verify
from schemas import KafkaSettings
from schemas.codec import encode
from tests.support.archives import TOPIC, TOPIC_ID, archive, commit, delete_before, message
from tests.support.past import make_frame

MISSING = "the last commits are missing; `inspection archive` archives again what the topic still has"


def three_commits(folder: Path) -> tuple[ArchiveStore, list[str]]:
    store = ArchiveStore(str(folder))
    made = [commit(store, [message(offset)], offset, offset + 1) for offset in range(3)]
    span = span_of(made)
    assert span is not None
    store.write(span.path, span.to_bytes())
    return store, [one.path for one in made]


def test_the_last_commit_that_is_missing_is_damage_and_its_files_stay(tmp_path: Path) -> None:
    store, paths = three_commits(tmp_path)
    assert verify(store).damage == []
    store.remove(paths[2])
    report = verify(store)
    assert report.damage == [f"{TOPIC}-0: offsets 2 to 2: {MISSING}"]
    [leftover] = report.leftovers
    os.utime(tmp_path / leftover, (time.time() - 7200,) * 2)
    assert verify(store, remove_leftovers=True).kept == [leftover]
    assert (tmp_path / leftover).exists()


def test_all_commits_that_are_missing_are_damage(tmp_path: Path) -> None:
    store, paths = three_commits(tmp_path)
    for path in paths:
        store.remove(path)
    assert verify(store).damage == [f"{TOPIC}-0: offsets 0 to 2: {MISSING}"]


def test_first_commits_that_were_removed_are_a_gap(tmp_path: Path) -> None:
    store, paths = three_commits(tmp_path)
    store.remove(paths[0])
    report = verify(store)
    assert report.damage == []
    assert report.gaps == [f"{TOPIC}-0: offsets 0 to 0 were archived once: their commits are not here any more"]


@pytest.mark.parametrize("data", [
    b"", b"{}", b"[]", b'{"format": 1, "topic": "t"}', b'{"format": true}',
    ArchivedSpan(TOPIC, TOPIC_ID, "0", 0, 3).to_bytes(),  # type: ignore[arg-type]
    ArchivedSpan(TOPIC, TOPIC_ID, 0, 4, 3).to_bytes(), ArchivedSpan(TOPIC, TOPIC_ID, 1, 0, 3).to_bytes(),
])  # fmt: skip
def test_a_damaged_span_is_one_line_that_names_it(tmp_path: Path, data: bytes) -> None:
    store, _ = three_commits(tmp_path)
    store.write(span_name(TOPIC, 0), data)
    [line] = verify(store).damage
    assert line.startswith(f"{span_name(TOPIC, 0)} is damaged: ")
    assert line.endswith("; delete it, and the next run writes it again")


def test_a_span_of_another_topic_of_that_name_says_nothing(tmp_path: Path) -> None:
    store, _ = three_commits(tmp_path)
    other = ArchivedSpan(TOPIC, f"not-{TOPIC_ID}", 0, 0, 99)
    store.write(other.path, other.to_bytes())
    assert verify(store).damage == []


class BusyStore(ArchiveStore):
    """Store in which a sink commits while `verify` reads: right after the whole archive was listed."""

    def find(self, folder: str) -> dict[str, ArchiveEntry]:
        listing = super().find(folder)
        if not folder:
            made = commit(self, [message(3)], 3, 4)
            span = span_of(load_commits(self, TOPIC))
            assert span is not None
            assert span.end == made.end
            self.write(span.path, span.to_bytes())
        return listing


@pytest.mark.parametrize("quick", [True, False])
def test_what_a_sink_commits_meanwhile_is_no_damage(tmp_path: Path, quick: bool) -> None:
    three_commits(tmp_path)
    report = verify(BusyStore(str(tmp_path)), quick=quick)
    assert (report.damage, report.commits) == ([], 4)


def test_a_leftover_that_a_sink_writes_again_meanwhile_stays(tmp_path: Path) -> None:
    store, paths = three_commits(tmp_path)
    store.remove(paths[2])
    store.remove(span_name(TOPIC, 0))
    [leftover] = verify(store).leftovers
    os.utime(tmp_path / leftover, (time.time() - 7200,) * 2)

    def archives_again(done: int, total: int) -> None:
        commit(store, [message(2)], 2, 3)

    assert verify(store, remove_leftovers=True, on_progress=archives_again).removed == 0
    assert verify(store).damage == []


def produce(kafka: KafkaSettings, begin: int, end: int) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    for number in range(begin, end):
        producer.produce(kafka.frames, encode(make_frame(number)), b"k", partition=0)
    assert producer.flush(20) == 0


@pytest.mark.broker
def test_a_lost_last_commit_is_archived_again(line: KafkaSettings, tmp_path: Path) -> None:
    store, partition = ArchiveStore(str(tmp_path)), f"{line.frames}-0"
    for begin in (0, 5):
        produce(line, begin, begin + 5)
        archive(line, tmp_path)
    assert verify(store).damage == []
    store.remove(load_commits(store, line.frames)[-1].path)
    assert verify(store).damage == [f"{partition}: offsets 5 to 9: {MISSING}"]
    assert archive(line, tmp_path).messages == 5
    assert verify(store).damage == []
    # Where the topic has deleted some of it, the loss stays damage: these offsets were archived once.
    store.remove(load_commits(store, line.frames)[-1].path)
    delete_before(line, line.frames, 0, 8)
    report = archive(line, tmp_path)
    assert (report.messages, report.deleted) == (2, 0)
    found = verify(store)
    assert (len(found.damage), found.gaps) == (1, [])
    assert found.damage[0].startswith(f"{partition}: offsets 5 to 7: a commit is missing; ")


@pytest.mark.broker
def test_a_damaged_span_is_written_again(line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ArchiveStore(str(tmp_path))
    produce(line, 0, 3)
    archive(line, tmp_path)
    store.write(span_name(line.frames, 0), b"x")
    produce(line, 3, 4)
    assert archive(line, tmp_path).messages == 1
    assert "span.json is damaged" in caplog.text
    assert verify(store).damage == []

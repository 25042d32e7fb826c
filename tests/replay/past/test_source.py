"""Offsets of a source: those of the index of a broker, and the first one behind all holes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from operations.dead_letters import read_letters, retry_blocker
from replay import Archive, Source
from replay.archive.batch import ArchiveBatch
from replay.archive.store import ArchiveStore
from schemas import Codec, DeadLetter, Frame, KafkaSettings, Label
from tests.support.archives import TOPIC, TOPIC_ID, commit, message
from tests.support.past import EPOCH_US
from tests.support.records import DEAD_LETTER
from transport.image_store import ImageStore
from transport.stored_message import MessagePosition, StoredMessage
from transport.topic_ranges import TimeRange

KAFKA = KafkaSettings("127.0.0.1:1", TOPIC.rpartition(".")[0])


def archived(path: Path) -> Source:
    return Source(KAFKA, Archive.open(str(path)), topics=False)


def test_a_range_of_the_archive_has_all_messages_of_the_time(tmp_path: Path) -> None:
    chance = random.Random(3)
    times_us = [EPOCH_US + chance.randrange(at, at + 12) * 1_000_000 for at in range(60)]
    store = ArchiveStore(str(tmp_path))
    for begin, end in ((0, 23), (23, 24), (24, 60)):
        # A compacted offset, and files of several cameras with overlapping times.
        some = [message(at, timestamp_us=times_us[at]) for at in range(begin, end) if at != 40]
        commit(store, some, begin, end)
    there = [(at, at_us) for at, at_us in enumerate(times_us) if at != 40]
    source = archived(tmp_path)

    for _ in range(60):
        from_us, to_us = sorted(chance.sample(range(EPOCH_US - 5_000_000, EPOCH_US + 80_000_000, 500_000), 2))
        for within in (TimeRange(from_us, to_us), TimeRange(from_us), TimeRange(None, to_us), TimeRange()):
            wanted = [at for at, at_us in there if within.has(at_us)]
            assert [found.position.offset for found in source.indexed(Frame, within)] == wanted, within


def test_files_of_other_times_are_not_opened(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    for begin in range(0, 50, 10):
        commit(store, [message(at) for at in range(begin, begin + 10)], begin, begin + 10)
    archive = Archive.open(str(tmp_path))
    within = TimeRange(message(20).timestamp_us, message(29).timestamp_us + 1)
    found = list(Source(KAFKA, archive, topics=False).indexed(Frame, within))
    assert [each.position.offset for each in found] == list(range(20, 30))
    assert archive.files_opened == 3  # one of each camera


def test_an_archive_is_complete_behind_its_last_hole(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    for partition, spans in {0: ((0, 5), (5, 9)), 1: ((4, 9),), 2: ((0, 5), (7, 9))}.items():
        for begin, end in spans:
            commit(store, [], begin, end, partition=partition)
    assert archived(tmp_path).complete_from(Frame) == {0: 0, 1: 4, 2: 7}


def test_what_the_archive_does_not_keep_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    commit(ArchiveStore(str(tmp_path)), [message(0)], 0, 1)
    source = archived(tmp_path)
    assert list(source.indexed(Label)) == list(source.records(Label)) == []
    assert caplog.messages == [f"the archive has nothing of {KAFKA.labels}"]


def test_a_letter_whose_mark_may_be_lost_is_not_retried(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    store.make_archive()
    for begin, end in ((0, 2), (5, 6)):
        batch = ArchiveBatch(KAFKA.dead_letters, TOPIC_ID, 0, DeadLetter, begin)
        for offset in range(begin, end):
            place = MessagePosition(KAFKA.dead_letters, 0, offset)
            batch.add(StoredMessage(place, EPOCH_US, b"k", {}, DEAD_LETTER), 0)
        batch.settle(end)
        made = batch.write(store)
        store.write(made.path, made.to_bytes())
    letters = list(read_letters(archived(tmp_path)))
    assert [letter.is_unsure for letter in letters] == [True, True, False]
    images = ImageStore(str(tmp_path / "images"))
    reasons = [retry_blocker(letter, KAFKA, Codec(), images) or "" for letter in letters]
    assert [reason.startswith("may have been retried") for reason in reasons] == [True, True, False]

"""Commits: what is made of those that overlap, and of those that are garbage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.archive import Archive, ArchiveError, ArchiveStore
from replay.archive.commits import Commit, pieces
from replay.archive.index import load_commits
from replay.archive.layout import camera_folder, encoded, parse_commit_name
from replay.archive.rollup import FROM_COMMITS, roll_up
from replay.archive.verify import verify
from schemas import Frame
from tests.support.archives import TOPIC, commit, message

spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12)


def made(begin: int, end: int) -> Commit:
    return Commit(topic=TOPIC, topic_id="x", partition=0, begin=begin, end=end)


@given(spans)
def test_each_offset_that_a_commit_has_is_taken_from_one(given_spans: list[tuple[int, int]]) -> None:
    commits = [made(begin, end) for begin, end in given_spans if begin <= end]
    found = pieces(commits)
    offsets = [offset for piece in found for offset in range(piece.begin, piece.end)]
    assert offsets == sorted({offset for one in commits for offset in range(one.begin, one.end)})
    assert all(piece.commit.begin <= piece.begin < piece.end <= piece.commit.end for piece in found)
    assert found == pieces(reversed(commits))


@given(spans)
def test_overlapping_writers_leave_no_message_twice(given_spans: list[tuple[int, int]]) -> None:
    """Two sinks, killed and started again anywhere: what is read is each offset once, in order."""
    store = ArchiveStore("memory://overlaps")
    for path in store.find(""):
        store.remove(path)
    wanted = set()
    for begin, end in given_spans:
        if begin < end:
            commit(store, [message(offset) for offset in range(begin, end) if offset % 7], begin, end)
            wanted |= {offset for offset in range(begin, end) if offset % 7}
    if not wanted:
        return
    archive = Archive(store)
    read = list(archive.read(Frame, TOPIC, archive.covered(TOPIC)))
    assert read == [message(offset) for offset in sorted(wanted)]
    assert verify(store).damage == [line for line in verify(store).damage if "a commit is missing" in line]


@pytest.mark.parametrize("data", [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 1}', b'{"format": "new"}', b"[" * 100_000,
    made(0, 5).to_bytes()[:-20], made(0, 6).to_bytes(), made(0, 5).to_bytes().replace(b'"end": 5', b'"end": 9'),
    replace(made(0, 5), topic="other.frames").to_bytes(),
])  # fmt: skip
def test_a_damaged_commit_is_one_line_that_names_it(tmp_path: Path, data: bytes) -> None:
    store = ArchiveStore(str(tmp_path))
    commit(store, [message(0)], 0, 1)
    path = made(0, 5).path
    store.write(path, data)
    with pytest.raises(ArchiveError, match=path) as caught:
        Archive(store).covered(TOPIC)
    assert "\n" not in str(caught.value)
    # The rest is still looked at, and nothing is removed that the damaged one may name.
    store.write(f"{TOPIC}/date=2026-01-01/0-{0:020d}-{5:020d}-{'a' * 16}.avro", b"what it named")
    report = verify(store, remove_leftovers=True)
    assert (len(report.damage), report.messages, report.removed) == (1, 1, 0)


def test_a_commit_that_names_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    good = commit(store, [message(0)], 0, 1)
    for path in ("../secret", f"{TOPIC}/../../secret", "/etc/passwd", "other/file.avro"):
        bad = replace(good, files=(replace(good.files[0], path=path),))
        with pytest.raises(ArchiveError, match="outside its topic"):
            Commit.from_bytes(bad.to_bytes(), bad.path)


def test_what_a_later_version_wrote_is_refused(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    commit(store, [message(0)], 0, 1)
    store.write(made(1, 2).path, json.dumps({"format": 2}).encode())
    with pytest.raises(ArchiveError, match="newer streaming-inspection"):
        Archive(store).covered(TOPIC)
    store.write("archive.json", b'{"format": 2, "unheard": "of"}')
    for ask in (Archive, verify):
        with pytest.raises(ArchiveError, match="format 2, this program knows 1"):
            ask(store)
    for garbage in (b"", b"[]", b'{"format": "x"}'):
        store.write("archive.json", garbage)
        with pytest.raises(ArchiveError, match="no description of an archive"):
            Archive(store)


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_name_leaves_its_folder(line: str, camera: str) -> None:
    folder = camera_folder(TOPIC, line, camera, 0)
    parts = folder.split("/")
    assert len(parts) == 4
    assert parts[0] == TOPIC
    assert all(len(part.encode()) <= 200 and part.isascii() and part.isprintable() for part in parts)
    assert not set(folder) & set('*?[]\\:"<>|#')
    if line != camera and len(encoded(line)) < 130:
        assert encoded(line) != encoded(camera)


@pytest.mark.parametrize("path", ["commits/t.f/0/1-2.json", "commits/t.f/x/" + made(0, 1).path[-46:], "a/b", "commits"])
def test_other_files_are_no_commits(path: str) -> None:
    assert parse_commit_name(path) is None


def test_many_small_commits_become_one(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    count = FROM_COMMITS + 3
    for offset in range(count):
        commit(store, [message(offset)], offset, offset + 1)
    before = list(Archive(store).read(Frame, TOPIC, {0: ((0, count),)}))
    listed = Archive(store)
    listed.topics()
    assert roll_up(store, load_commits(store, TOPIC)) == count
    [large] = load_commits(store, TOPIC)
    assert (large.begin, large.end, len(large.files)) == (0, count, count)
    assert list(Archive(store).read(Frame, TOPIC, {0: ((0, count),)})) == before
    report = verify(store)
    assert (report.damage, report.leftovers, report.messages) == ([], {}, count)
    assert roll_up(store, load_commits(store, TOPIC)) == 0


def test_a_roll_up_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    small = [commit(store, [message(offset)], offset, offset + 1) for offset in range(FROM_COMMITS)]
    roll_up(store, load_commits(store, TOPIC))
    for one in small[10:]:  # as if it had been killed while it deleted
        store.write(one.path, one.to_bytes())
    assert len(list(Archive(store).read(Frame, TOPIC, {0: ((0, 1000),)}))) == FROM_COMMITS
    assert verify(store).damage == []
    assert roll_up(store, load_commits(store, TOPIC)) == FROM_COMMITS - 10
    # Of a second writer, whose files the large one does not name: stays.
    commit(store, [message(5, timestamp_us=0)], 5, 6)
    assert roll_up(store, load_commits(store, TOPIC)) == 0
    assert len(load_commits(store, TOPIC)) == 2

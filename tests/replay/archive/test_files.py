"""Data files: everything comes back as it was, any Avro tool reads them, and damage is seen by whoever reads."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import os
import random
import time
import weakref
import zlib
from pathlib import Path

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.archive import Archive, ArchiveError, ArchiveStore, container
from replay.archive.batch import MAX_FILES, ArchiveBatch
from replay.archive.container import envelope_schema
from replay.archive.verify import verify
from schemas import AuditEvent, DeadLetter, Decision, DriftEvent, Frame, Label
from schemas.codec import encode
from schemas.compiled_schemas import RECORDS, schema_of
from schemas.topics import TOPICS
from tests.support import records as examples
from tests.support import strategies
from tests.support.archives import TOPIC, TOPIC_ID, commit, message
from tests.support.past import make_frame
from tests.support.records import plain
from transport.stored_message import MessagePosition, StoredMessage
from transport.topic_ranges import TimeRange

KINDS = {
    Frame: strategies.frames, Decision: strategies.decisions, DeadLetter: strategies.dead_letters,
    Label: strategies.labels, DriftEvent: strategies.drift_events, AuditEvent: strategies.audit_events,
}  # fmt: skip


def test_a_time_that_no_calendar_has_is_no_damage() -> None:
    store = ArchiveStore("memory://far-future")
    store.make_archive()
    batch = ArchiveBatch(TOPIC, TOPIC_ID, 0, Frame, 0)
    for offset, timestamp_us in enumerate((5, 2**62)):
        position = MessagePosition(TOPIC, 0, offset)
        batch.add(StoredMessage(position, timestamp_us, b"k", {}, make_frame(offset)), 10)
    made = batch.write(store)
    store.write(made.path, made.to_bytes())
    assert verify(store).damage == []


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_any_record_comes_back_as_it_was(kind: type, data: st.DataObject) -> None:
    records = data.draw(st.lists(KINDS[kind] | st.binary(max_size=30) | st.none(), min_size=1, max_size=8))
    store = ArchiveStore("memory://records")
    for path in store.find(""):
        store.remove(path)
    store.make_archive()
    batch = ArchiveBatch(TOPIC, TOPIC_ID, 3, kind, 10)
    sent = []
    for offset, record in enumerate(records, 10):
        is_record = isinstance(record, kind)
        key, headers = data.draw(st.none() | st.binary(max_size=9)), {"traceparent": data.draw(st.binary(max_size=9))}
        sent.append(
            StoredMessage(MessagePosition(TOPIC, 3, offset), data.draw(strategies.moments), key, headers,
                   record if is_record else None, None if is_record else record, "" if is_record else "why: not")
        )  # fmt: skip
        batch.add(sent[-1], 0)
    made = batch.write(store)
    store.write(made.path, made.to_bytes())
    read = sorted(Archive(store).read(kind, TOPIC, {3: ((0, 99),)}), key=lambda one: one.position)
    assert read == sent
    assert [encode(one.record) for one in read if one.record] == [encode(one.record) for one in sent if one.record]


@pytest.mark.parametrize("record", examples.ALL, ids=lambda record: type(record).__name__)
def test_plain_fastavro_reads_the_files(tmp_path: Path, record: object) -> None:
    store = ArchiveStore(str(tmp_path))
    batch = ArchiveBatch("a.b", TOPIC_ID, 0, type(record), 5)
    batch.add(StoredMessage(MessagePosition("a.b", 0, 5), 1_760_000_000_000_000, b"k", {"h": b"v"}, record), 0)
    [file] = batch.write(store).files
    with (tmp_path / file.path).open("rb") as raw:
        reader = fastavro.reader(raw)
        assert reader.codec == ("null" if isinstance(record, Frame) else "deflate")
        [found] = reader
    assert found["timestamp_us"].isoformat() == "2025-10-09T08:53:20+00:00"
    assert plain(found["record"]) == plain(dataclasses.asdict(record))
    assert (found["topic"], found["partition"], found["offset"], found["key"]) == ("a.b", 0, 5, b"k")
    assert (found["headers"], found["value"], found["problem"]) == ({"h": b"v"}, None, "")


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_schemas_are_valid_and_their_times_are_seen(kind: type) -> None:
    schema = envelope_schema(kind)
    fastavro.parse_schema(schema)

    def deep(node: object, name: str = "") -> list[str]:
        if isinstance(node, list):
            return [found for item in node for found in deep(item, name)]
        if not isinstance(node, dict):
            return []
        if node.get("type") == "record":
            return [found for field in node["fields"] for found in deep(field["type"], field["name"])]
        return [name] if "logicalType" in node else deep(node.get("type"), name)

    [record] = [field["type"][1] for field in schema["fields"] if field["name"] == "record"]
    assert sorted(deep(record)) == sorted(n for f in record["fields"] for n in deep(f["type"], f["name"]))


def test_a_time_that_no_calendar_has_spoils_no_file_for_others(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    odd = message(1, make_frame(1, captured_at_us=2**62))
    made = commit(store, [message(0), odd, message(2)], 0, 3)
    for file in made.files:
        with (tmp_path / file.path).open("rb") as raw:
            list(fastavro.reader(raw))
    assert list(Archive(store).read(Frame, TOPIC, {0: ((0, 3),)})) == [message(0), odd, message(2)]


def test_the_same_messages_make_the_same_file(tmp_path: Path) -> None:
    one, other = ArchiveStore(str(tmp_path / "a")), ArchiveStore(str(tmp_path / "b"))
    sent = [message(offset) for offset in range(300)]
    made = commit(one, sent, 0, 300)
    assert dataclasses.replace(commit(other, sent, 0, 300), committed_at_us=made.committed_at_us) == made
    assert all(one.read(f.path, 0, f.size_bytes) == other.read(f.path, 0, f.size_bytes) for f in made.files)


def test_a_camera_that_is_another_with_each_frame_makes_no_thousand_files(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    sent = [message(number, make_frame(number, f"s/{number}\n..*")) for number in range(3 * MAX_FILES)]
    made = commit(store, sent, 0, len(sent))
    assert len(made.files) == MAX_FILES + 1
    archive = Archive(store)
    assert list(archive.read(Frame, TOPIC, {0: ((0, len(sent)),)})) == sent
    assert sent[-1] in list(archive.read(Frame, TOPIC, {0: ((0, len(sent)),)}, cameras=[sent[-1].record.key]))
    assert verify(store).damage == []


def test_only_the_files_that_are_needed_are_opened(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    for begin in range(0, 90, 30):
        lot = f"L{begin}"
        sent = [message(n, make_frame(n, f"press/c{n % 3}", lot=lot)) for n in range(begin, begin + 30)]
        commit(store, sent, begin, begin + 30)

    def opened(**kwargs: object) -> tuple[int, int]:
        archive = Archive(store)
        ranges = kwargs.pop("ranges", {0: ((0, 90),)})
        return len(list(archive.read(Frame, TOPIC, ranges, **kwargs))), archive.files_opened

    assert opened() == (90, 9)
    assert opened(ranges={0: ((31, 32),)}) == (1, 2)  # the third begins at 32
    assert opened(ranges={0: ((29, 31),)}) == (2, 2)
    assert opened(ranges={0: ((90, 99),), 1: ((0, 9),)}) == (0, 0)
    assert opened(cameras=["press/c1"]) == (30, 3)
    assert opened(cameras=["press/c1"], lots=["L30", "none"]) == (10, 1)
    assert opened(cameras=["press/other"]) == (0, 0)
    archive = Archive(store)
    t0 = message(0).timestamp_us
    within = TimeRange(t0 + 300_000_000, t0 + 500_000_000)
    assert archive.candidates(TOPIC, within) == {0: ((30, 60),)}
    assert archive.candidates(TOPIC) == archive.covered(TOPIC) == {0: ((0, 90),)}
    assert archive.candidates(TOPIC, TimeRange(None, t0)) == archive.candidates("other.topic") == {}
    assert archive.files_opened == 0


def test_one_message_of_a_large_file_costs_one_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArchiveStore(str(tmp_path))
    sent = [message(n, make_frame(n, image=os.urandom(100_000))) for n in range(200)]
    commit(store, sent, 0, 200)
    read: list[int] = []
    real = ArchiveStore.read

    def counted(self: ArchiveStore, path: str, start: int, size_bytes: int) -> bytes:
        data = real(self, path, start, size_bytes)
        read.append(len(data))
        return data

    monkeypatch.setattr(ArchiveStore, "read", counted)
    archive = Archive(store)
    assert list(archive.read(Frame, TOPIC, {0: ((150, 151), (152, 153))})) == [sent[150], sent[152]]
    assert sum(read) < 2_500_000
    assert list(archive.read(Frame, TOPIC, {0: ((0, 200),)})) == sent
    assert max(read) < 2_300_000


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    commit(store, [message(n) for n in range(250) if n % 2], 0, 260)
    seen: list[tuple[int, int]] = []
    archive = Archive(store)
    list(archive.read(Frame, TOPIC, {0: ((0, 40), (50, 260))}, on_progress=lambda *at: seen.append(at)))
    assert seen == sorted(seen)
    assert seen[-1] == (250, 250)
    assert len(seen) > 2


def damaged_file(tmp_path: Path) -> tuple[ArchiveStore, Path, list[StoredMessage[Frame]]]:
    store = ArchiveStore(str(tmp_path))
    sent = [message(n, make_frame(n, image=os.urandom(30_000))) for n in range(150)]
    made = commit(store, sent, 0, 150)
    return store, tmp_path / made.files[0].path, sent


def must_be_seen(store: ArchiveStore, path: Path) -> None:
    """By who reads everything, and by verify; one line each that names the file."""
    with pytest.raises(ArchiveError, match=path.name) as caught:
        list(Archive(store).read(Frame, TOPIC, {0: ((0, 150),)}))
    assert "\n" not in str(caught.value)
    [line] = verify(store).damage
    assert path.name in line


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.4, 0.999999])
def test_half_a_file_is_seen(tmp_path: Path, share: float) -> None:
    store, path, _ = damaged_file(tmp_path)
    os.truncate(path, int(path.stat().st_size * share))
    must_be_seen(store, path)
    assert path.name in verify(store, quick=True).damage[0]


def test_a_file_that_is_gone_is_seen(tmp_path: Path) -> None:
    store, path, _ = damaged_file(tmp_path)
    path.unlink()
    must_be_seen(store, path)
    assert path.name in verify(store, quick=True).damage[0]


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_is_seen_wherever_it_is(tmp_path: Path, seed: int) -> None:
    store, path, sent = damaged_file(tmp_path)
    data = bytearray(path.read_bytes())
    # In the header, at the end, and anywhere: most of it is image, which no container format checks.
    at = [5, 1500, len(data) - 1, *(random.Random(seed).randrange(len(data)) for _ in range(9))][seed]
    data[at] ^= 1 << seed % 8
    path.write_bytes(data)
    must_be_seen(store, path)
    if at < 2_000_000 and at > 3000:  # what lies in another segment can be read all the same
        assert list(Archive(store).read(Frame, TOPIC, {0: ((149, 150),)})) == sent[149:]


def test_a_file_that_goes_on_or_is_another_one_is_seen_by_verify(tmp_path: Path) -> None:
    store, path, _ = damaged_file(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data + b"x")
    assert "more than its" in verify(store).damage[0]
    assert "bytes" in verify(store, quick=True).damage[0]


def test_records_that_a_commit_does_not_name_are_seen(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    made = commit(store, [message(n) for n in range(6)], 0, 6)
    for change in ({"records": 5}, {"last_offset": 7}, {"from_us": 0}, {"sha256": "0" * 64}):
        wrong = dataclasses.replace(made, files=(dataclasses.replace(made.files[0], **change), *made.files[1:]))
        store.write(wrong.path, wrong.to_bytes())
        assert len(verify(store).damage) == 1, change
    twice = dataclasses.replace(made, files=(*made.files, made.files[0]))
    store.write(twice.path, twice.to_bytes())
    assert "twice" in verify(store).damage[0]


def test_holes_and_leftovers(tmp_path: Path) -> None:
    store = ArchiveStore(str(tmp_path))
    commit(store, [message(0)], 0, 1)
    lost = commit(store, [message(1)], 1, 2)
    commit(store, [message(2)], 2, 3)
    commit(store, [message(9)], 9, 10, deleted_from=3)
    store.remove(lost.path)
    (tmp_path / TOPIC / ".part-abc").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("of a person's")
    report = verify(store)
    assert report.damage == [
        f"{TOPIC}-0: offsets 1 to 1: a commit is missing; `inspection archive` archives again what the topic still has"
    ]
    assert report.gaps == [f"{TOPIC}-0: offsets 3 to 8 were deleted before they were archived"]
    assert set(report.leftovers) == {lost.files[0].path, f"{TOPIC}/.part-abc"}
    assert verify(store, remove_leftovers=True).removed == 0  # a sink may just be writing them
    for path in report.leftovers:
        os.utime(tmp_path / path, (time.time() - 7200,) * 2)
    removal = verify(store, remove_leftovers=True)
    assert (removal.removed, removal.kept) == (1, [lost.files[0].path])  # the topic may not have its message any more
    assert set(verify(store).leftovers) == {lost.files[0].path}
    assert (tmp_path / "notes.txt").exists()
    assert len(list(Archive(store).read(Frame, TOPIC, {0: ((0, 10),)}))) == 3


def test_a_batch_is_gone_when_nobody_needs_it(tmp_path: Path) -> None:
    """Without waiting for the collector: the sink's memory is what waits for a commit, and no old commits."""
    batch = ArchiveBatch(TOPIC, TOPIC_ID, 0, Frame, 0)
    batch.add(message(0), 20_000)
    batch.write(ArchiveStore(str(tmp_path)))
    gc.disable()
    try:
        gone = weakref.ref(batch)
        del batch
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("change", ["a field more", "a field less"])
def test_what_another_version_wrote_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    schema = schema_of(Frame)
    if change == "a field more":
        schema["fields"].append({"name": "colour", "type": "string", "default": "red"})
    else:
        schema["fields"] = [field for field in schema["fields"] if field["name"] != "attributes"]
    store = ArchiveStore(str(tmp_path))
    with monkeypatch.context() as other:
        other.setattr(container, "schema_of", lambda _: schema)
        other.setattr(container, "_shapes", {})
        commit(store, [message(0), message(1)], 0, 2)
    with (tmp_path / next(iter(store.find(TOPIC)))).open("rb") as raw:
        assert ("colour" in str(fastavro.reader(raw).writer_schema)) is (change == "a field more")
    assert list(Archive(store).read(Frame, TOPIC, {0: ((0, 2),)})) == [message(0), message(1)]
    assert verify(store).damage == []


def test_an_archive_of_the_first_version_is_read() -> None:
    """Written once, by format 1, and never again: archives outlive programs. See ``golden/`` beside this file."""
    store = ArchiveStore(str(Path(__file__).parent / "golden"))
    for record in examples.ALL:
        if isinstance(record, AuditEvent):  # no archive has the audit log
            continue
        topic = next(row.name("golden") for row in TOPICS if row.record is type(record))
        garbage = StoredMessage(
            MessagePosition(topic, 0, 8), 1_760_000_001_000_000, None, {}, None, b"\x00\x01", "truncated: early"
        )
        first = StoredMessage(MessagePosition(topic, 0, 7), 1_760_000_000_000_000, b"press/top", {"h": b"v"}, record)
        assert list(Archive(store).read(type(record), topic, {0: ((0, 99),)})) == [first, garbage]
    assert verify(store).damage == []


def test_a_block_without_records_is_damage(tmp_path: Path) -> None:
    """The commit fits the file byte for byte, and the file has a block of 0 records."""
    store = ArchiveStore(str(tmp_path))
    made = commit(store, [message(0)], 0, 1)
    [file] = made.files
    path = tmp_path / file.path
    header = path.read_bytes()[: file.segments[0].position]
    block = b"\x00\x00" + header[-16:]
    path.write_bytes(header + block)
    changed = dataclasses.replace(
        file, size_bytes=len(header + block), sha256=hashlib.sha256(header + block).hexdigest(),
        segments=(file.segments[0]._replace(crc32=zlib.crc32(block)),),
    )  # fmt: skip
    (tmp_path / made.path).write_bytes(dataclasses.replace(made, files=(changed,)).to_bytes())
    [line] = verify(store).damage
    assert "it has no records" in line

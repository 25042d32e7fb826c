"""Data files with sound checksums that no reader expects: each is one `ArchiveError`, within a bound of memory."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import lzma
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import fastavro
import pytest

from replay import avro_file
from replay.archive import Archive, ArchiveError, ArchiveStore
from replay.archive.commits import Commit, _check
from replay.archive.container import envelope_schema
from replay.archive.verify import verify
from schemas import Frame
from tests.support.archives import TOPIC, commit, message

SYNC = b"S" * 16


def avro(schema: object, value: object) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, value)
    return buffer.getvalue()


def hostile(tmp_path: Path, schema: object, codec: str, block: bytes, count: int = 1) -> tuple[ArchiveStore, Commit]:
    """Return an archive with a sound commit and a commit with another data file and its checksums."""
    store = ArchiveStore(str(tmp_path))
    made = commit(store, [message(0)], 0, 1)
    commit(store, [message(1)], 1, 2)
    text = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    meta = {"avro.codec": codec.encode(), "avro.schema": text}
    head = b"Obj\x01" + avro({"type": "map", "values": "bytes"}, meta) + SYNC
    body = avro("long", count) + avro("long", len(block)) + block + SYNC
    values = json.loads(made.to_bytes())
    values.pop("check")
    [file] = values["files"]
    file |= {
        "size_bytes": len(head + body), "sha256": hashlib.sha256(head + body).hexdigest(),
        "header_crc32": zlib.crc32(head), "segments": [[0, len(head), zlib.crc32(body)]],
    }  # fmt: skip
    (tmp_path / file["path"]).write_bytes(head + body)
    (tmp_path / made.path).write_text(json.dumps({**values, "check": _check(values)}))
    return store, made


def deflated(data: bytes) -> bytes:
    pack = zlib.compressobj(9, wbits=-15)
    return pack.compress(data) + pack.flush()


def nested(levels: int) -> bytes:
    return b'{"type":"array","items":' * levels + b'"int"' + b"}" * levels


SOUND = envelope_schema(Frame)
ZEROS = bytes(avro_file.MAX_BLOCK_BYTES + 1)


def with_field(kind: Any) -> Any:
    return {**SOUND, "fields": [{"name": "evil", "type": kind}, *SOUND["fields"]]}


#: A record that contains itself, as deep as there are bytes.
ITSELF = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
DOUBLED: Any = "null"
for number in range(40):
    named = {"type": "record", "name": f"D{number}", "fields": [{"name": "a", "type": DOUBLED}]}
    named["fields"].append({"name": "b", "type": f"D{number - 1}" if number else "null"})
    DOUBLED = named
CASES: dict[str, tuple[Any, str, bytes, str]] = {
    "bzip2": (SOUND, "bzip2", bz2.compress(bytes(1000)), "codec 'bzip2' is not read"),
    "xz": (SOUND, "xz", lzma.compress(bytes(1000)), "codec 'xz' is not read"),
    "deflate bomb": (SOUND, "deflate", deflated(ZEROS), "unpacks to more than 67108864 bytes"),
    **{f"garbage {name}": (SOUND, name, b"garbage", "is not ") for name in ("xz", "bzip2", "snappy", "lz4", "deflate")},
    "half of deflate": (SOUND, "deflate", deflated(bytes(range(200)))[:-9], "does not end where it says"),
    "codec of nonsense": (SOUND, "\x1b[31m\n", b"", "codec "),
    "garbage null": (SOUND, "null", bytes(200), ""),
    "schema unknown": ({"type": "nonsense"}, "null", bytes(200), "unknown type 'nonsense'"),
    "schema deep": (nested(900), "null", bytes(200), "nested too deep"),
    "schema very deep": (nested(6_000), "null", bytes(200), "its schema is not read"),
    "schema large": (b'"' + b"x" * 300_000 + b'"', "null", bytes(200), "the most is 262144"),
    "schema no json": (b"{", "null", bytes(200), "its schema is not read"),
    "schema none": (b"", "null", bytes(200), "its schema is not read"),
    "schema a number": (b"7", "null", bytes(200), "its schema is not read"),
    "schema in itself": (with_field(ITSELF), "null", b"\x02" * 60_000, "contains itself"),
    "schema doubled": (with_field(DOUBLED), "null", bytes(200), "nested too deep"),
    "list of nothing": (with_field({"type": "array", "items": "null"}), "null", bytes(200), "takes no bytes"),
    "field of nothing": (with_field("null"), "null", bytes(200), "a field of what takes no bytes"),
    "fixed of nothing": (with_field({"type": "fixed", "name": "F", "size": 0}), "null", bytes(200), "takes no bytes"),
    "record of nothing": (with_field({"type": "record", "name": "R", "fields": []}), "null", bytes(200), "no bytes"),
    "fixed of gigabytes": (with_field({"type": "fixed", "name": "F", "size": 2**40}), "null", bytes(200), "bytes"),
    "another type": (
        {**SOUND, "fields": [{"name": "topic", "type": {"type": "map", "values": "int"}}, *SOUND["fields"][1:]]},
        "null", bytes(200), "SchemaResolutionError",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "codec", "block", "said"), CASES.values(), ids=CASES.keys())
def test_one_line_and_the_others_go_on(tmp_path: Path, schema: Any, codec: str, block: bytes, said: str) -> None:
    store, made = hostile(tmp_path, schema, codec, block)
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match="is damaged") as caught:
            list(Archive(store).read(Frame, TOPIC, {0: ((0, 2),)}))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made.files[0].path in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak < 4 * avro_file.MAX_BLOCK_BYTES
    report = verify(store)
    assert len(report.damage) == 1
    assert made.files[0].path in report.damage[0]
    assert report.files == 2
    assert list(Archive(store).read(Frame, TOPIC, {0: ((1, 2),)})) == [message(1)]


@pytest.mark.parametrize("count", [-1, 2**40])
def test_a_number_of_records_that_cannot_be(tmp_path: Path, count: int) -> None:
    store, _ = hostile(tmp_path, SOUND, "null", bytes(200), count)
    with pytest.raises(ArchiveError, match="is damaged"):
        list(Archive(store).read(Frame, TOPIC, {0: ((0, 2),)}))


def test_doubling_without_depth_is_counted() -> None:
    kinds: list[Any] = [{"type": "record", "name": "D0", "fields": [{"name": "a", "type": "int"}]}]
    kinds += [
        {"type": "record", "name": f"D{n}", "fields": [{"name": f, "type": f"D{n - 1}"} for f in "ab"]}
        for n in range(1, 40)
    ]
    fields = [{"name": f"f{n}", "type": kind} for n, kind in enumerate(kinds)]
    schema = {"type": "record", "name": "All", "fields": fields}
    header = avro_file.FileHeader({"avro.schema": json.dumps(schema).encode()}, SYNC, 0)
    with pytest.raises(ValueError, match="over 5000 types"):
        avro_file.written_schema(header)


def test_a_header_of_many_entries_costs_nothing() -> None:
    few = {f"key {n}": b"value" for n in range(50)}
    kind = {"type": "map", "values": "bytes"}
    header = avro_file.read_file_header(b"Obj\x01" + avro(kind, few) + SYNC + b"rest")
    assert (header.metadata, header.sync) == (few, SYNC)
    many = avro(kind, {f"key {n}": b"" for n in range(101)})
    with pytest.raises(ValueError, match="over 100 entries"):
        avro_file.read_file_header(b"Obj\x01" + many + SYNC)
    sized = avro("long", -1) + avro("long", 4) + avro("string", "a") + avro("bytes", b"b") + b"\x00"
    assert avro_file.read_file_header(b"Obj\x01" + sized + SYNC).metadata == {"a": b"b"}
    for end in range(4, len(sized) + 4 + len(SYNC)):
        with pytest.raises(ValueError, match="ends early"):
            avro_file.read_file_header((b"Obj\x01" + sized + SYNC)[:end])

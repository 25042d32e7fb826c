"""A run on disk: what goes in comes out, and what is no run is said in one line."""

from __future__ import annotations

import io
import json
import tracemalloc
import zlib
from pathlib import Path

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay import avro_file
from replay.past.selection import Selection
from replay.reinspect.rows import long, row_bytes
from replay.reinspect.run_folder import Plan, RunError, RunFolder, RunProgress
from replay.reinspect.summary import Summary
from schemas.codec import encode
from schemas.errors import SettingsError
from schemas.records import Defect
from tests.support.gate_records import make_decision
from transport.stored_message import MessagePosition

PLAN = Plan(
    Selection(lots=("L",)), Selection(lots=("L",), from_us=1), "t", {0: ((0, 9), (20, 30)), 3: ((1, 2),)},
    ({"name": "champion", "path": "p", "threshold": None}, {"name": "b", "path": "q", "threshold": 0.4}),
    {"python": "3"},
)  # fmt: skip
DECISION = make_decision(defects=(Defect("x", 0.5, (1.0, 2.0, 3.0, 4.0)),), signals={"a": -0.0})


def filled(path: Path, parts: int = 2) -> RunFolder:
    folder = RunFolder.create(path, PLAN)
    summary = Summary(("champion", "b"))
    for part in range(parts):
        summary.selected += 3
        rows = [
            row_bytes(MessagePosition("t", part, offset), -5, DECISION if offset else None, [encode(DECISION)] * 2)
            for offset in range(3)
        ]
        folder.add(rows, RunProgress({0: 3 * part + 3, 3: 2}, summary))
    return folder


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    assert folder.plan == PLAN
    assert (folder.variants, folder.selection, folder.is_finished) == (("champion", "b"), PLAN.selection, False)
    frames = list(folder.frames())
    assert [(f.position.partition, f.position.offset, f.timestamp_us) for f in frames] == [
        (part, offset, -5) for part in range(2) for offset in range(3)
    ]
    assert [frame.recorded for frame in frames] == [None, DECISION, DECISION] * 2
    assert all(frame.replayed == (DECISION,) * 2 for frame in frames)
    assert (folder.progress().after, folder.progress().summary.selected) == ({0: 6, 3: 2}, 6)
    # Any Avro reader takes a part.
    with (tmp_path / "run" / "rows-000000.avro").open("rb") as file:
        assert [row["offset"] for row in fastavro.reader(file)] == [0, 1, 2]
    folder.finish(folder.progress().summary)
    assert RunFolder.open(tmp_path / "run").is_finished


@given(st.integers(-(2**63), 2**63 - 1))
def test_longs_are_avros(value: int) -> None:
    import io

    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, {"type": "long"}, value)
    assert long(value) == buffer.getvalue()


def test_no_run_damaged_or_of_the_future(tmp_path: Path) -> None:
    for make, said in (
        (lambda path: None, "is no run"),
        (lambda path: path.mkdir(), "is no run"),
        (lambda path: path.write_text("x"), "Not a directory"),
        (lambda path: _run_json(path, b""), "is damaged"),
        (lambda path: _run_json(path, b"[]"), "is damaged"),
        (lambda path: _run_json(path, b"\xff"), "is damaged"),
        (lambda path: _run_json(path, b'{"format": 1}'), "is damaged: KeyError"),
        (lambda path: _run_json(path, b'{"format": "x"}'), "is damaged"),
        (lambda path: _run_json(path, b'{"format": 2}'), "of format 2; this program knows 1: use a newer one"),
    ):
        path = tmp_path / str(len(list(tmp_path.iterdir()))) / "run"
        path.parent.mkdir()
        make(path)
        with pytest.raises(RunError, match=said) as caught:
            RunFolder.open(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ranges", "offsets"])
def test_an_endless_number_is_damage(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run"
    filled(path, 1)
    values = json.loads((path / "run.json").read_bytes())
    if name == "ranges":
        values["ranges"] = {"0": [[float("inf"), 2]]}
    else:
        values["selection"]["offsets"] = {"0": [float("inf"), 2]}
    (path / "run.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match="is damaged"):
        RunFolder.open(path)


def _run_json(path: Path, data: bytes) -> None:
    path.mkdir()
    (path / "run.json").write_bytes(data)


def test_every_flipped_byte_of_rows_is_found(tmp_path: Path) -> None:
    path = tmp_path / "run"
    filled(path, 1)
    part = path / "rows-000000.avro"
    data = part.read_bytes()
    rows = data.index(b"\x02t\x00")  # the first row begins with its topic
    for at in [*range(rows, len(data), 97), len(data) - 1]:
        part.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        with pytest.raises(RunError, match=r"rows-000000.avro is damaged: "):
            list(RunFolder.open(path).frames())
    for cut in (0, 3, 100, rows, len(data) - 20):
        part.write_bytes(data[:cut])
        with pytest.raises(RunError, match="is damaged"):
            list(RunFolder.open(path).frames())


def test_a_part_that_is_missing_is_found(tmp_path: Path) -> None:
    filled(tmp_path / "run", 3)
    (tmp_path / "run" / "rows-000001.avro").unlink()
    with pytest.raises(RunError, match=r"rows-000001.avro is missing"):
        RunFolder.open(tmp_path / "run")


@pytest.mark.parametrize("left", [2, 0])
def test_last_parts_of_a_finished_run_that_are_missing_are_found(tmp_path: Path, left: int) -> None:
    folder = filled(tmp_path / "run", 3)
    folder.finish(folder.progress().summary)
    for number in range(left, 3):
        (folder.path / f"rows-{number:06}.avro").unlink()
    with pytest.raises(RunError, match=rf"finished with 9 frames, and its rows end after {3 * left}: put the missing"):
        RunFolder.open(folder.path)
    # The remedy of the message: the run goes on where its rows end.
    (folder.path / "finished.json").unlink()
    assert RunFolder.open(folder.path).progress().summary.selected == 3 * left


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"selected": "all"}'])
def test_a_mark_of_the_end_that_cannot_be_read_is_damage(tmp_path: Path, content: str) -> None:
    folder = filled(tmp_path / "run", 1)
    (folder.path / "finished.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"finished.json is damaged"):
        RunFolder.open(folder.path)


def test_a_run_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    run = filled(tmp_path / "run", 1)
    with run.lock():
        pass
    run.discard()
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    filled(tmp_path / "link", 1).discard()
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["disk", "link"]


def test_a_progress_that_is_none(tmp_path: Path) -> None:
    folder = filled(tmp_path / "run", 1)
    values = json.loads((tmp_path / "run" / "run.json").read_bytes())
    values["variants"] = values["variants"][:1]
    (tmp_path / "run" / "run.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(RunError, match="other variants than the run's"):
        RunFolder.open(folder.path).progress()


def test_a_folder_in_use_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x", encoding="utf-8")
    with pytest.raises(SettingsError, match="is not empty"):
        RunFolder.create(tmp_path, PLAN)
    folder = RunFolder.create(tmp_path / "run", PLAN)
    with folder.lock(), pytest.raises(RunError, match="another process"), RunFolder.open(folder.path).lock():
        pass
    with folder.lock():
        pass


def test_many_blocks_are_not_unpacked_at_once(tmp_path: Path) -> None:
    path = filled(tmp_path / "run", 1).path / "rows-000000.avro"
    header = avro_file.read_file_header(path.read_bytes())
    pack = zlib.compressobj(9, wbits=-15)
    packed = pack.compress(bytes(30_000_000)) + pack.flush()
    data = io.BytesIO()
    metadata = {**header.metadata, "avro.codec": b"deflate"}
    data.write(b"Obj\x01")
    fastavro.schemaless_writer(data, {"type": "map", "values": "bytes"}, metadata)
    data.write(header.sync + (long(1) + long(len(packed)) + packed + header.sync) * 20)
    path.write_bytes(data.getvalue())
    tracemalloc.start()
    try:
        with pytest.raises(RunError, match="is damaged: its rows unpack to more than 67108864 bytes"):
            list(RunFolder.open(tmp_path / "run").frames())
        assert tracemalloc.get_traced_memory()[1] < 150_000_000
    finally:
        tracemalloc.stop()

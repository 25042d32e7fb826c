"""Tables as Arrow, Parquet and CSV, and rows that are read when they are asked for."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from monitoring.quality.label_index import LabelIndex
from replay.analysis.table import Table, build_table
from replay.export import Rows, to_arrow, to_pandas, write_rows
from replay.past.replayed_frame import ReplayedFrame
from schemas import Action, Decision, Verdict
from schemas.errors import SettingsError
from schemas.text import shown
from tests.support.quality_records import make_decision, make_label
from transport.csv_guard import guarded
from transport.stored_message import MessagePosition


def replayed(decision: Decision, *others: Decision) -> ReplayedFrame:
    place = MessagePosition("frames", decision.source_partition, decision.source_offset)
    return ReplayedFrame(position=place, timestamp_us=decision.captured_at_us + 5, recorded=decision, replayed=others)


def example() -> Table:
    first = make_decision(1, signals={"brightness": 80.5}, attributes={"nest": "4"}, deadline_at_us=9, is_late=True)
    second = make_decision(2, Action.REJECT, score=None, part_id=None, deadline_at_us=10**15)
    frames = [replayed(one, replace(one, score=0.75)) for one in (first, second, make_decision(3))]
    truths = LabelIndex([make_label(1, Verdict.NOT_OK, defect="crack"), make_label(2)])
    return build_table(frames, truths, variants=["new"])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_attributes_and_signals_may_be_named_as_times(tmp_path: Path, suffix: str):
    names = {"attributes": {"triggered_at_us": "yesterday"}, "signals": {"settled_at_us": 1.5}}
    table = build_table(map(replayed, (make_decision(1, **names), make_decision(2))))
    write_rows(tmp_path / f"rows{suffix}", table)
    found = to_arrow(table)
    assert found.column("attribute.triggered_at_us").to_pylist() == ["yesterday", None]
    assert found.column("signal.settled_at_us").to_pylist() == [1.5, None]
    batches = Rows(lambda: map(replayed, (make_decision(1, **names), make_decision(2)))).batches(1)
    assert sum(batch.num_rows for batch in batches) == 2
    if suffix == ".csv":
        with (tmp_path / "rows.csv").open(newline="") as file:
            assert [row["attribute.triggered_at_us"] for row in csv.DictReader(file)] == ["yesterday", ""]


def test_arrow_has_types():
    found = to_arrow(example())
    types = {name: str(found.schema.field(name).type) for name in found.column_names}
    text = "dictionary<values=string, indices=int32, ordered=0>"
    assert types["captured_at_us"] == types["timestamp_us"] == "timestamp[us, tz=UTC]"
    assert types["is_defective"] == types["recorded.is_late"] == "bool"
    assert types["camera"] == types["new.verdict"] == types["attribute.nest"] == text
    assert types["frame_id"] == types["recorded.reason"] == "string"
    assert types["signal.brightness"] == types["new.score"] == "double"
    assert types["offset"] == "int64"
    assert "truth" not in types
    assert json.loads(found.schema.metadata[b"deciders"]) == ["recorded", "new"]
    assert found.column("is_defective").to_pylist() == [True, False, None]
    assert found.column("recorded.is_late").to_pylist() == [True, False, None]
    assert found.column("recorded.score").to_pylist() == [0.2, None, 0.2]
    assert found.column("signal.brightness").to_pylist() == [80.5, None, None]
    assert found.column("part_id").to_pylist() == ["P1", None, "P3"]
    assert found.column("captured_at_us").cast(pa.int64()).to_pylist() == [1_000_000, 2_000_000, 3_000_000]


def test_pandas_has_the_same():
    frame = to_pandas(example())
    assert str(frame["captured_at_us"].dt.tz) == "UTC"
    assert frame["new.score"].tolist() == [0.75, 0.75, 0.75]
    assert frame["is_defective"].tolist() == [True, False, None]


def test_parquet_is_what_arrow_is(tmp_path: Path):
    table = example()
    write_rows(tmp_path / "rows.parquet", table)
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == to_arrow(table).to_pylist()
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_csv_says_the_same(tmp_path: Path):
    table = example()
    write_rows(tmp_path / "rows.csv", table)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == to_arrow(table).column_names
    assert [row["is_defective"] for row in rows] == ["true", "false", ""]
    assert [row["recorded.score"] for row in rows] == ["0.2", "", "0.2"]
    assert rows[0]["captured_at_us"] == "1970-01-01T00:00:01.000000+00:00"
    assert (rows[1]["part_id"], rows[1]["offset"]) == ("", "2")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "\uff1d1"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path, text: str):
    hostile = make_decision(1, lot=text, attributes={text: text}, signals={"brightness": -0.5})
    write_rows(tmp_path / "rows.csv", build_table([replayed(hostile)]))
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        header, row = list(csv.reader(file))
    cell = row[header.index("lot")]
    assert cell == guarded(shown(text, None)) != text
    assert cell[0] in "'\\", "a text, and nothing that a spreadsheet runs"
    assert row[header.index(guarded(shown(f"attribute.{text}", None)))] == cell
    assert row[header.index("signal.brightness")] == "-0.5"  # a number is one


@pytest.mark.parametrize("name", ["rows", "rows.xlsx", "rows.json", "rows.CSV"])
def test_another_suffix_is_refused(tmp_path: Path, name: str):
    for write in (lambda path: write_rows(path, example()), Rows(lambda: iter([])).write):
        with pytest.raises(SettingsError, match=r"ends with \.parquet or \.csv"):
            write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "rows.parquet"
    write_rows(target, example())
    before = target.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet.ParquetWriter, "write_table", full)
    with pytest.raises(SettingsError, match="No space left on device"):
        write_rows(target, example())
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
    with pytest.raises(SettingsError, match="No such file or directory"):
        write_rows(tmp_path / "nowhere" / "rows.csv", example())


def test_csv_needs_no_pyarrow(tmp_path: Path, repository: Path):
    program = (
        "import sys; sys.modules['pyarrow'] = sys.modules['pandas'] = None\n"
        "from pathlib import Path\n"
        "from replay.export import Rows, write_rows\n"
        "from replay.analysis.table import build_table\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "Rows(lambda: iter([])).write(folder / 'a.csv')\n"
        "from schemas.errors import SettingsError\n"
        "for call in (lambda: write_rows(folder / 'a.parquet', build_table([])), Rows(lambda: iter([])).to_pandas,\n"
        "             lambda: Rows(lambda: iter([])).write(folder / 'a.parquet')):\n"
        "    try: call()\n"
        "    except SettingsError as error: assert 'streaming-inspection[analysis]' in str(error), error\n"
        "    else: raise SystemExit('it did not say what is missing')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=repository)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def many(count: int) -> Iterator[ReplayedFrame]:
    for number in range(count):
        changes = {"signals": {"late_one": 1.5}, "attributes": {"nest": "2"}} if number == count - 1 else {}
        yield replayed(make_decision(number, signals={"brightness": float(number)}, **changes) if not changes
                       else make_decision(number, **changes))  # fmt: skip


def test_batches_have_one_schema_and_every_row():
    rows = Rows(lambda: many(25), lambda: LabelIndex([make_label(24, Verdict.NOT_OK)]))
    batches = list(rows.batches(rows=10))
    assert [batch.num_rows for batch in batches] == [10, 10, 5]
    assert len({str(batch.schema) for batch in batches}) == 1
    together = pa.Table.from_batches(batches)
    assert together.column_names[-3:] == ["signal.brightness", "signal.late_one", "attribute.nest"]
    assert together.column("signal.late_one").to_pylist() == [None] * 24 + [1.5]
    assert together.column("attribute.nest").to_pylist() == [None] * 24 + ["2"]
    assert together.column("is_defective").to_pylist() == [None] * 24 + [True]
    whole = rows.to_arrow()
    assert together.select(whole.column_names).to_pylist() == whole.to_pylist()


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path):
    reads = []

    def read() -> Iterator[ReplayedFrame]:
        reads.append(1)
        return many(3)

    rows = Rows(read)
    batches = rows.batches()
    assert reads == []
    assert next(batches).num_rows == 3
    assert len(rows.to_pandas()) == 3
    assert rows.write(tmp_path / "rows.csv") == rows.write(tmp_path / "rows.parquet", rows=2) == 3
    assert reads == [1] * 4
    assert parquet.read_table(tmp_path / "rows.parquet").column("offset").to_pylist() == [0, 1, 2]


def test_an_empty_stretch_has_columns(tmp_path: Path):
    rows = Rows(lambda: iter([]))
    (batch,) = rows.batches()
    assert batch.num_rows == 0
    assert rows.write(tmp_path / "rows.parquet") == 0
    assert "recorded.score" in parquet.read_table(tmp_path / "rows.parquet").column_names


def test_batches_stay_small():
    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            assert sum(batch.num_rows for batch in Rows(lambda: many(count)).batches(rows=100)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(200)
    assert peak(4_000) < 1.5 * peak(800)


def test_no_number_becomes_null():
    table = example()
    assert math.isnan(table["recorded.score"][1])
    assert np.isnan(table["signal.brightness"]).tolist() == [False, True, True]
    assert to_arrow(table).column("recorded.score").null_count == 1

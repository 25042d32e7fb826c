"""`inspection export`, on what the topics hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from confluent_kafka import Producer
from pyarrow import parquet
from typer.testing import CliRunner, Result

from infra.cli.labels.review import _print_csv
from infra.cli.root import app
from operations.labels.make import make_label
from replay.past.resolved_selection import EmptySelection
from schemas import Defect, KafkaSettings, Verdict
from schemas.codec import encode
from schemas.errors import SettingsError
from tests.support.exports import check_coco, frame
from tests.support.past import an_hour_ago_us
from tests.support.quality_records import make_decision

EPOCH_US = an_hour_ago_us()


def run(kafka: KafkaSettings, *arguments: str) -> Result:
    options = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    return CliRunner().invoke(app, ["export", *arguments, *options])


@pytest.fixture
def published(line: KafkaSettings) -> KafkaSettings:
    """Twelve frames, each with a decision; every fourth is rejected with a box, and the first two are labelled."""
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    frames = [frame(n, captured_at_us=EPOCH_US + n * 1_000_000) for n in range(12)]
    for number, one in enumerate(frames):
        at_ms = one.captured_at_us // 1000
        producer.produce(line.frames, encode(one), partition=0, timestamp=at_ms)
        is_bad = number % 4 == 3
        decision = make_decision(
            number, frame_id=one.frame_id, station="press", camera_id="top", part_id=one.part_id,
            captured_at_us=one.captured_at_us, source_topic=line.frames, source_offset=number,
            verdict=Verdict.NOT_OK if is_bad else Verdict.OK, score=0.9 if is_bad else 0.1,
            defects=(Defect("crack", 0.9, (1, 1, 5, 5)),) if is_bad else (),
        )  # fmt: skip
        producer.produce(line.decisions, encode(decision), partition=0, timestamp=at_ms)
    for one, truth in ((frames[0], "good"), (frames[3], "bad")):
        label = make_label(truth, frame_id=one.frame_id, labelled_by="ada", labelled_at_us=EPOCH_US)
        producer.produce(line.labels, encode(label), partition=0, timestamp=EPOCH_US // 1000)
    assert producer.flush(20) == 0
    return line


@pytest.mark.long
@pytest.mark.broker
def test_a_stretch_is_exported_in_each_form(published: KafkaSettings, tmp_path: Path):
    done = run(published, "coco", str(tmp_path / "coco"), "--verdict", "NOT_OK", "--json")
    assert done.exception is None, done.exception
    assert json.loads(done.stdout) == {
        "path": str(tmp_path / "coco"), "images": 3, "boxes": 3, "truths": 1, "repeated": 0, "left_out": {},
    }  # fmt: skip
    assert {row["attributes"]["offset"] for row in check_coco(tmp_path / "coco")["images"]} == {3, 7, 11}

    done = run(published, "folder", str(tmp_path / "folder"), "--offsets", "0:0-5")
    assert done.stdout.splitlines()[0] == f"5 images, 2 with a known truth: {tmp_path / 'folder'}"
    with (tmp_path / "folder" / "labels.csv").open(encoding="utf-8", newline="") as file:
        assert [row["truth"] for row in csv.DictReader(file)] == ["good", "", "", "defective", ""]

    for name in ("rows.parquet", "rows.csv"):
        assert run(published, "rows", str(tmp_path / name)).stdout == f"12 rows: {tmp_path / name}\n"
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert table.column("is_defective").to_pylist() == [False, None, None, True, *[None] * 8]


@pytest.mark.long
@pytest.mark.broker
def test_an_empty_selection_writes_nothing(published: KafkaSettings, tmp_path: Path):
    for arguments in (["coco", "x"], ["folder", "x"], ["rows", "x.csv"]):
        done = run(published, arguments[0], str(tmp_path / arguments[1]), "--lot", "none of these")
        assert isinstance(done.exception, EmptySelection)
    done = run(published, "rows", str(tmp_path / "x.txt"))
    assert isinstance(done.exception, SettingsError)
    assert list(tmp_path.iterdir()) == []


def test_what_review_prints_is_no_formula_either(capsys: pytest.CaptureFixture[str]):
    _print_csv([{"frame_id": "=1+1", "part_id": None, "score": -0.5, "captured_at": "2026-11-24"}])
    header, row = csv.reader(capsys.readouterr().out.splitlines())
    values = dict(zip(header, row, strict=True))
    assert (values["frame_id"], values["part_id"], values["score"]) == ("'=1+1", "", "-0.5")

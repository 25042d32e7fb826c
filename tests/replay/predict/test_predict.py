"""Rows of files: the decisions of the line, in every format, whatever the files are."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import helper
from pyarrow import parquet

from models import default_model_path, inspect_image, load_model
from models.errors import ModelPackageError
from replay.past.reads import recorded_frames
from replay.past.selection import Selection
from replay.past.source import Source
from replay.predict.child import FileInspector, FileJob, read_file
from replay.predict.rows import FileRow
from replay.predict.run import PredictOptions, predict
from schemas import Decision, Frame
from schemas.codec import Codec
from schemas.errors import SettingsError
from schemas.records import ResultState
from schemas.topics import MAX_STORED_BYTES
from stream_processors.worker.frame_processor import InspectionFailure
from tests.support.decided_lines import Decided
from tests.support.packages import MakePackage, encoded, graph_bytes, scene
from tests.support.task_models import CASES
from transport.range_reader import read_topic


def options(images: Path, model: Path, out: Path, **more: Any) -> PredictOptions:
    return PredictOptions(arguments=[str(images)], model=model, out=out, processes=1, **more)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of all formats, and files that are no images."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for number, suffix in enumerate((".png", ".jpg", ".bmp", ".tiff")):
        (folder / f"{number}{suffix}").write_bytes(encoded(scene(64, 48, seed=number), suffix))
    (folder / "sub" / "dark.png").write_bytes(encoded(np.zeros((16, 16), np.uint8)))
    (folder / "sub" / "white.png").write_bytes(encoded(np.full((16, 16), 255, np.uint8)))
    (folder / "broken.png").write_bytes(encoded(scene(64, 48))[:200])
    (folder / "empty.jpg").touch()
    (folder / "large.png").write_bytes(_header_of(20_000, 20_000))
    (folder / "lost.png").symlink_to("nowhere.png")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"hidden")
    return folder


def _header_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(np.zeros((2, 2), np.uint8)))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(data)


def test_rows_are_the_decisions_of_a_real_line(decided: Decided, tmp_path: Path) -> None:
    """The images of a line, taken from its topic, have the same rows as a worker published decisions, to the bit."""
    decisions = {each.identity.frame_id: each.recorded for each in recorded_frames(Source(decided.kafka), Selection())}
    codec, expected = Codec(), {}
    folder = tmp_path / "images"
    folder.mkdir()
    for message in read_topic(decided.kafka, decided.kafka.frames):
        try:
            frame = codec.decode(message.value, Frame)
        except Exception:  # noqa: BLE001 - the line has messages that are no frames
            continue
        decision = decisions[frame.frame_id]
        assert decision is not None
        # A wrong hash, hostile attributes and a deadline belong to the frame, not to the image.
        if not decision.reason.startswith(("altered-image", "oversized", "shed")) and frame.image is not None:
            name = f"{frame.frame_id}.png"
            (folder / name).write_bytes(frame.image)
            expected[name] = decision
    assert len(expected) > 50
    found = predict(options(folder, default_model_path(), tmp_path / "rows.jsonl"))
    assert found.figures is not None
    assert found.figures.failures == {"unreadable-image": 1}
    rows = {Path(row["path"]).name: row for row in lines_of(tmp_path / "rows.jsonl")}
    assert {name: _compared_row(row) for name, row in rows.items()} == {
        name: _compared_decision(decision) for name, decision in expected.items()
    }


def _compared_row(row: dict[str, Any]) -> dict[str, Any]:
    names = ("verdict", "action", "result_state", "reason", "score", "threshold", "image_sha256", "recipe_id")
    names = (*names, "recipe_revision", "model_sha256", "model_name", "model_version")
    found = {name: row[name] for name in names}
    found |= {
        name: value for name, value in row.items() if name.startswith(("label.", "signal.")) and value is not None
    }
    return found


def _compared_decision(decision: Decision) -> dict[str, Any]:
    found = {
        "verdict": decision.verdict, "action": decision.action, "result_state": decision.result_state,
        "reason": decision.reason, "score": decision.score, "threshold": decision.threshold,
        "image_sha256": decision.image_sha256, "recipe_id": decision.recipe_id,
        "recipe_revision": decision.recipe_revision, "model_sha256": decision.model_sha256,
        "model_name": decision.model_name, "model_version": decision.model_version,
    }  # fmt: skip
    found |= {f"label.{name}": value for name, value in decision.labels.items()}
    found |= {f"signal.{name}": value for name, value in decision.signals.items()}
    if decision.image_sha256 and decision.reason.startswith("unreadable-image"):
        assert decision.score is None
    return found


@pytest.mark.parametrize("task", CASES)
def test_every_task_has_the_scores_of_the_inspection(task: str, make_package: MakePackage, images: Path) -> None:
    data, changes = CASES[task]
    package = make_package(data(), **changes)
    model = load_model(package)
    out = images.parent / "rows.jsonl"
    predict(options(images, package, out))
    completed = [row for row in lines_of(out) if row["result_state"] == "COMPLETED"]
    assert len(completed) == 6
    for row in completed:
        inspection = inspect_image(Path(row["path"]).read_bytes(), model)
        assert (row["score"], row["verdict"], row["reason"]) == (
            inspection.score,
            inspection.verdict,
            inspection.reason,
        )
        boxes = [(each["label"], each["score"], tuple(each["box_xywh"])) for each in json.loads(row["defects"] or "[]")]
        assert boxes == [(each.label, each.score, each.box_xywh) for each in inspection.defects]


def test_files_that_cannot_be_inspected_are_rows_with_the_reason(make_package: MakePackage, images: Path) -> None:
    out = images.parent / "rows.jsonl"
    found = predict(options(images, make_package(), out))
    rows = {Path(row["path"]).name: row for row in lines_of(out)}
    assert list(rows) == [
        "0.png", "1.jpg", "2.bmp", "3.tiff", "broken.png", "empty.jpg", "large.png", "lost.png", "dark.png",
        "white.png",
    ]  # fmt: skip
    failed = {name: row["failure"] for name, row in rows.items() if row["result_state"] == "FAILED"}
    assert failed == {
        "broken.png": "unreadable-image", "empty.jpg": "unreadable-image", "large.png": "image-too-large",
        "lost.png": "unreadable-file",
    }  # fmt: skip
    for name in failed:
        assert (rows[name]["verdict"], rows[name]["action"]) == ("NOT_DECIDABLE", "REJECT")
        assert rows[name]["reason"].startswith(failed[name])
        assert rows[name]["score"] is None
    assert rows["lost.png"]["image_sha256"] is None
    assert "No such file" in rows["lost.png"]["reason"]
    assert found.figures is not None
    assert found.figures.failures == {"unreadable-image": 2, "image-too-large": 1, "unreadable-file": 1}
    assert (found.listing.others, found.listing.skipped) == (1, 1)


def test_all_formats_have_the_same_rows(make_package: MakePackage, images: Path, tmp_path: Path) -> None:
    package = make_package()
    for suffix in ("jsonl", "csv", "parquet"):
        predict(options(images, package, tmp_path / f"rows.{suffix}"))
    rows = lines_of(tmp_path / "rows.jsonl")
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert table.to_pylist() == rows
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert list(cells[0]) == table.column_names
    texts = [{name: "" if value is None else value for name, value in row.items()} for row in rows]
    assert [row["path"] for row in cells] == [row["path"] for row in texts]
    assert [row["score"] for row in cells] == ["" if row["score"] == "" else repr(row["score"]) for row in texts]
    assert not list(tmp_path.glob("*.unfinished"))


def test_the_number_of_processes_changes_no_byte(make_package: MakePackage, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(90):
        (folder / f"{number:02}.png").write_bytes(encoded(scene(40, 40, seed=number)))
    package = make_package()
    for processes in (1, 2):
        predict(
            PredictOptions(
                arguments=[str(folder)], model=package, out=tmp_path / f"{processes}.jsonl", processes=processes
            )
        )
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert len(lines_of(tmp_path / "1.jsonl")) == 90


def test_names_of_any_bytes(make_package: MakePackage, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in (b"gr\xfcn.png", b"\x1b[2J.png", b"line\nend.png", b"back\\slash.png", "Prüfling.png".encode()):
        (folder / os.fsdecode(name)).write_bytes(encoded(scene(40, 40)))
    for suffix in ("csv", "parquet"):
        found = predict(options(folder, make_package(), tmp_path / f"rows.{suffix}", html=tmp_path / "r.html"))
        assert found.figures is not None
        assert found.figures.failed_count == 0
    text = (tmp_path / "rows.csv").read_text(encoding="utf-8")
    assert "\x1b" not in text
    names = parquet.read_table(tmp_path / "rows.parquet").column("path").to_pylist()
    assert [Path(name).name for name in names] == [
        "\x1b[2J.png", "Prüfling.png", "back\\slash.png", "gr\\xfcn.png", "line\nend.png",
    ]  # fmt: skip


def test_a_relative_path_that_is_a_formula_is_guarded(
    make_package: MakePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = make_package()
    monkeypatch.chdir(tmp_path)
    Path("=cmd.png").write_bytes(encoded(scene(40, 40)))
    predict(options(Path("=cmd.png"), package, Path("rows.csv")))
    assert '"\'=cmd.png"' in Path("rows.csv").read_text()


def test_a_folder_without_images_ends_in_one_line(make_package: MakePackage, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "notes.txt").touch()
    with pytest.raises(SettingsError, match=r"images: no image; skipped 1 file that is no image .* notes.txt"):
        predict(options(folder, make_package(), tmp_path / "rows.csv"))
    assert not list(tmp_path.glob("rows*"))


def test_an_output_that_cannot_be_written_is_refused_before_any_work(make_package: MakePackage, images: Path) -> None:
    package = make_package()
    for out in (images.parent / "rows.xlsx", images.parent / "nowhere" / "rows.csv"):
        with pytest.raises(SettingsError):
            predict(options(images, package, out))
    with pytest.raises(SettingsError, match="is a folder"):
        predict(options(images, package, images.parent / "rows.csv", html=images))
    with pytest.raises(ModelPackageError):
        predict(options(images, images, images.parent / "rows.csv"))
    assert not list(images.parent.glob("rows*"))


def test_a_file_over_the_limit_of_a_line_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(MAX_STORED_BYTES + 1)
    found = read_file(str(tmp_path / "huge.png"))
    assert isinstance(found, InspectionFailure)
    assert found.kind == "image-too-large"


def test_pipes_and_folders_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert read_file(str(tmp_path / "pipe.png")) == InspectionFailure("unreadable-file", "it is not a regular file")
    assert read_file(str(tmp_path)) == InspectionFailure("unreadable-file", "Is a directory")


def test_a_row_is_read_back_to_the_last_bit(make_package: MakePackage, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(scene(61, 47)))
    [(number, row)] = FileInspector(load_model(make_package()))([FileJob(3, str(tmp_path / "a.png"))])
    assert number == 3
    assert row.result_state is ResultState.COMPLETED
    assert FileRow.loads(row.dumps()) == row
    for damaged in (
        b"",
        b"\n",
        row.dumps()[:-1],
        b"null\n",
        b"{}\n",
        b"[" * 100_000 + b"\n",
        row.dumps()[5:],
        b"\xff\n",
    ):
        with pytest.raises(ValueError, match=r"."):
            FileRow.loads(damaged)


def test_a_fault_of_the_model_is_a_failed_row(make_package: MakePackage, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "hundred"], ["above"]),
        helper.make_node("Log", ["above"], ["logit"]),
    ]
    data = graph_bytes(nodes, {"logit": ("n", 1)}, constants={"hundred": np.float32([100])})
    for level in (50, 200):
        (tmp_path / f"{level}.png").write_bytes(encoded(np.full((8, 8), level, np.uint8)))
    inspector = FileInspector(load_model(make_package(data)), str(tmp_path))
    rows = [row for _, row in inspector([FileJob(0, "50.png"), FileJob(1, "200.png")])]
    assert [(row.result_state, row.failure) for row in rows] == [
        (ResultState.FAILED, "model-fault"), (ResultState.COMPLETED, ""),
    ]  # fmt: skip
    assert rows[0].reason == "the model's output is not a number"
    assert rows[0].action == "REJECT"


def test_colour_images_shrunk_a_lot_get_a_remark(make_package: MakePackage, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), scene(640, 480, colour=True))
    found = predict(options(tmp_path / "wide.png", make_package(), tmp_path / "rows.csv"))
    assert found.figures is not None
    assert found.figures.remarks["shrunk"][0] == 1

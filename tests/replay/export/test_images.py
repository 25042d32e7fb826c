"""Frames as a COCO data set, and as a folder with a CSV file that becomes labels again."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitoring.quality.label_index import LabelIndex
from operations.labels.csv_file import labels_from_csv
from operations.labels.make import make_label
from replay.export import Exported, export_coco, export_folder
from replay.export.pictures import Pictures
from schemas import Decision, Defect, Encoding, Frame, ImageReference, Verdict
from schemas.errors import SettingsError
from tests.support.exports import check_coco, frame, image
from tests.support.quality_records import make_decision
from transport.image_store import ImageStore
from transport.stored_message import MessagePosition, StoredMessage


def pairs(*frames: Frame, defects: tuple[Defect, ...] = ()) -> Iterator[tuple[StoredMessage[Frame], Decision | None]]:
    for offset, found in enumerate(frames):
        place = MessagePosition("frames", 2, offset)
        yield StoredMessage(place, found.captured_at_us, None, record=found), make_decision(offset, defects=defects)


def truths() -> LabelIndex:
    known = {"labelled_by": "ada", "labelled_at_us": 5}
    return LabelIndex([
        make_label("good", frame_id="press.top.1.00000001", sampled_because="random", **known),
        make_label("bad", part_id="P2", station="press", camera_id="top", defect="crack", **known),
    ])  # fmt: skip


def test_coco_has_images_boxes_and_truths(tmp_path: Path):
    defects = (Defect("crack", 0.9, (1, 2, 10, 5)), Defect("stain", 0.4, (35, 25, 20, 20)))
    found = export_coco(tmp_path / "set", pairs(frame(1), frame(2), defects=defects), truths())
    assert (found.images, found.boxes, found.truths, found.repeated, dict(found.left_out)) == (2, 4, 2, 0, {})
    data = check_coco(tmp_path / "set")
    assert [row["file_name"] for row in data["images"]] == ["press.top.1.00000001.png", "press.top.1.00000002.png"]
    assert (tmp_path / "set/images/press.top.1.00000002.png").read_bytes() == image(2)
    first, second = (row["attributes"] for row in data["images"])
    assert (first["truth"], second["truth"], second["truth_defect"]) == ("good", "defective", "crack")
    assert (second["frame_id"], second["partition"], second["offset"]) == ("press.top.1.00000002", 2, 1)
    assert [row["name"] for row in data["categories"]] == ["crack", "stain"]
    assert [row["bbox"] for row in data["annotations"][:2]] == [[1, 2, 10, 5], [35, 25, 5, 5]]
    assert [row["score"] for row in data["annotations"][:2]] == [0.9, 0.4]


def test_coco_without_boxes_names_a_category_all_the_same(tmp_path: Path):
    defects = (Defect("crack", 0.9, (1, 2, 10, 5)),)
    assert export_coco(tmp_path / "set", pairs(frame(1), defects=defects), boxes=False).boxes == 0
    data = check_coco(tmp_path / "set")
    assert (data["annotations"], [row["name"] for row in data["categories"]]) == ([], ["defect"])
    assert export_coco(tmp_path / "none", iter([])).images == 0
    assert check_coco(tmp_path / "none")["images"] == []


def test_coco_takes_only_boxes_that_are_some(tmp_path: Path):
    nan, inf = float("nan"), float("inf")
    boxes = [(nan, 0, 1, 1), (0, 0, inf, 1), (50, 50, 5, 5), (5, 5, 0, 5), (5, 5, -3, 5), (-9, -9, 100, 100)]
    hostile = tuple(Defect('"},{', nan, box) for box in boxes)
    assert export_coco(tmp_path / "set", pairs(frame(1), defects=hostile)).boxes == 1
    (row,) = check_coco(tmp_path / "set")["annotations"]
    assert row["bbox"] == [0, 0, 40, 30]
    assert "score" not in row


HOSTILE = {
    "up": "../../../etc/passwd", "absolute": "/etc/passwd", "windows": "..\\..\\x", "nul": "a\0b", "empty": "",
    "dots": "..", "hidden": ".htaccess", "device": "con", "device with suffix": "NUL.txt", "long": "x" * 5000,
    "unicode": "Prüfer\u202e\U0001f600", "surrogate": "a\ud800", "newline": "a\nb", "dash": "-rf", "end": "x.",
    "space": " ", "colon": "a:b", "percent": "%2e%2e%2f",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_id_stays_in_its_folder(tmp_path: Path, text: str):
    name = Pictures(None, Exported(tmp_path)).name(text)
    assert name != text
    assert name.isascii()
    assert not set('/\\:*?"<>|%\0\n ') & set(name)
    assert name[0] not in ".-"
    assert len(name) < 200
    assert name.partition(".")[0].lower() not in {"con", "nul"}
    (tmp_path / f"{name}.png").write_bytes(b"")
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.png"]


@pytest.mark.parametrize("export", [export_coco, export_folder])
def test_hostile_frames_are_exported_each_to_a_file(tmp_path: Path, export: Any):
    ids = ["../../x", "A", "a", "x" * 5000, "..", "\u202e", "a\0"]
    found = export(tmp_path / "set", pairs(*(frame(n, frame_id=text) for n, text in enumerate(ids))))
    files = [path for path in (tmp_path / "set").rglob("*.png")]
    assert found.images == len(files) == len({path.name.lower() for path in files}) == len(ids)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("export", [export_coco, export_folder])
def test_what_has_no_image_is_counted(tmp_path: Path, export: Any):
    store = ImageStore(str(tmp_path / "store"))
    data = image(9)
    digest = hashlib.sha256(data).hexdigest()
    stored = frame(3, image=None, reference=store.put("press", "top", 0, digest, data, "png"), sha256=digest)
    gone = ImageReference(f"memory://2026-11-24/06/press.top/{'a' * 64}.png", 5)
    frames = [
        frame(1), frame(1), stored, frame(4, image=None, reference=gone, sha256="a" * 64),
        frame(5, image=b"garbage"), frame(6, sha256="0" * 64),
        frame(7, encoding=Encoding.PNG, image=image(7, Encoding.JPEG)),
    ]  # fmt: skip
    broken: StoredMessage[Frame] = StoredMessage(
        MessagePosition("frames", 0, 99), 0, None, value=b"?", problem="truncated"
    )
    read = [*pairs(*frames), (broken, None)]
    found = export(tmp_path / "set", iter(read), store=store)
    assert (found.images, found.repeated) == (3, 1)
    assert found.left_out == {"no frame": 1, "image-missing": 1, "unreadable-image": 1, "altered-image": 1}
    files = {path.name: path.read_bytes() for path in (tmp_path / "set").rglob("press*")}
    assert files == {
        "press.top.1.00000001.png": image(1),
        "press.top.1.00000003.png": data,
        "press.top.1.00000007.jpg": image(7, Encoding.JPEG),  # by what it is, not by what the frame says
    }
    without = export(tmp_path / "again", iter([*pairs(stored)]))
    assert without.left_out == {"image-by-reference": 1}


@pytest.mark.parametrize("export", [export_coco, export_folder])
def test_all_or_nothing(tmp_path: Path, export: Any):
    def cut_off() -> Iterator[tuple[StoredMessage[Frame], Decision | None]]:
        yield from pairs(frame(1))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(tmp_path / "set", cut_off())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "set").mkdir()  # an empty folder will do
    assert export(tmp_path / "set", pairs(frame(1))).images == 1
    for target in ("set", "set/labels.csv", "file"):
        (tmp_path / "file").write_text("x")
        (tmp_path / "set" / "labels.csv").touch()
        with pytest.raises(SettingsError, match="exists and is not empty"):
            export(tmp_path / target, pairs(frame(2)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "set"]
    with pytest.raises(SettingsError, match="File exists"):
        export(tmp_path / "file" / "below", pairs(frame(2)))


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_folder_sorts_by_truth(tmp_path: Path):
    found = export_folder(tmp_path / "set", pairs(frame(1), frame(2), frame(3)), truths())
    assert (found.images, found.truths) == (3, 2)
    files = [row["file"] for row in rows_of(tmp_path / "set")]
    assert files == [
        "good/press.top.1.00000001.png", "defective/press.top.1.00000002.png", "unlabelled/press.top.1.00000003.png"
    ]  # fmt: skip
    assert all((tmp_path / "set" / name).read_bytes() == image(n) for n, name in enumerate(files, 1))


def test_a_filled_in_folder_becomes_labels(tmp_path: Path):
    hostile = "=cmd|' /C calc'!A1"
    export_folder(tmp_path / "set", pairs(frame(1), frame(2), frame(3), frame(4, frame_id=hostile)), truths())
    rows = rows_of(tmp_path / "set")
    assert [row["truth"] for row in rows] == ["good", "defective", "", ""]
    assert rows[3]["frame_id"] == f"'{hostile}"
    rows[1] |= {"truth": "good", "defect": ""}  # a person says otherwise
    rows[3] |= {"truth": "defective", "defect": "stain"}
    with (tmp_path / "set" / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    blank: list[None] = []
    labels = list(
        labels_from_csv(tmp_path / "set" / "labels.csv", labelled_by="bob", on_blank=lambda: blank.append(None))
    )
    assert [(one.frame_id, one.truth) for one in labels] == [
        ("press.top.1.00000001", Verdict.OK), ("press.top.1.00000002", Verdict.OK), (hostile, Verdict.NOT_OK),
    ]  # fmt: skip
    assert len(blank) == 1
    assert [one.sampled_because for one in labels] == ["random", "", ""]
    known = truths()
    for label in labels:
        known.add(label)
    found = known.of_frame("press/top", "press.top.1.00000002", "P2")
    assert found is not None
    assert not found.is_defective
    assert known.counts.contradictions == 0

"""Models of Ultralytics by `model init`: our inspection of real images beside the framework's whole pipeline.

The framework is under the AGPL: it is installed for this test only, in an environment of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from models import Inspection, inspect_image, load_model
from models.datasets.elpv import load_cells
from models.draft import draft_manifest
from models.opencv import cv2
from schemas.records import Defect
from tests.support.frameworks.environments import python_for_tests_of

pytestmark = [pytest.mark.importers, pytest.mark.long]

LABELS = ("scratch", "dent")
SCRIPT = Path(__file__).parents[2] / "support" / "frameworks" / "yolo_models.py"
Found = Mapping[str, Mapping[str, Any]]


def write_images(folder: Path) -> None:
    """Write images in colour, each channel a real solar cell; their longer side is that of the networks."""
    cells = [cv2.equalizeHist(cv2.imread(str(cell.path), cv2.IMREAD_GRAYSCALE)) for cell in load_cells("train")[:18]]
    for name, sizes in (
        ("detect", {"square": (320, 320), "wide": (320, 201), "tall": (200, 320)}),
        ("classify", {"square": (224, 224)}),
    ):
        (folder / name).mkdir()
        for number in range(6):
            pixels = np.dstack(cells[3 * number : 3 * number + 3])
            for shape, size_wh in sizes.items():
                cv2.imwrite(str(folder / name / f"{shape}{number}.png"), cv2.resize(pixels, size_wh))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("yolo")
    python = python_for_tests_of("yolo")
    write_images(made)
    done = subprocess.run([python, SCRIPT, made], capture_output=True, timeout=600, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return made


def inspected(folder: Path, name: str, images: str, **changes: Any) -> dict[str, Inspection]:
    """Make a package as `model init` does, and inspect all images."""
    data = (folder / f"{name}.onnx").read_bytes()
    given = {"threshold": "0.5", "good_label": ""} | ({} if images == "detect" else {"activation": "none"})
    draft = draft_manifest(data, name, given)
    assert [question.line for question in draft.open] == []
    manifest = dict(draft.manifest)
    if changes:
        manifest["detection"] = manifest["detection"] | changes
    package = folder / f"{name}_{len(list(folder.iterdir()))}"
    package.mkdir()
    (package / "model.onnx").write_bytes(data)
    (package / "manifest.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
    model = load_model(package)
    return {path.name: inspect_image(path.read_bytes(), model) for path in sorted((folder / images).glob("*.png"))}


@pytest.mark.parametrize(
    ("name", "file", "changes", "shapes"),
    [
        # In the padding of wide images all pixels are alike, and so are scores: suppression has no best box there.
        ("columns", "columns", {}, ("square",)),
        ("agnostic", "columns", {"suppression": "all_labels"}, ("square",)),
        ("rows", "rows", {}, ("square",)),
        ("end2end", "end2end", {}, ("square", "wide", "tall")),
    ],
)
def test_boxes_are_those_of_the_framework(
    name: str, file: str, changes: dict[str, Any], shapes: tuple[str, ...], folder: Path
) -> None:
    found: Found = json.loads((folder / "found.json").read_text())
    ours = inspected(folder, file, "detect", **changes)
    compared = {image: theirs for image, theirs in found[name].items() if image.startswith(shapes)}
    for image, theirs in compared.items():
        left = [defect for defect in ours[image].defects if min(defect.box_xywh[2:]) > 0]
        for row in (row for row in theirs if row[2] > row[0] and row[3] > row[1]):
            # Boxes with equal scores have no order.
            same = [defect for defect in left if is_same(defect, row)]
            assert same, (image, row, left)
            left.remove(same[0])
        assert not left, image
    assert len(compared) == 6 * len(shapes)
    assert {row[5] for theirs in compared.values() for row in theirs} == {0, 1}


def is_same(defect: Defect, row: list[float]) -> bool:
    """Return True if a defect is the framework's row, to 1e-4 of the score and 0.02 pixels."""
    x1, y1, x2, y2, score, number = row
    is_near = np.allclose(defect.box_xywh, (x1, y1, x2 - x1, y2 - y1), rtol=0, atol=0.02)
    return defect.label == LABELS[int(number)] and abs(defect.score - score) < 1e-4 and bool(is_near)


def test_classes_are_those_of_the_framework(folder: Path) -> None:
    found: Found = json.loads((folder / "found.json").read_text())
    ours = inspected(folder, "classify", "classify")
    scores = [list(ours[image].labels.values()) for image in found["classify"]]
    assert np.abs(np.array(scores) - np.array(list(found["classify"].values()))).max() < 1e-4
    assert len(scores) == 6

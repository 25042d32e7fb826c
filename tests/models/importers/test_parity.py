"""Parity check: a package that scores otherwise than its framework is refused, and the image is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.errors import ImportRefused
from models.frame_pixels import PreparedTile, frame_pixels
from models.importers.import_model import choose_images
from models.importers.parity import check_parity
from models.package import Model, load_model
from tests.support.packages import MakePackage, encoded, scene
from tests.support.packages import make_package as make_package
from tests.support.task_models import CASES


def images(folder: Path, count: int = 4) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(encoded(scene(16, 16, seed=number)))
    return paths


def tiles_of(path: Path, model: Model) -> list[PreparedTile]:
    with frame_pixels(path.read_bytes(), model.manifest.input) as seen:
        return list(seen.tiles(model.manifest.input))


@pytest.mark.parametrize("task", CASES)
def test_equal_outputs_pass(task: str, make_package: MakePackage, tmp_path: Path) -> None:
    make, changes = CASES[task]
    model = load_model(make_package(make(), **changes))
    paths = images(tmp_path)
    prepared = [tiles_of(path, model) for path in paths]
    roles = model.manifest.outputs.names
    outputs = [{roles[role]: value for role, value in model.run(each[0].tensor).items()} for each in prepared]
    found = check_parity(model, paths, prepared, [[each] for each in outputs], outputs)
    assert (found.images, found.score_difference, found.own_resizing_difference) == (4, 0.0, 0.0)


def test_a_difference_names_the_image(make_package: MakePackage, tmp_path: Path) -> None:
    model, paths = load_model(make_package()), images(tmp_path)
    prepared = [tiles_of(path, model) for path in paths]
    outputs = [[{"logit": model.run(each[0].tensor)["scores"]}] for each in prepared]
    outputs[2] = [{"logit": outputs[2][0]["logit"] + 0.01}]
    with pytest.raises(ImportRefused, match=r"scores by 0\.\d+ for .*2\.png, over 0\.0001 on the same tensor"):
        check_parity(model, paths, prepared, outputs)


def test_a_score_that_is_cut_hides_no_difference(make_package: MakePackage, tmp_path: Path) -> None:
    make, changes = CASES["anomaly_map"]
    narrow = {**changes, "anomaly": {"low": 0.0, "high": 1e-3, "score_percentile": 100}}
    model, paths = load_model(make_package(make(), **narrow)), images(tmp_path)
    prepared = [tiles_of(path, model) for path in paths]
    outputs = [[{"map": model.run(each[0].tensor)["map"] * 1.1}] for each in prepared]
    with pytest.raises(ImportRefused, match="outputs by"):
        check_parity(model, paths, prepared, outputs)


def test_an_output_that_is_not_a_number(make_package: MakePackage, tmp_path: Path) -> None:
    model, paths = load_model(make_package()), images(tmp_path, 1)
    prepared = [tiles_of(path, model) for path in paths]
    with pytest.raises(ImportRefused, match=r"0\.png: the framework's output is not a number"):
        check_parity(model, paths, prepared, [[{"logit": np.array([[np.nan]], np.float32)}]])


def test_one_of_the_images_is_not_square(tmp_path: Path) -> None:
    images(tmp_path, 9)
    (tmp_path / "2b.png").write_bytes(encoded(scene(32, 16)))
    assert [path.name for path in choose_images(tmp_path, 2)] == ["0.png", "2b.png"]
    assert len(choose_images(tmp_path, 100)) == 10


def test_folders_without_readable_images(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="no images"):
        choose_images(tmp_path, 5)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ImportRefused, match=r"a\.png: .*; take it out"):
        choose_images(tmp_path, 5)

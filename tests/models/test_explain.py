"""Heat maps: they point at the place that makes the difference."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest

from models.datasets.elpv import load_cells
from models.errors import ImageError
from models.explain import heat_map
from models.inspect_images import inspect_image
from models.manifest import DecisionRule
from models.package import Model, default_model_path, load_model


def png(pixels: Any) -> bytes:
    done, data = cv2.imencode(".png", pixels)
    assert done
    return bytes(data.tobytes())


class Bright:
    """A classifier whose score is the share of bright pixels in the left upper quarter: its answer is known."""

    def run(self, names: Any, feed: dict[str, Any]) -> list[Any]:
        (tensor,) = feed.values()
        score = float((tensor[0, 0, :112, :112] > 200).mean())
        return [np.array([[1 - score, score]], np.float32) for _ in names]


@pytest.fixture(scope="module")
def elpv() -> Model:
    return load_model(default_model_path())


def known(model: Model) -> Model:
    outputs = dataclasses.replace(model, session=Bright())  # type: ignore[arg-type]
    plain = model.manifest.outputs.model_copy(update={"activation": "none", "names": {"scores": "scores"}})
    return dataclasses.replace(outputs, manifest=model.manifest.model_copy(update={"outputs": plain}))


def test_occlusion_points_at_what_the_score_is_of(elpv: Model):
    pixels = np.full((300, 300), 60, np.uint8)
    pixels[30:70, 30:70] = 255  # what it sees
    pixels[200:260, 200:260] = 255  # what it does not look at
    found = heat_map(png(pixels), known(elpv), steps=9)
    assert found is not None
    assert found.kind == "occlusion"
    assert np.unravel_index(found.values.argmax(), found.values.shape) in {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert found.values.max() > 0.01
    assert np.abs(found.values[6:, 6:]).max() == 0


def test_the_shipped_model_on_a_real_defect(elpv: Model):
    cell = next(cell for cell in load_cells("test") if cell.probability == 1)
    data = cell.path.read_bytes()
    found = heat_map(data, elpv, steps=5)
    assert found is not None
    assert found.values.shape == (6, 6)
    assert np.isfinite(found.values).all()
    assert np.abs(found.values).max() > 0
    again = heat_map(data, elpv, steps=5)
    assert again is not None
    assert (again.values == found.values).all()


def test_an_anomaly_map_is_the_models_own(elpv: Model):
    model = load_model(default_model_path().parent / "elpv_good_only")
    cell = next(cell for cell in load_cells("test") if cell.probability == 1)
    found = heat_map(cell.path.read_bytes(), model)
    assert found is not None
    assert found.kind == "anomaly"
    assert 0 <= found.values.min() <= found.values.max() <= 1
    rule = DecisionRule(recipe_id="r", revision=1, threshold=0.3)
    judged = dataclasses.replace(model, manifest=model.manifest.model_copy(update={"decision": rule}))
    defects = inspect_image(cell.path.read_bytes(), judged).defects
    assert defects
    x, y, width, height = (side / 300 for side in defects[0].box_xywh)
    rows, columns = found.values.shape
    part = found.values[int(y * rows) : int((y + height) * rows) + 1, int(x * columns) : int((x + width) * columns) + 1]
    assert part.max() >= 0.3  # where it says that there is a defect, the map is hot


def test_padding_is_no_part_of_the_map():
    model = load_model(default_model_path().parent / "elpv_good_only")
    letterbox = model.manifest.input.model_copy(update={"resize": "letterbox"})
    model = dataclasses.replace(model, manifest=model.manifest.model_copy(update={"input": letterbox}))
    found = heat_map(png(np.full((100, 400), 90, np.uint8)), model)
    assert found is not None
    assert found.values.shape == (16, 64)


def test_what_is_no_image_is_refused(elpv: Model):
    with pytest.raises(ImageError, match="do not begin as"):
        heat_map(b"garbage", elpv)

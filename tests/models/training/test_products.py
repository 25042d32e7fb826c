"""Several products in one model: each has a map of its own, and an image is judged by the one that fits it best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import inspect_image
from models.tile_spec import TileSpec
from models.training.features import FeatureExtractor, InspectedPart, read_image
from models.training.padim import Gaussians
from models.training.products import GoodParts, Scale, scores_of
from models.training.result import TrainingResult
from models.training.sentences import recipe_lines
from models.training.survey import TrainingFolder
from models.training.synthetic import add_defect
from models.training.train import TrainingOptions, train
from models.training.write_package import write_package
from schemas.errors import SettingsError
from tests.support.parts import good_part

OPTIONS = TrainingOptions(overkill=0.05, recipe="places", by_product=True)


def plate(number: int, *, has_hole: bool) -> np.ndarray:
    """Return a part of one of two products: one has a hole in a corner, the other has none."""
    image = good_part(number)
    return np.asarray(cv2.circle(image, (60, 120), 9, 40, -1)) if has_hole else image


def write(folder: Path, count: int) -> None:
    for name, has_hole in (("drilled", True), ("plain", False)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(folder / name / f"{number:03}.png"), plate(number, has_hole=has_hole))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("products")
    write(folder / "good", 30)
    return folder


@pytest.fixture(scope="module")
def result(parts: Path) -> TrainingResult:
    return train(parts / "good", OPTIONS)


@pytest.mark.long
def test_each_product_has_a_map(result: TrainingResult, tmp_path: Path) -> None:
    assert result.products == {"drilled": 30, "plain": 30}
    assert "a map for each product: drilled (30), plain (30)" in next(recipe_lines(result))
    model = write_package(result, tmp_path / "model", OPTIONS)
    assert model.manifest.metrics["products"] == result.products
    for path in (result.paths[0], result.paths[-1]):
        image = read_image(path, result.best.extractor.spec)
        distances = result.best.fit.model.distances(result.best.extractor.features(image))
        assert model.manifest.anomaly is not None
        low, high = model.manifest.anomaly.low, model.manifest.anomaly.high
        wanted = np.clip((scores_of(distances).max() - low) / (high - low), 0, 1)
        assert inspect_image(path.read_bytes(), model).score == pytest.approx(wanted, abs=0.005)


@pytest.mark.long
def test_each_tile_is_judged_by_the_product_that_fits_it(parts: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, part=InspectedPart(tiles=TileSpec(grid=(2, 1))))
    test_each_product_has_a_map(train(parts / "good", options), tmp_path)


@pytest.mark.long
def test_the_graph_takes_the_product_that_fits_best(result: TrainingResult) -> None:
    """Batches too: each image gets the map of its own product."""
    from models.runtime import make_session
    from models.training.graphs import anomaly_graph

    best, good = result.best, result.best.fit.model
    session = make_session(anomaly_graph(best.fit.recipe, "grey", good).SerializeToString(), 1)
    images = [plate(500 + number, has_hole=number % 2 == 0) for number in range(4)]
    pixels = np.stack([cv2.resize(each, (224, 224)) for each in images])[:, None]
    [maps] = session.run(None, {"image": pixels})
    [features] = FeatureExtractorSession(best.extractor).run(pixels)
    np.testing.assert_allclose(maps.reshape(4, -1), good.distances(features), atol=0.02)
    own = [replace(good, products=(good.products[n],), scales=(Scale(),)).distances(features[n::2]) for n in (0, 1)]
    for number, distances in enumerate(own):
        scale = good.scales[number]
        np.testing.assert_allclose(maps[number::2].reshape(2, -1), (distances - scale.middle) / scale.spread, atol=0.02)


class FeatureExtractorSession:
    """Features of a batch of finished pixels."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        from models.runtime import make_session
        from models.training.graphs import feature_graph

        self._session = make_session(feature_graph(extractor.recipe, extractor.colour).SerializeToString(), 1)

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        return [found.transpose(1, 0, 2) for found in self._session.run(None, {"image": pixels})]


@pytest.mark.long
def test_defects_are_seen_in_both_products(result: TrainingResult, tmp_path: Path) -> None:
    model = write_package(result, tmp_path / "model", OPTIONS)

    def scores(kinds: bool, *, defective: bool) -> list[float]:
        found = []
        for number in range(800, 812):
            image = plate(number, has_hole=kinds)
            if defective:
                image = add_defect(image, "speck", 0.12, np.random.default_rng(number))
            score = inspect_image(cv2.imencode(".png", image)[1].tobytes(), model).score
            assert score is not None
            found.append(score)
        return found

    for has_hole in (True, False):
        good, defective = scores(has_hole, defective=False), scores(has_hole, defective=True)
        assert np.median(defective) > np.quantile(good, 0.9)


def test_one_product_is_judged_as_before() -> None:
    patches = np.random.default_rng(1).normal(size=(5, 4, 3)).astype(np.float32)
    gaussians = Gaussians(np.zeros((4, 3), np.float32), np.tile(np.eye(3, dtype=np.float32), (4, 1, 1)))
    found = GoodParts((gaussians,), (Scale(),)).distances(patches)
    np.testing.assert_array_equal(found, gaussians.distances(patches))


def test_defective_parts_lie_beside_the_products(tmp_path: Path) -> None:
    write(tmp_path / "all" / "ok", 12)
    (tmp_path / "all" / "crack").mkdir()
    cv2.imwrite(
        str(tmp_path / "all" / "crack" / "1.png"), add_defect(good_part(1), "speck", 0.1, np.random.default_rng(1))
    )
    folder = TrainingFolder.read(tmp_path / "all", by_product=True)
    assert sorted(set(folder.products.values())) == ["drilled", "plain"]
    assert {name: len(paths) for name, paths in folder.defects.items()} == {"crack": 1}
    assert set(folder.products) == set(folder.good)


@pytest.mark.parametrize(
    ("counts", "line"), [((12, 0), "of one product"), ((12, 3), "3 different images of good parts")]
)
def test_too_little_for_products_ends_in_a_line(counts: tuple[int, int], line: str, tmp_path: Path) -> None:
    for name, count in zip("ab", counts, strict=True):
        (tmp_path / name).mkdir()
        for number in range(count):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), plate(number, has_hole=name == "b"))
    options = replace(OPTIONS, good=("a",) if counts[1] == 0 else ("a", "b"))
    with pytest.raises(SettingsError, match="is in no folder of a product"):
        train(tmp_path, options)
    with pytest.raises(SettingsError, match=line):
        train(tmp_path, replace(OPTIONS, good=(".",)))

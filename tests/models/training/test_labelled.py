"""Images of defective parts are learned from, and the figures are of images that were not learned."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models import inspect_image, load_model
from models.explain import heat_map
from models.training.auroc import auroc
from models.training.labelled import Costs, cheapest_limit, fit_head
from models.training.labelled_tiles import LabelledImages, LabelledTiles
from models.training.limits import rejected
from models.training.result import TrainingResult
from models.training.synthetic import add_defect
from models.training.train import TrainingOptions, train
from models.training.write_package import write_package
from schemas import Verdict
from tests.support.parts import good_part

#: Time for one recipe only.
OPTIONS = TrainingOptions(time_budget_s=0.001)


def faint(number: int, depth: float = 24.0) -> np.ndarray:
    """Return a defective part: a small dent, as bright as the shadows that some good parts have."""
    image = good_part(number).astype(np.float32)
    centre = (100 + int(np.random.default_rng(number).integers(-30, 30)), 112)
    dent = cv2.circle(np.zeros(image.shape, np.float32), centre, 6, depth, -1)
    return np.clip(image - cv2.GaussianBlur(dent, (0, 0), 2), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    for name, count, make in (
        ("good", 60, good_part),
        ("dent", 20, lambda number: faint(5000 + number)),
        ("hole", 10, lambda n: add_defect(good_part(7000 + n), "speck", 0.12, np.random.default_rng(n))),
    ):
        (root / name).mkdir()
        for number in range(count):
            cv2.imwrite(str(root / name / f"{number:03}.png"), make(number))
    return root


@pytest.fixture(scope="module")
def result(parts: Path) -> TrainingResult:
    return train(parts, OPTIONS)


@pytest.mark.long
def test_defects_are_learned_and_figures_have_intervals(result: TrainingResult) -> None:
    assert result.defects is not None
    assert result.learned is not None
    figures = result.learned.figures
    assert figures.auroc >= result.defects.figures.auroc
    assert figures.auroc > 0.95
    assert figures.auroc_bounds[0] < figures.auroc <= figures.auroc_bounds[1]
    assert (figures.escapes[1], figures.overkill[1]) == (30, 60)
    assert {kind: row[2] for kind, row in figures.kinds.items()} == {"dent": 20, "hole": 10}


def grained(image: np.ndarray, seed: int) -> np.ndarray:
    """Return a part with a grain that hides faint dents from the map."""
    return np.clip(image + np.random.default_rng(seed).normal(0, 8, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.long
def test_a_head_that_costs_less_is_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its AUROC is: here it would have to be better by more than there is."""
    monkeypatch.setattr("models.training.defects._TIE", -1.0)
    for kind, count in (("good", 60), ("dent", 20)):
        (tmp_path / kind).mkdir()
        for number in range(count):
            image = good_part(number) if kind == "good" else faint(5000 + number, 8.0)
            cv2.imwrite(str(tmp_path / kind / f"{number:03}.png"), grained(image, number + (kind == "dent") * 10**6))
    defects = train(tmp_path, OPTIONS).defects
    assert defects is not None
    assert defects.head is not None
    assert defects.figures.escapes[0] >= 15
    assert defects.head.figures.escapes[0] <= 5
    assert OPTIONS.costs.of(defects.head.figures) < OPTIONS.costs.of(defects.figures)
    assert defects.learned is defects.head


@pytest.mark.long
def test_the_package_has_head_and_map_in_one_graph(result: TrainingResult, parts: Path, tmp_path: Path) -> None:
    model = write_package(result, tmp_path / "model", OPTIONS)
    assert sorted(path.suffix for path in model.path.iterdir()) == [".html", ".json", ".onnx", ".yaml"]
    assert (model.manifest.task, model.manifest.good_label) == ("classification", "good")
    assert model.manifest.metrics["with_defects"]["auroc"][0] > 0.95
    new = [inspect_image(cv2.imencode(".png", good_part(n))[1].tobytes(), model) for n in range(900, 940)]
    defective = [inspect_image(cv2.imencode(".png", faint(n))[1].tobytes(), model) for n in range(900, 940)]
    assert sum(found.verdict is Verdict.NOT_OK for found in new) <= 8
    assert sum(found.verdict is Verdict.NOT_OK for found in defective) >= 32

    found = heat_map((parts / "hole" / "000.png").read_bytes(), load_model(model.path))
    assert found is not None
    assert found.kind == "anomaly"
    assert found.values.max() > 0.5


@pytest.mark.long
def test_the_graph_has_the_scores_of_the_training(result: TrainingResult, tmp_path: Path) -> None:
    from models.training.features import PooledExtractor, read_image
    from models.training.products import scores_of

    model = write_package(result, tmp_path / "model", OPTIONS)
    assert result.learned is not None
    best, head = result.best, result.learned.head
    pooled = PooledExtractor(best.extractor.recipe, best.extractor.colour, best.extractor.spec)
    for path in result.paths[:3]:
        image = read_image(path, best.extractor.spec)
        distances = best.fit.model.distances(best.extractor.features(image))
        logit = head.logits(pooled.features(image)[0], scores_of(distances)[0])
        score = inspect_image(path.read_bytes(), model).score
        assert score == pytest.approx(1 / (1 + np.exp(-logit)), abs=0.005)


def test_noise_is_not_learned() -> None:
    """In-sample, 300 features of noise tell 40 images apart; out of fold they do not."""
    rng = np.random.default_rng(1)

    def images(count: int, shift: float) -> LabelledImages:
        pooled = rng.normal(0, 30, (count, 300)).astype(np.float32)
        return LabelledImages(pooled, rng.normal(shift, 1, count), np.arange(count) % 5, np.arange(count))

    fit = fit_head(images(100, 0.0), images(40, 0.0), ["noise"] * 40, Costs(1.0, 0.02), 4.0)
    assert 0.35 < fit.figures.auroc < 0.65
    assert fit.head.map_weight >= 0


def test_a_score_that_helps_is_used() -> None:
    rng = np.random.default_rng(2)
    good = LabelledImages(
        rng.normal(0, 1, (100, 5)).astype(np.float32), rng.normal(0, 1, 100), np.arange(100) % 5, np.arange(100)
    )
    bad = LabelledImages(
        rng.normal(0, 1, (30, 5)).astype(np.float32), rng.normal(3, 1, 30), np.arange(30) % 5, np.arange(30)
    )
    fit = fit_head(good, bad, ["shifted"] * 30, Costs(1.0, 0.02), 4.0)
    assert fit.figures.auroc > 0.95
    assert fit.head.map_weight > 0


def test_what_the_map_alone_rejects_is_rejected_by_a_head_that_has_not_seen_such_defects() -> None:
    """The map does not see the defects that are learned, and gets no weight; it still finds other ones."""
    rng = np.random.default_rng(3)

    def images(count: int, shift: float) -> LabelledImages:
        pooled = rng.normal(0, 1, (count, 5)).astype(np.float32)
        pooled[:, 0] += shift
        return LabelledImages(pooled, rng.normal(0, 1, count) - shift / 8, np.arange(count) % 5, np.arange(count))

    good, limit = images(100, 0.0), 2.5
    for shift in (8.0, 0.0):  # defects that the head sees, and such that neither sees
        fit = fit_head(good, images(30, shift), ["faint"] * 30, Costs(0.2, 0.02), limit)
        scores = np.array([limit - 0.01, limit, 10.0])
        found = fit.head.logits(np.zeros((3, 5)), scores)
        assert rejected(found, 0.0).tolist() == [False, True, True]
        (count, all_good) = fit.figures.overkill
        assert count >= int((good.map_scores >= limit).sum())
        assert count <= 0.05 * all_good


def tiles_of_images(count: int, seed: int, *, is_defective: bool) -> LabelledImages:
    """Return images of six tiles; one tile of a defective image has the defect. The map hardly sees it."""
    rng = np.random.default_rng(seed)
    pooled, owners = rng.normal(0, 1, (6 * count, 20)), np.repeat(np.arange(count), 6)
    scores = rng.normal(0, 1, 6 * count)
    if is_defective:
        tiles = 6 * np.arange(count) + rng.integers(0, 6, count)
        pooled[tiles, :3] += 3.0
        scores[tiles] += 1.5
    return LabelledImages(pooled.astype(np.float16), scores, np.arange(count) % 5, owners)


@pytest.mark.parametrize("most", [2500, 120])
def test_of_a_defective_image_the_tile_with_the_defect_is_learned(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr("models.training.labelled_tiles.GOOD_TILES", most)
    good, defective = (tiles_of_images(count, count, is_defective=count == 40) for count in (100, 40))
    by_map = [np.maximum.reduceat(each.map_scores, np.arange(0, len(each.map_scores), 6)) for each in (good, defective)]
    fit = fit_head(good, defective, ["hole"] * 40, Costs(1.0, 0.02), 4.0)
    assert auroc([*by_map[0], *by_map[1]], [False] * 100 + [True] * 40) < 0.85
    assert fit.figures.auroc > 0.95
    assert fit.head.weights[:3].min() > 2 * np.abs(fit.head.weights[3:]).max()
    assert (fit.figures.escapes[1], fit.figures.overkill[1]) == (40, 100)


def test_good_tiles_are_the_highest_and_a_spread_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.labelled_tiles.GOOD_TILES", 20)
    good = tiles_of_images(10, 1, is_defective=False)
    tiles = LabelledTiles.of(good, tiles_of_images(4, 2, is_defective=True))
    chosen = tiles.good_to_learn()
    assert len(chosen) <= 20
    assert chosen.max() < 60
    assert set(tiles.most_suspicious(tiles.map_scores)[:10].tolist()) <= set(chosen.tolist())
    assert len(set((chosen // 6).tolist())) == 10


def test_one_image_with_a_feature_far_outside_does_not_spoil_the_head() -> None:
    """A feature that hardly varies is thousands of deviations away in one good image, and more in a new one."""
    rng = np.random.default_rng(3)

    def images(count: int, shift: float) -> LabelledImages:
        pooled = rng.normal(shift, 1, (count, 5)).astype(np.float32)
        pooled[:, 0] = rng.normal(shift * 1e-3, 1e-3, count)
        return LabelledImages(pooled, rng.normal(shift, 1, count), np.arange(count) % 5, np.arange(count))

    good, bad = images(100, 0.0), images(30, 2.0)
    good.pooled[3, 0] = 50.0
    fit = fit_head(good, bad, ["shifted"] * 30, Costs(1.0, 0.02), 4.0)
    assert fit.head.weights[1:].min() > 0
    ordered = np.sort(fit.good_logits)
    assert ordered[-1] - np.median(ordered) < 3 * (ordered[-2] - np.median(ordered))
    new = fit.head.standardised(good.pooled[0] + np.array([1000.0, 0, 0, 0, 0]))
    assert np.abs(new).max() <= 5


def test_kinds_that_were_not_shown_are_not_accepted_in_a_wide_gap() -> None:
    """One kind of defect far above the good parts: the limit stays beside these, or lets as many go as allowed."""
    good, shown = np.arange(100.0), np.full(10, 1000.0)
    assert cheapest_limit(good, shown, 1.0) < 200
    assert 99 <= Costs(1.0, 0.0).limit(good, shown) < 200
    assert 90 < Costs(1.0, 0.1).limit(good, shown) < 90.1
    assert Costs(100.0, 0.0).limit(good, np.array([50.0, 1000.0])) < 50.0  # the costs want more


@pytest.mark.parametrize(("weight", "escapes", "overkill"), [(100.0, 0, 2), (0.01, 2, 0)])
def test_the_threshold_follows_the_costs(weight: float, escapes: int, overkill: int) -> None:
    good, defective = np.array([0.0, 1.0, 3.0, 5.0]), np.array([2.0, 4.0, 6.0, 7.0])
    limit = cheapest_limit(good, defective, weight)
    assert (int((defective < limit).sum()), int((good >= limit).sum())) == (escapes, overkill)

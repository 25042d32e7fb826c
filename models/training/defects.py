"""Images of defective parts: an honest test of the model of good parts, and examples for the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.image_folder import read_image_file
from models.images import image_header
from models.input_text import image_error_text
from models.training.anomaly_fit import AnomalyFit
from models.training.blocks import BlockKind, neighbour_folds
from models.training.features import FeatureExtractor, PooledExtractor, in_threads
from models.training.labelled import FEWEST_DEFECTS, Costs, HeadFit, LabelledFigures, fit_head
from models.training.labelled_tiles import LabelledImages
from models.training.read_images import OnTrainingProgress, count_tiles, digest_of
from models.training.survey import MOST_IMAGES, ImageForm, Survey, TrainingFolder, has_colour, sampled

_TilesOfImage = tuple[NDArray[np.floating[Any]], NDArray[np.float64]]

#: AUROC by which two models may differ without being told apart.
_TIE = 0.01
#: Most tiles that are learned from, for an input of this many pixels a side; for a larger one fewer.
_MOST_TILES, _TILE_SIDE = 16_000, 224


@dataclass(slots=True)
class DefectTest:
    """Result of the images of defective parts.

    Parameters
    ----------
    paths, kinds, scores
        Images, their kinds of defects, and the scores of the model of good parts.
    tile_scores, good_tile_scores
        Scores of the tiles of each image, and of each good part; None if the model learned from a sample of its tiles.
    good_scores
        Scores of the good parts, by models that have seen other images of their lots: defective parts are of lots that
        the models have seen too.
    figures
        Figures of the model of good parts, which has seen no defect. The overkill is that of images outside of their
        block.
    head
        Fit of the head; None if there are too few images to learn from.
    is_cheaper
        True if the model with the head costs less than that of good parts, each at its own threshold.
    head_good, head_defective
        Rows of the good and of the defective images that the head learned from: all of them, or with many tiles an even
        sample.
    """

    paths: list[Path]
    kinds: list[str]
    scores: NDArray[np.float64]
    good_scores: NDArray[np.float64]
    figures: LabelledFigures
    tile_scores: list[NDArray[np.float64]] = field(default_factory=list)
    good_tile_scores: list[NDArray[np.float64]] | None = None
    head: HeadFit | None = None
    is_cheaper: bool = False
    head_good: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    head_defective: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def learned(self) -> HeadFit | None:
        """The head, unless it is worse than the model of good parts alone, by its AUROC and by its costs."""
        if self.head is None or self.is_cheaper or self.head.figures.auroc >= self.figures.auroc - _TIE:
            return self.head
        return None

    @property
    def packaged_figures(self) -> LabelledFigures:
        """Figures of the model that the package has."""
        return self.figures if self.learned is None else self.learned.figures


@dataclass(frozen=True, slots=True)
class GoodImages:
    """Images of good parts that the model was fitted to, with their blocks and digests.

    ``unmatched`` is the number of further ones that cannot be aligned: they are rejected.
    """

    paths: Sequence[Path]
    blocks: NDArray[np.int64]
    block_kind: BlockKind
    digests: frozenset[bytes]
    unmatched: int = 0


def score_defects(
    folder: TrainingFolder,
    good: GoodImages,
    extractor: FeatureExtractor,
    fit: AnomalyFit,
    survey: Survey,
    report: OnTrainingProgress,
    threads: int,
) -> DefectTest | None:
    """Score the images of defective parts by the model of good parts; None if no image can be read."""
    found = _read(folder, good, extractor, fit, survey, report, threads)
    if not found:
        return None
    paths, kinds, scores = [list(each) for each in zip(*found, strict=True)]
    values, of_good = np.array([each.max() for each in scores]), fit.random_scores()
    good_scores = fit.scores if of_good is None else np.array([each.max() for each in of_good])
    figures = LabelledFigures.of(good_scores, values, kinds, fit.limit, fit.limit)
    figures = replace(figures, overkill=(int(fit.rejected.sum()), len(fit.scores))).with_rejected(good.unmatched)
    return DefectTest(paths, kinds, values, good_scores, figures, scores, of_good)


def learn_defects(
    test: DefectTest,
    good: GoodImages,
    extractor: FeatureExtractor,
    fit: AnomalyFit,
    costs: Costs,
    report: OnTrainingProgress,
    threads: int,
) -> None:
    """Fit a head to the images of defective parts, if they are enough."""
    paths, kinds, scores = test.paths, test.kinds, test.tile_scores
    rows, defective = _affordable(good.paths, paths, extractor)
    if len(defective) < FEWEST_DEFECTS:
        return
    test.head_good, test.head_defective = rows, defective
    pooled = PooledExtractor(extractor.recipe, extractor.colour, extractor.spec)
    of_good = test.good_tile_scores

    def tiles_of(item: tuple[Path, int | None]) -> _TilesOfImage:
        """Return the features of the tiles of an image, and their scores if it is the good one of a row."""
        path, row = item
        image = extractor.read(path)
        # Features of many tiles take half the memory this way.
        features: NDArray[np.floating[Any]] = pooled.features(image)
        if extractor.spec.tiles is not None:
            features = features.astype(np.float16)
        if row is None:
            return features, np.empty(0)
        return features, fit.unseen_score(row, extractor.features(image)) if of_good is None else of_good[row]

    items = [*((good.paths[row], int(row)) for row in rows), *((paths[row], None) for row in defective)]
    found_tiles = []
    for done, each in enumerate(in_threads(tiles_of, items, threads)):
        report("learning from defects", done, len(items))
        found_tiles.append(each)
    report("fitting to defects", 0, 0)
    # Lots stay together.
    folds = good.blocks[rows] if good.block_kind == "folder" else neighbour_folds(len(rows))
    learned_kinds = [kinds[row] for row in defective]
    of_defective = [
        (features, scores[row]) for (features, _), row in zip(found_tiles[len(rows) :], defective, strict=True)
    ]
    head = fit_head(
        LabelledImages.of(found_tiles[: len(rows)], folds),
        LabelledImages.of(of_defective, _folds_by_kind(learned_kinds) % (folds.max() + 1)),
        learned_kinds,
        costs,
        fit.limit,
    )
    test.head = replace(head, figures=head.figures.with_rejected(good.unmatched))
    test.is_cheaper = costs.of(test.head.figures) < costs.of(test.figures)


def _affordable(
    good: Sequence[Path], defective: Sequence[Path], extractor: FeatureExtractor
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of good and of defective images whose tiles fit into the memory and time for learning."""
    tiles = count_tiles([*good, *defective], extractor.spec)
    images = _MOST_TILES * _TILE_SIDE**2 // (tiles * extractor.recipe.size**2)
    if tiles == 1 or len(good) + len(defective) <= images:
        return np.arange(len(good)), np.arange(len(defective))
    few = min(len(defective), images // 2)
    return (
        np.array(sampled(range(len(good)), max(1, images - few)), np.int64),
        np.array(sampled(range(len(defective)), max(1, few)), np.int64),
    )


def _read(
    folder: TrainingFolder,
    good: GoodImages,
    extractor: FeatureExtractor,
    fit: AnomalyFit,
    survey: Survey,
    report: OnTrainingProgress,
    threads: int,
) -> list[tuple[Path, str, NDArray[np.float64]]]:
    """Return path, kind and scores of the tiles of each image that can be used."""
    listed = [(path, kind) for kind, paths in folder.defects.items() for path in paths]
    chosen, learned, seen = sampled(listed, MOST_IMAGES), good.digests, set[bytes]()

    def read(item: tuple[Path, str]) -> tuple[bytes, NDArray[np.float64], ImageForm] | str:
        try:
            image = extractor.read(item[0])
            encoding = image_header(read_image_file(item[0])).encoding
            form = ImageForm(encoding, image.frame_wh, has_colour(image.pixels))
        except (ImageError, OSError) as error:
            return image_error_text(error)
        if image.fault:
            return image.fault
        patches = extractor.features(image)
        return digest_of(patches, image, extractor.spec), fit.score(patches), form

    usable: list[tuple[Path, str, NDArray[np.float64]]] = []
    for done, ((path, kind), found) in enumerate(zip(chosen, in_threads(read, chosen, threads), strict=True)):
        report("scoring defective parts", done, len(chosen))
        if isinstance(found, str):
            survey.broken.append((path, found))
        elif found[0] in learned:
            survey.in_both += 1
        elif found[0] in seen:
            survey.repeated += 1
        else:
            seen.add(found[0])
            survey.forms[found[2]] += 1
            usable.append((path, kind, found[1]))
    return usable


def _folds_by_kind(kinds: Sequence[str]) -> NDArray[np.int64]:
    """Return the fold of each image; every kind is spread over the folds."""
    folds, names = np.empty(len(kinds), np.int64), np.array(kinds)
    for number, kind in enumerate(sorted(set(kinds))):
        mine = names == kind
        folds[mine] = neighbour_folds(int(mine.sum()), seed=number + 1)
    return folds

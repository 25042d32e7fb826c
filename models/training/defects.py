"""Images of defective parts: an honest test of the model of good parts, and examples for the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.training.anomaly_fit import AnomalyFit
from models.training.blocks import BlockKind, neighbour_folds
from models.training.features import FeatureExtractor, PooledExtractor, in_threads, read_image
from models.training.labelled import FEWEST_DEFECTS, HeadFit, LabelledFigures, LabelledImages, fit_head
from models.training.read_images import OnTrainingProgress, digest_of
from models.training.survey import MOST_IMAGES, Survey, TrainingFolder, sampled

#: AUROC by which two models may differ without being told apart.
_TIE = 0.01


@dataclass(slots=True)
class DefectTest:
    """Result of the images of defective parts.

    Parameters
    ----------
    paths, kinds, scores
        Images, their kinds of defects, and the scores of the model of good parts.
    good_scores
        Scores of the good parts, by models that have seen other images of their lots: defective parts are of lots that
        the models have seen too.
    figures
        Figures of the model of good parts, which has seen no defect. The overkill is that of images outside of their
        block.
    head
        Fit of the head; None if there are too few images to learn from, or the recipe does not, see `learns_defects`.
    """

    paths: list[Path]
    kinds: list[str]
    scores: NDArray[np.float64]
    good_scores: NDArray[np.float64]
    figures: LabelledFigures
    head: HeadFit | None = None

    @property
    def learned(self) -> HeadFit | None:
        """The head, unless it is worse than the model of good parts alone, which is one of its parts."""
        is_worse = self.head is None or self.head.figures.auroc < self.figures.auroc - _TIE
        return None if is_worse else self.head

    @property
    def packaged_figures(self) -> LabelledFigures:
        """Figures of the model that the package has."""
        return self.figures if self.learned is None else self.learned.figures


@dataclass(frozen=True, slots=True)
class GoodImages:
    """Images of good parts that the model was fitted to, with their blocks and digests."""

    paths: Sequence[Path]
    blocks: NDArray[np.int64]
    block_kind: BlockKind
    digests: frozenset[bytes]


def learn_defects(
    folder: TrainingFolder,
    good: GoodImages,
    extractor: FeatureExtractor,
    fit: AnomalyFit,
    escape_weight: float,
    survey: Survey,
    report: OnTrainingProgress,
    threads: int,
) -> DefectTest | None:
    """Score the images of defective parts, and fit a head if they are enough; None if no image can be read."""
    found = _read(folder, good, extractor, fit, survey, report, threads)
    if not found:
        return None
    paths, kinds, scores = [list(each) for each in zip(*found, strict=True)]
    values, good_scores = np.array(scores), fit.random_scores()
    figures = LabelledFigures.of(good_scores, values, kinds, fit.limit, fit.limit)
    figures = replace(figures, overkill=(int((fit.scores >= fit.limit).sum()), len(fit.scores)))
    test = DefectTest(paths, kinds, values, good_scores, figures)
    if len(paths) >= FEWEST_DEFECTS and learns_defects(extractor):
        pooled = PooledExtractor(extractor.recipe, extractor.colour, extractor.spec)

        def features(path: Path) -> NDArray[np.float32]:
            return pooled.features(read_image(path, extractor.spec))

        rows = []
        for done, row in enumerate(in_threads(features, [*good.paths, *paths], threads)):
            report("learning from defects", done, len(good.paths) + len(paths))
            rows.append(row)
        table, count = np.stack(rows), len(good.paths)
        # Lots stay together.
        folds = good.blocks if good.block_kind == "folder" else neighbour_folds(count)
        test.head = fit_head(
            LabelledImages(table[:count], good_scores, folds),
            LabelledImages(table[count:], values, _folds_by_kind(kinds) % (folds.max() + 1)),
            kinds,
            escape_weight,
        )
    return test


def learns_defects(extractor: FeatureExtractor) -> bool:
    """Return True if a recipe can learn from defective parts.

    Of tiles, nothing says which one is defective. A recipe of pixels has no features of the whole image.
    """
    return extractor.spec.tiles is None and not extractor.recipe.is_of_pixels


def _read(
    folder: TrainingFolder,
    good: GoodImages,
    extractor: FeatureExtractor,
    fit: AnomalyFit,
    survey: Survey,
    report: OnTrainingProgress,
    threads: int,
) -> list[tuple[Path, str, float]]:
    """Return path, kind and score of each image that can be used."""
    listed = [(path, kind) for kind, paths in folder.defects.items() for path in paths]
    chosen, learned, seen = sampled(listed, MOST_IMAGES), good.digests, set[bytes]()

    def read(item: tuple[Path, str]) -> tuple[bytes, float] | str:
        try:
            image = extractor.read(item[0])
        except (ImageError, OSError) as error:
            return str(error)
        if image.fault:
            return image.fault
        patches = extractor.features(image)
        return digest_of(patches, image, extractor.spec), fit.score(patches)

    usable: list[tuple[Path, str, float]] = []
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
            usable.append((path, kind, found[1]))
    return usable


def _folds_by_kind(kinds: Sequence[str]) -> NDArray[np.int64]:
    """Return the fold of each image; every kind is spread over the folds."""
    folds, names = np.empty(len(kinds), np.int64), np.array(kinds)
    for number, kind in enumerate(sorted(set(kinds))):
        mine = names == kind
        folds[mine] = neighbour_folds(int(mine.sum()), seed=number + 1)
    return folds

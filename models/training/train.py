"""Training of a model package from a folder of images: numpy, onnx and ONNX Runtime only.

Good parts are enough. The steps: read the images, fit a few recipes, test each with synthetic defects on images that it
has not seen, take the best one that is quick enough, and write the package.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.training.anomaly_fit import AnomalyFit, SyntheticResult
from models.training.auroc import auroc
from models.training.blocks import BlockKind, assign_blocks, conformal_limit
from models.training.features import Colour, DecodedImage, FeatureExtractor, in_threads, input_spec, read_image
from models.training.graphs import Recipe
from models.training.survey import Survey, TrainingFolder, has_colour, sampled
from models.training.synthetic import KINDS, SIZES
from schemas.errors import SettingsError

OnTrainingProgress = Callable[[str, int, int], object]

#: Recipes that are tried, in this order.
RECIPES = (
    Recipe("places", 224, ("s2", "s4"), 14, 100),
    Recipe("surface", 224, ("s2", "s4"), 28, 100, is_alike=True),
    Recipe("whole", 224, ("last",), 1, 200),
    Recipe("fine surface", 448, ("s2", "s4"), 56, 100, is_alike=True),
)
#: Fewest good images; with fewer, neither the Gaussians nor the limit mean anything.
FEWEST_IMAGES = 10
#: Good images that get synthetic defects.
_TESTED = 16
#: Images that decide if a product has colour.
_LOOKED_AT = 12
#: Difference of two AUROC figures that synthetic defects do not tell apart: the earlier recipe is taken.
_TIE = 0.02
#: Least cosine of two images that can hardly be told apart.
_ALIKE = 0.999
#: A held-out lot with scores this much above those of a random fold: the images show too few lots.
_LOT_RATIO = 1.10
#: Share of synthetic defects of a size that a useful model finds.
_LEAST_FOUND = 0.6


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Options of a training.

    Parameters
    ----------
    overkill
        Share of good parts that may be rejected.
    max_ms
        Longest time of an inspection on one core, in ms; recipes that take longer are not tried.
    time_budget_s
        Time for the whole training, in seconds; recipes that would exceed it are not tried.
    threads
        Images in work at the same time.
    """

    overkill: float = 0.02
    max_ms: float = 100.0
    time_budget_s: float = 300.0
    threads: int = 2


@dataclass(slots=True)
class TriedRecipe:
    """Recipe that was tried, with its fit, its self-test and the time of one image on one core."""

    extractor: FeatureExtractor
    fit: AnomalyFit
    synthetic: list[SyntheticResult]
    image_ms: float

    @property
    def quality(self) -> float:
        """Mean AUROC over all kinds and sizes of synthetic defects."""
        return float(np.mean([result.auroc for result in self.synthetic]))


@dataclass(slots=True)
class TrainingResult:
    """Result of a training.

    Parameters
    ----------
    best
        Chosen recipe.
    tried
        All recipes that were tried.
    left_out
        Recipes that were not tried, and why.
    survey
        Findings about the images.
    paths, blocks
        Images that were learned from, and the block of each.
    block_kind
        What blocks were made of.
    lot_ratio
        Median score of held-out blocks over that of held-out random folds.
    expected_overkill
        Share of good parts of another lot that the limit of random folds would reject.
    labelled_auroc
        AUROC for each folder of defective images, and for all; empty without such folders.
    """

    best: TriedRecipe
    tried: list[TriedRecipe]
    left_out: list[tuple[str, str]]
    survey: Survey
    paths: list[Path]
    blocks: NDArray[np.int64]
    block_kind: BlockKind
    lot_ratio: float
    expected_overkill: float
    labelled_auroc: dict[str, float] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def warnings(self) -> list[str]:
        """Lines that say why the model may be no good, and what would help."""
        lines = []
        if self.lot_ratio > _LOT_RATIO:
            lines.append(
                f"parts of another lot look different (scores {self.lot_ratio:.2f} times as high): expect up to "
                f"{self.expected_overkill:.0%} overkill on them; add images of more lots, one folder for each"
            )
        for size in sorted({result.size for result in self.best.synthetic}, reverse=True):
            found = float(np.mean([result.found for result in self.best.synthetic if result.size == size]))
            if found < _LEAST_FOUND:
                lines.append(
                    f"finds {found:.0%} of synthetic defects of {size:.0%} of the image's side: for such small defects "
                    "bring the camera closer, or crop the images to the part"
                )
                break
        if self.survey.usable < 50:
            lines.append(f"{self.survey.usable} good images are few: 100 or more make a better model")
        return lines


def train(
    root: Path, options: TrainingOptions | None = None, on_progress: OnTrainingProgress | None = None
) -> TrainingResult:
    """Train a model on a folder of images, see `models.training.survey.TrainingFolder`.

    Parameters
    ----------
    on_progress
        Called with the stage, the steps that are done, and all steps of the stage.

    Raises
    ------
    SettingsError
        If the folder has too few images that can be read.
    """
    options, began = options or TrainingOptions(), time.monotonic()
    report = on_progress or (lambda stage, done, total: None)
    try:
        folder = TrainingFolder.read(root)
    except OSError as error:
        raise SettingsError(f"{root}: {error.strerror}") from error
    if not folder.good:
        raise SettingsError(f"{root} has no images; PNG, JPEG, TIFF and BMP files are read, in sub-folders too")
    survey = Survey(len(folder.good))
    files = sampled(folder.good)
    survey.colour = _colour(files)
    extractors, left_out = _affordable(RECIPES, len(files), survey.colour, options)
    paths, patches = _read(files, extractors, survey, report, options.threads)
    if len(paths) < FEWEST_IMAGES:
        reasons = f"; {survey.lines(root)[-1]}" if survey.broken else ""
        raise SettingsError(
            f"{root} has {len(paths)} different images of good parts; {FEWEST_IMAGES} are needed{reasons}"
        )
    blocks, block_kind = assign_blocks([path.relative_to(root) for path in paths])
    tested = sorted({int(index) for index in np.linspace(0, len(paths) - 1, _TESTED)})
    tried = []
    for number, (extractor, each) in enumerate(zip(extractors, patches, strict=True)):
        report(f"trying {extractor.recipe.name}", number, len(extractors))
        fit = AnomalyFit(extractor.recipe, each, blocks, options.overkill)
        images = ((index, read_image(paths[index], extractor.spec)) for index in tested)
        synthetic = fit.self_test(extractor, images, threads=options.threads)
        tried.append(TriedRecipe(extractor, fit, synthetic, _image_ms(extractor, read_image(paths[0], extractor.spec))))
    report("trying", len(extractors), len(extractors))
    enough = max(candidate.quality for candidate in tried) - _TIE
    best = next(candidate for candidate in tried if candidate.quality >= enough)
    random_scores = best.fit.random_scores()
    result = TrainingResult(
        best, tried, left_out, survey, paths, blocks, block_kind,
        lot_ratio=float(np.median(best.fit.scores) / max(np.median(random_scores), 1e-9)),
        expected_overkill=float((best.fit.scores > conformal_limit(random_scores, options.overkill)).mean()),
        labelled_auroc=_labelled(folder, best, report, options.threads),
    )  # fmt: skip
    result.took_s = time.monotonic() - began
    return result


def _colour(files: Sequence[Path]) -> Colour:
    spec = input_spec(RECIPES[0], "rgb")
    for path in sampled(files, _LOOKED_AT):
        try:
            if has_colour(read_image(path, spec).pixels):
                return "rgb"
        except (ImageError, OSError):
            continue  # named when all images are read
    return "grey"


def _affordable(
    recipes: Sequence[Recipe], count: int, colour: Colour, options: TrainingOptions
) -> tuple[list[FeatureExtractor], list[tuple[str, str]]]:
    """Choose the recipes that are quick enough, by a trial with one blank image."""
    chosen: list[FeatureExtractor] = []
    left_out: list[tuple[str, str]] = []
    planned_s = 0.0
    for recipe in recipes:
        blank = np.zeros((recipe.size, recipe.size) if colour == "grey" else (recipe.size, recipe.size, 3), np.uint8)
        extractor = FeatureExtractor(recipe, colour)
        image_ms = _image_ms(extractor, DecodedImage(blank, (recipe.size, recipe.size)))
        planned_s += image_ms / 1000 * (count + len(KINDS) * len(SIZES) * _TESTED)
        if chosen and image_ms > options.max_ms:
            left_out.append((recipe.name, f"an image takes {image_ms:.0f} ms, more than {options.max_ms:.0f}"))
        elif chosen and planned_s > options.time_budget_s:
            left_out.append((recipe.name, f"it would take more than the {options.time_budget_s:.0f} s allowed"))
        else:
            chosen.append(extractor)
    return chosen, left_out


def _image_ms(extractor: FeatureExtractor, image: DecodedImage) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        extractor.features(image)
        times.append(1000 * (time.perf_counter() - began))
    return float(np.median(times[1:]))


def _read(
    files: Sequence[Path],
    extractors: Sequence[FeatureExtractor],
    survey: Survey,
    report: OnTrainingProgress,
    threads: int,
) -> tuple[list[Path], list[NDArray[np.float16]]]:
    """Read each image once, and return the usable paths and the features of each recipe."""
    largest = max(extractors, key=lambda extractor: extractor.recipe.size)

    def read(path: Path) -> tuple[Path, DecodedImage, list[NDArray[np.float16]]] | tuple[Path, str]:
        try:
            image = read_image(path, largest.spec)
        except (ImageError, OSError) as error:
            return path, str(error)
        return path, image, [extractor.features(image) for extractor in extractors]

    paths: list[Path] = []
    rows: list[list[NDArray[np.float16]]] = [[] for _ in extractors]
    seen: set[bytes] = set()
    for done, found in enumerate(in_threads(read, files, threads)):
        report("reading images", done, len(files))
        if len(found) == 2:
            survey.broken.append(found)
            continue
        path, image, features = found
        digest = features[0].tobytes()
        if digest in seen:
            survey.repeated += 1
            continue
        seen.add(digest)
        if paths and _cosine(rows[0][-1], features[0]) > _ALIKE:
            survey.alike += 1
        survey.sizes[image.size_wh] += 1
        paths.append(path)
        for row, feature in zip(rows, features, strict=True):
            row.append(feature)
    report("reading images", len(files), len(files))
    return paths, [np.stack(row) if row else np.empty((0, 0, 0), np.float16) for row in rows]


def _cosine(first: NDArray[np.float16], second: NDArray[np.float16]) -> float:
    a, b = first.astype(np.float32).ravel(), second.astype(np.float32).ravel()
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))


def _labelled(folder: TrainingFolder, best: TriedRecipe, report: OnTrainingProgress, threads: int) -> dict[str, float]:
    """Score the images of defective parts."""
    areas: dict[str, float] = {}
    every: list[float] = []
    good = list(best.fit.scores)
    for name, paths in folder.defects.items():
        scores = list(_scores(sampled(paths, 200), best, threads))
        report("scoring defective parts", 0, 0)
        if scores:
            areas[name] = auroc([*good, *scores], [False] * len(good) + [True] * len(scores))
            every += scores
    if every:
        areas["all"] = auroc([*good, *every], [False] * len(good) + [True] * len(every))
    return areas


def _scores(paths: Sequence[Path], best: TriedRecipe, threads: int) -> Iterator[float]:
    def score(path: Path) -> float | None:
        try:
            image = read_image(path, best.extractor.spec)
        except (ImageError, OSError):
            return None
        return best.fit.score(best.extractor.features(image))

    return (found for found in in_threads(score, paths, threads) if found is not None)

"""Training of a model package from a folder of images: numpy, onnx and ONNX Runtime only.

Good parts are enough. The steps: read the images, fit a few recipes, test each with synthetic defects on images that it
has not seen, and take the best one that is quick enough. Images of defective parts, if there are any, test it, and
enough of them are learned from.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.image_folder import list_images
from models.training.alignment import TrainingAlignment, find_alignment
from models.training.anomaly_fit import AnomalyFit
from models.training.blocks import by_product
from models.training.defects import DefectTest, GoodImages, learn_defects, score_defects
from models.training.features import WHOLE, FeatureExtractor, InspectedPart, input_spec
from models.training.labelled import FEWEST_DEFECTS, Costs
from models.training.read_images import (
    TESTED_IMAGES,
    OnTrainingProgress,
    RecipeImages,
    affordable,
    count_tiles,
    find_colour,
    find_standardisation,
    measure_ms,
    read_images,
)
from models.training.recipe import Colour, Recipe
from models.training.result import TrainingResult
from models.training.survey import MOST_IMAGES, Survey, TrainingFolder, sampled
from models.training.synthetic import FINEST, KINDS, SIZES
from models.training.tried_recipe import TriedRecipe, best_recipe
from schemas.errors import SettingsError
from schemas.text import file_text

#: Recipes that are tried, in this order.
RECIPES = (
    Recipe("places", 224, ("s2", "s3"), 14, 120),
    Recipe("surface", 224, ("s2", "s3"), 28, 120, is_alike=True),
    Recipe("whole", 224, ("last",), 1, 200),
    Recipe("fine surface", 448, ("s2", "s3"), 56, 120, is_alike=True),
    Recipe("pixels", 1024, (), 512, 3, pool=8, widths=(3, 7)),
)
#: Fewest good images; with fewer, neither the Gaussians nor the limit mean anything.
FEWEST_IMAGES = 10


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
        Time for the whole training, in seconds; recipes that would exceed it are not tried, but one always is.
    threads
        Images in work at the same time.
    good
        Names of the folders of good parts, see `models.training.survey.TrainingFolder`.
    escape_cost
        Number of overkills that cost as much as one escape, for the threshold of a model that learned from defects. It
        is never above the one for ``overkill``.
    defect_share
        Share of defective parts on the line, for the same threshold. The folder does not tell it.
    by_product
        The folders of good parts have a folder for each product, and each product gets a map of its own.
    recipe
        Name of the one recipe to try; empty for all. The others depend on the time that a machine takes.
    part
        Part of each image that is inspected.
    """

    overkill: float = 0.02
    max_ms: float = 100.0
    time_budget_s: float = 300.0
    threads: int = 2
    good: tuple[str, ...] = ()
    escape_cost: float = 20.0
    defect_share: float = 0.01
    by_product: bool = False
    recipe: str = ""
    part: InspectedPart = WHOLE

    @property
    def costs(self) -> Costs:
        """Costs that the threshold of a model that learned from defects follows."""
        return Costs(self.escape_cost * self.defect_share / (1 - self.defect_share), self.overkill)


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
        folder = TrainingFolder.read(root, options.good, by_product=options.by_product)
    except OSError as error:
        raise SettingsError(f"{root}: {error.strerror}") from error
    if not folder.good:
        raise SettingsError(_no_images(root))
    survey = Survey(len(folder.good), loose=folder.loose, notes=folder.notes)
    files = sampled(folder.good)
    survey.colour = find_colour(files, RECIPES[0], options.part)
    wanted, alignment, without = _with_alignment(files, survey.colour, options)
    if not all(each.is_of_pixels for each in wanted):
        standardisation = find_standardisation(files, RECIPES[0], survey.colour, options.part, report, options.threads)
        wanted = [each if each.is_of_pixels else replace(each, standardisation=standardisation) for each in wanted]
    lies_anyhow = bool(without) and _why_not_aligned(options) == ""
    extractors, left_out = affordable(
        wanted, survey.colour, len(files),
        len(KINDS) * (len(SIZES) + 1) * TESTED_IMAGES,
        max_ms=options.max_ms, time_budget_s=options.time_budget_s, part=options.part,
        tiles=count_tiles(files, input_spec(RECIPES[0], survey.colour, options.part)),
        defects=min(MOST_IMAGES, sum(map(len, folder.defects.values()))), alignment=alignment,
    )  # fmt: skip
    left_out += without
    paths, images = read_images(files, extractors, survey, report, options.threads)
    if len(paths) < FEWEST_IMAGES:
        reasons = "; left out {}: {}".format(*survey.broken[0]) if survey.broken else ""
        found = "1 different image" if len(paths) == 1 else f"{len(paths)} different images"
        raise SettingsError(f"{root} has {found} of good parts; {FEWEST_IMAGES} are needed{reasons}")
    names = [folder.products.get(path, "") for path in paths]
    products, blocks, block_kind = by_product([path.relative_to(root) for path in paths], names)
    _check_products(root, Counter(names))
    tried: list[tuple[TriedRecipe, RecipeImages]] = []
    for number, extractor in enumerate(extractors):
        report(f"trying {extractor.recipe.name}", number, len(extractors))
        of_images, unmatched = products[images[number].rows], len(images[number].unmatched)
        looked_at = len(of_images) + unmatched
        is_few = np.bincount(of_images, minlength=products.max() + 1).min() < FEWEST_IMAGES
        if unmatched and (is_few or (not options.recipe and unmatched > options.overkill * looked_at)):
            left_out.append((extractor.recipe.name, f"{unmatched} of {looked_at} images cannot be aligned"))
            continue
        if is_few:
            left_out.append((extractor.recipe.name, "it would learn from too few images of a product"))
            continue
        tried.append((_try(extractor, images[number], paths, blocks, products, options), images[number]))
    report("trying", len(extractors), len(extractors))
    if not tried:
        raise SettingsError("{}: the recipe {} cannot be used: {}".format(root, *left_out[-1]))

    def tested(candidate: TriedRecipe, its: RecipeImages) -> tuple[GoodImages, DefectTest | None, Survey]:
        good = GoodImages(
            [paths[row] for row in its.rows], blocks[its.rows], block_kind, frozenset(its.digests), len(its.unmatched)
        )
        found = Survey(survey.found)
        test = score_defects(folder, good, candidate.extractor, candidate.fit, found, report, options.threads)
        return good, test, found

    def learn(candidate: TriedRecipe, good: GoodImages, defects: DefectTest) -> None:
        learn_defects(defects, good, candidate.extractor, candidate.fit, options.costs, report, options.threads)

    best, its = best_recipe(tried, lies_anyhow=lies_anyhow)
    (good, defects, of_defects), reason = tested(best, its), ""
    if defects is not None:
        learn(best, good, defects)
    if defects is not None and len(defects.paths) >= FEWEST_DEFECTS:
        # Few images of defective parts tell little, and nothing about other defects: the other must be clearly better.
        for other, other_its in tried:
            if other is best:
                continue
            other_good, test, of_others = tested(other, other_its)
            if test is None or test.figures.auroc_bounds[0] <= defects.figures.auroc:
                continue
            learn(other, other_good, test)
            now, before = test.packaged_figures.auroc, defects.packaged_figures.auroc
            if now > before:
                reason = (
                    f"recipe {other.fit.recipe.name} was chosen because it tells the defective parts apart better than "
                    f"{best.fit.recipe.name}: AUROC {now:.3f} instead of {before:.3f}"
                )
                best, its, good, defects, of_defects = other, other_its, other_good, test, of_others
    survey.add(of_defects)
    if defects is not None and defects.learned is not None:
        best.measure_head(defects.learned.head, good.paths[0])
    result = TrainingResult(
        best, [candidate for candidate, _ in tried], left_out, survey, root, list(good.paths), good.blocks, block_kind,
        unmatched=its.unmatched, defects=defects, reason=reason, max_ms=options.max_ms,
        time_budget_s=options.time_budget_s,
        products=dict(sorted(Counter(names[row] for row in its.rows).items())) if folder.products else {},
    )  # fmt: skip
    result.took_s = time.monotonic() - began
    return result


def _with_alignment(
    files: list[Path], colour: Colour, options: TrainingOptions
) -> tuple[list[Recipe], TrainingAlignment | None, list[tuple[str, str]]]:
    """Return the recipes to try, the alignment for that of pixels, and the recipes that cannot be tried, with reasons.

    Raises
    ------
    SettingsError
        If the one recipe that was asked for cannot be tried.
    """
    wanted = [each for each in RECIPES if options.recipe in ("", each.name)]
    pixels = next((each for each in wanted if each.is_of_pixels), None)
    if pixels is None:
        return wanted, None, []
    found = _why_not_aligned(options) or find_alignment(files, input_spec(pixels, colour, options.part))
    if isinstance(found, str):
        if options.recipe:
            raise SettingsError(f"--recipe {pixels.name}: {found}")
        return [each for each in wanted if each is not pixels], None, [(pixels.name, found)]
    return [replace(each, channels=1) if each is pixels and colour == "grey" else each for each in wanted], found, []


def _why_not_aligned(options: TrainingOptions) -> str:
    """Return the reason why options rule an alignment out; empty if they do not."""
    if options.part.tiles is not None:
        return "it compares whole images, without tiles"
    if options.by_product:
        return "it aligns images to one picture, so to one product"
    if options.part.roi is not None and options.part.roi.polygon is not None:
        return "a polygon is not aligned"
    return ""


def _no_images(root: Path) -> str:
    others = list_images(root).others
    such = f" but {len(others)} other files, such as {file_text(others[0].name)}" if others else ""
    return f"{root} has no images{such}; PNG, JPEG, TIFF and BMP files are read, in sub-folders too"


def _check_products(root: Path, counts: Counter[str]) -> None:
    name, count = min(counts.items(), key=lambda item: item[1])
    if len(counts) > 1 and count < FEWEST_IMAGES:
        raise SettingsError(
            f"{root} has {count} different image{'' if count == 1 else 's'} of good parts of the product {name}; "
            f"{FEWEST_IMAGES} are needed"
        )


def _try(
    extractor: FeatureExtractor,
    images: RecipeImages,
    paths: list[Path],
    blocks: NDArray[np.int64],
    products: NDArray[np.int64],
    options: TrainingOptions,
) -> TriedRecipe:
    """Fit a recipe and test it with synthetic defects."""
    rows = images.rows
    fit = AnomalyFit(
        extractor.recipe, images.features, blocks[rows], options.overkill, images.owners, products[rows], images.shown
    )
    if images.is_sample:
        every = ((index, extractor.read(paths[row])) for index, row in enumerate(rows))
        fit.score_all_tiles(extractor, every, threads=options.threads)
    tested = sorted({int(index) for index in np.linspace(0, len(rows) - 1, TESTED_IMAGES)})
    synthetic, finest = (
        fit.self_test(
            extractor, ((index, extractor.read(paths[rows[index]])) for index in tested), threads=options.threads,
            sizes=sizes,
        )
        for sizes in (SIZES, (FINEST,))
    )  # fmt: skip
    image_ms = measure_ms(extractor, extractor.read(paths[rows[0]]))
    return TriedRecipe(extractor, fit, synthetic, finest, image_ms)

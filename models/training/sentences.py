"""Sentences about the result of a training, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.regions import region_of
from models.training.labelled import FEWEST_DEFECTS, LabelledFigures
from models.training.result import TrainingResult
from models.training.synthetic import FINEST, extent_of
from models.training.train import TrainingOptions
from models.wilson import wilson
from schemas.text import shown

#: Share of the picture that is not inspected, from which it is said.
_LEAST_UNKNOWN = 0.001


def recipe_lines(result: TrainingResult) -> Iterator[str]:
    """Yield a line for each recipe, and one for the products."""
    if result.products:
        counts = ", ".join(f"{shown(name)} ({count})" for name, count in result.products.items())
        yield f"a map for each product: {counts}; an image is judged by the one that fits it best"
    for candidate in result.tried:
        chosen = " (chosen)" if candidate is result.best else ""
        yield (
            f"recipe {candidate.fit.recipe.name}: AUROC {candidate.quality:.3f} on synthetic defects, "
            f"{candidate.image_ms:.0f} ms an image{chosen}"
        )
    if result.reason:
        yield result.reason
    best = result.best
    found = float(np.mean([each.found for each in best.finest]))
    [(size_wh, _)] = result.survey.sizes.most_common(1)
    pixels = extent_of(FINEST, region_of(size_wh, best.extractor.spec).wh)
    yield (
        f"finds {found:.0%} of synthetic defects of {FINEST:.0%} of the image's side, about {pixels} pixels; "
        "smaller ones were not tried"
    )
    if best.fit.recipe.standardisation is not None:
        yield (
            f"the mean brightness of good images differs, {best.fit.recipe.standardisation} of 255: each image is "
            "brought to the same brightness and contrast first, as far as good images differ"
        )
    alignment = best.extractor.alignment
    if alignment is not None:
        yield (
            f"images are aligned to one of them: parts lie up to {alignment.shift:.0f} pixels and "
            f"{alignment.degrees:.1f} degrees elsewhere, which is no defect to this model; a part further than "
            f"{alignment.spec.reach} pixels away is not decided, and rejected"
        )
        if result.unmatched:
            first = shown(result.unmatched[0].relative_to(result.root))
            yield (
                f"{len(result.unmatched)} of {result.overkill[1]} images of good parts cannot be aligned, such as "
                f"{first}: such parts are rejected, and count as overkill"
            )
        unknown = 1 - float(best.fit.model.products[0].is_known.mean())
        if unknown > _LEAST_UNKNOWN:
            yield (
                f"{unknown:.1%} of the picture is not inspected, at its edge: fewer than a quarter of the images show "
                "it; leave a margin around the part"
            )
    for name, why in result.left_out:
        yield f"recipe {name} was not tried: {why}"
    if len(result.paths) + len(result.unmatched) < result.survey.usable:
        yield f"recipe {result.best.fit.recipe.name} learned from {len(result.paths)} images, to save memory"


def good_only_line(result: TrainingResult, options: TrainingOptions) -> str:
    """Return the overkill of the model of good parts."""
    return (
        f"overkill {_share(*result.overkill)} on good images that the model has not seen, "
        f"{options.overkill:.1%} requested"
    )


def defect_lines(result: TrainingResult, options: TrainingOptions) -> Iterator[str]:
    """Yield lines about the images of defective parts: as a test of the model of good parts, then of the head."""
    defects = result.defects
    if defects is None:
        return
    yield f"learned from good parts only: {figures_line(defects.figures)}"
    yield from _kind_lines(defects.figures)
    if defects.head is None:
        number = len(defects.paths)
        yield (
            f"{number} different image{'' if number == 1 else 's'} of defective parts: a test only; "
            + (
                f"from {FEWEST_DEFECTS} on the model learns from them"
                if number < FEWEST_DEFECTS
                else "the images have too many tiles to learn from them"
            )
        )
        return
    yield (
        f"learned from defective parts too: {figures_line(defects.head.figures)}; {options.overkill:.1%} requested, or "
        f"more if it is worth it: an escape costs {options.escape_cost:g} overkills, and "
        f"{options.defect_share * 100:g}% of the parts are defective"
    )
    yield from _kind_lines(defects.head.figures)
    learned = len(defects.head_good), len(defects.head_defective)
    if learned != (len(result.paths), len(defects.paths)):
        yield f"learned from {learned[0]} good and {learned[1]} defective parts, because of the many tiles of each"
    if result.learned is None:
        yield "the package has learned from good parts only: the images of defective parts made it worse"


def figures_line(figures: LabelledFigures) -> str:
    """Return the figures of a model on labelled images, with intervals of 95 %."""
    low, high = figures.auroc_bounds
    return (
        f"AUROC {figures.auroc:.3f} ({low:.3f} to {high:.3f}), escapes {_share(*figures.escapes)}, "
        f"overkill {_share(*figures.overkill)}"
    )


def _kind_lines(figures: LabelledFigures) -> Iterator[str]:
    if len(figures.kinds) > 1:
        for kind, (area, missed, count) in figures.kinds.items():
            yield f"  {kind}: AUROC {area:.3f}, {missed} of {count} accepted"


def _share(count: int, total: int) -> str:
    low, high = wilson(count, total)
    return f"{count / total:.1%} ({low:.1%} to {high:.1%})"

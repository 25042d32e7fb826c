"""Reading of the images of a training: each file once, the features of all recipes, within bounds of memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.frame_pixels import FramePixels
from models.regions import Region
from models.training.features import WHOLE, Colour, FeatureExtractor, InspectedPart, in_threads, input_spec, read_image
from models.training.graphs import CHANNELS, Recipe
from models.training.survey import Survey, has_colour, sampled

OnTrainingProgress = Callable[[str, int, int], object]

#: Images that decide if a product has colour.
_LOOKED_AT = 12
#: Least cosine of two images that can hardly be told apart.
_ALIKE = 0.999
#: Most bytes of the features of a recipe. With more images, the recipe learns from an even sample of them.
_FEATURE_BYTES = 256 * 2**20


@dataclass(slots=True)
class RecipeImages:
    """Images that a recipe learns from: their indices among all images, and their features."""

    rows: NDArray[np.int64]
    features: NDArray[np.float16]


def find_colour(files: Sequence[Path], recipe: Recipe, part: InspectedPart = WHOLE) -> Colour:
    """Return ``rgb`` if one of some images has colour."""
    spec = input_spec(recipe, "rgb", part)
    for path in sampled(files, _LOOKED_AT):
        try:
            if has_colour(read_image(path, spec).pixels):
                return "rgb"
        except (ImageError, OSError):
            continue  # named when all images are read
    return "grey"


def measure_ms(extractor: FeatureExtractor, image: FramePixels) -> float:
    """Return the time of the features of an image, in ms: the median of four runs after a first one."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        extractor.features(image)
        times.append(1000 * (time.perf_counter() - began))
    return float(np.median(times[1:]))


def affordable(
    recipes: Sequence[Recipe],
    colour: Colour,
    images: int,
    tests: int,
    *,
    max_ms: float,
    time_budget_s: float,
    part: InspectedPart = WHOLE,
) -> tuple[list[FeatureExtractor], list[tuple[str, str]]]:
    """Choose the recipes that are quick enough, by a trial with one blank image.

    Parameters
    ----------
    images, tests
        Images to learn from, and images of the self-test of a recipe.

    Returns
    -------
    tuple
        Extractors of the chosen recipes, at least one; name and reason of the others.
    """
    chosen: list[FeatureExtractor] = []
    left_out: list[tuple[str, str]] = []
    planned_s = 0.0
    for recipe in recipes:
        blank = np.zeros((recipe.size, recipe.size) if colour == "grey" else (recipe.size, recipe.size, 3), np.uint8)
        extractor, size_wh = FeatureExtractor(recipe, colour, part), (recipe.size, recipe.size)
        image_ms = measure_ms(extractor, FramePixels(blank, size_wh, Region(0, 0, *size_wh)))
        planned_s += image_ms / 1000 * (images + tests)
        if chosen and image_ms > max_ms:
            left_out.append((recipe.name, f"an image takes {image_ms:.0f} ms, more than {max_ms:.0f}"))
        elif chosen and planned_s > time_budget_s:
            left_out.append((recipe.name, f"it would take more than the {time_budget_s:.0f} s allowed"))
        else:
            chosen.append(extractor)
    return chosen, left_out


def read_images(
    files: Sequence[Path],
    extractors: Sequence[FeatureExtractor],
    survey: Survey,
    report: OnTrainingProgress,
    threads: int,
) -> tuple[list[Path], list[RecipeImages]]:
    """Read each image once, and return the usable paths and the images of each recipe."""
    largest = max(extractors, key=lambda extractor: extractor.recipe.size)
    wanted = [_sample(extractor.recipe, len(files)) for extractor in extractors]

    def read(numbered: tuple[int, Path]) -> tuple[FramePixels, list[NDArray[np.float16] | None]] | str:
        number, path = numbered
        try:
            image = read_image(path, largest.spec)
        except (ImageError, OSError) as error:
            return str(error)
        return image, [
            extractor.features(image) if number in mine else None
            for extractor, mine in zip(extractors, wanted, strict=True)
        ]

    paths: list[Path] = []
    rows: list[list[int]] = [[] for _ in extractors]
    # Memory that is not written to is not taken.
    stored = [
        np.empty((len(mine), *_shape(each.recipe)), np.float16) for each, mine in zip(extractors, wanted, strict=True)
    ]
    seen: set[bytes] = set()
    before: NDArray[np.float32] | None = None
    for done, (path, found) in enumerate(zip(files, in_threads(read, enumerate(files), threads), strict=True)):
        report("reading images", done, len(files))
        if isinstance(found, str):
            survey.broken.append((path, found))
            continue
        image, features = found
        first = features[0]
        assert first is not None  # all images are read for the first recipe
        digest = digest_of(first)
        if digest in seen:
            survey.repeated += 1
            continue
        seen.add(digest)
        values = first.astype(np.float32).ravel()
        if before is not None and _cosine(before, values) > _ALIKE:
            survey.alike += 1
        before = values
        survey.sizes[image.frame_wh] += 1
        for mine, own, feature in zip(rows, stored, features, strict=True):
            if feature is not None:
                own[len(mine)] = feature
                mine.append(len(paths))
        paths.append(path)
    report("reading images", len(files), len(files))
    return paths, [
        RecipeImages(np.array(mine, np.int64), own[: len(mine)]) for mine, own in zip(rows, stored, strict=True)
    ]


def digest_of(features: NDArray[np.float16]) -> bytes:
    """Return a digest that only images with the same features share."""
    return hashlib.blake2b(np.ascontiguousarray(features).data, digest_size=16).digest()


def _shape(recipe: Recipe) -> tuple[int, int]:
    return recipe.places, min(recipe.channels, sum(CHANNELS[tap] for tap in recipe.taps))


def _sample(recipe: Recipe, count: int) -> frozenset[int]:
    """Return the numbers of the images that a recipe learns from."""
    places, channels = _shape(recipe)
    return frozenset(sampled(range(count), _FEATURE_BYTES // (2 * places * channels)))


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-9))

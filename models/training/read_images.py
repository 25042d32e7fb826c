"""Reading of the images of a training: each file once, the features of all recipes, within bounds of memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.frame_pixels import FramePixels, PreparedTile
from models.image_folder import read_image_file
from models.images import image_header
from models.input_spec import InputSpec
from models.input_text import image_error_text
from models.regions import Region, inspected_tiles, region_of
from models.training.alignment import TrainingAlignment
from models.training.features import WHOLE, FeatureExtractor, InspectedPart, in_threads, input_spec, read_image
from models.training.recipe import Colour, Recipe
from models.training.standardisation import Standardisation
from models.training.survey import ImageForm, Survey, has_colour, sampled
from schemas.records import Encoding

OnTrainingProgress = Callable[[str, int, int], object]

#: Images that decide if a product has colour.
_LOOKED_AT = 12
#: Images that decide if they are standardised, and most tiles of each.
_MEASURED, _MEASURED_TILES = 64, 16
#: Good images that get synthetic defects.
TESTED_IMAGES = 16
#: Least cosine of two images that can hardly be told apart.
_ALIKE = 0.999
#: Most bytes of the features of a recipe. With more images, the recipe learns from an even sample of them.
_FEATURE_BYTES = 256 * 2**20


@dataclass(slots=True)
class RecipeImages:
    """Images that a recipe learns from.

    Parameters
    ----------
    rows
        Their indices among all images.
    features
        ``(tiles of all of them, places, channels)`` float16.
    owners
        Index in ``rows`` of the image of each tile.
    shown
        Places that each of the tiles shows, ``(tiles of all of them, places)``; None: all of them. Only an aligned
        image may lack some.
    digests
        Digest of each image, see `digest_of`.
    is_sample
        True if not all tiles of an image are among the features.
    unmatched
        Images that cannot be aligned: the line rejects such parts.
    """

    rows: NDArray[np.int64] = field(init=False)
    features: NDArray[np.float16] = field(init=False)
    owners: NDArray[np.int64] = field(init=False)
    shown: NDArray[np.bool_] | None = None
    digests: list[bytes] = field(default_factory=list)
    is_sample: bool = False
    unmatched: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    """Features of an image for a recipe, the places that it shows, and its digest."""

    features: NDArray[np.float16]
    shown: NDArray[np.bool_]
    digest: bytes

    @classmethod
    def of(cls, image: FramePixels, extractor: FeatureExtractor, chosen: Sequence[int] | None) -> _Found:
        features = extractor.features(image, chosen)
        return cls(features, extractor.shown(image), digest_of(features, image, extractor.spec))


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


def find_standardisation(
    files: Sequence[Path],
    recipe: Recipe,
    colour: Colour,
    part: InspectedPart,
    report: OnTrainingProgress,
    threads: int,
) -> Standardisation | None:
    """Return the standardisation of good images; None if their brightness hardly varies."""
    spec, chosen = input_spec(recipe, colour, part), sampled(files, _MEASURED)

    def inputs(path: Path) -> list[NDArray[np.uint8]]:
        try:
            image = read_image(path, spec)
        except (ImageError, OSError):
            return []  # named when all images are read
        return [image.tile(tile, spec).tensor for tile in sampled(inspected_tiles(image.region, spec), _MEASURED_TILES)]

    def reported() -> Iterator[list[NDArray[np.uint8]]]:
        for done, found in enumerate(in_threads(inputs, chosen, threads)):
            report("measuring brightness", done, len(chosen))
            yield found

    return Standardisation.of(reported())


def measure_ms(
    extractor: FeatureExtractor, image: FramePixels, run: Callable[[PreparedTile], object] | None = None
) -> float:
    """Return the processor time of an image, in ms.

    It is the median of four runs of a tile after a first one. Other programs on the machine do not count.

    Parameters
    ----------
    run
        Function that runs a network on a tile; None: that of the features.
    """
    run = extractor.tile_features if run is None else run
    times, tiles = [], inspected_tiles(image.region, extractor.spec)
    for _ in range(5):
        began = time.process_time()
        run(image.tile(tiles[0], extractor.spec))
        times.append(1000 * (time.process_time() - began))
    aligning_ms = 0.0 if extractor.alignment is None else extractor.alignment.took_ms
    return len(tiles) * float(np.median(times[1:])) + aligning_ms


def count_tiles(files: Sequence[Path], spec: InputSpec) -> int:
    """Return the number of tiles of an image: of the first one that can be read."""
    for path in files:
        try:
            header = image_header(read_image_file(path))
            return len(inspected_tiles(region_of((header.width, header.height), spec), spec))
        except (ImageError, OSError):
            continue  # named when all images are read
    return 1


def affordable(
    recipes: Sequence[Recipe],
    colour: Colour,
    images: int,
    tests: int,
    *,
    max_ms: float,
    time_budget_s: float,
    part: InspectedPart = WHOLE,
    tiles: int = 1,
    defects: int = 0,
    alignment: TrainingAlignment | None = None,
) -> tuple[list[FeatureExtractor], list[tuple[str, str]]]:
    """Choose the recipes that are quick enough, by a trial with one blank image.

    Parameters
    ----------
    images, tests
        Images to learn from, and images of the self-test of a recipe.
    tiles
        Tiles of an image.
    defects
        Images of defective parts, which each recipe scores.
    alignment
        TrainingAlignment for recipes of pixels.

    Returns
    -------
    tuple
        Extractors of the chosen recipes, at least one; name and reason of the others.
    """
    chosen: list[FeatureExtractor] = []
    left_out: list[tuple[str, str]] = []
    # With tiles, images are read twice to score them, and a defect changes few tiles of an image.
    runs = images + tests if tiles == 1 else tiles * (2 * images + TESTED_IMAGES) + 4 * tests
    runs += tiles * defects
    planned_s = 0.0
    for recipe in recipes:
        blank = np.zeros((recipe.size, recipe.size) if colour == "grey" else (recipe.size, recipe.size, 3), np.uint8)
        size_wh = (recipe.size, recipe.size)
        aligned = alignment if recipe.is_of_pixels else None
        extractor = FeatureExtractor(recipe, colour, part, aligned)
        trial = FeatureExtractor(recipe, colour, alignment=aligned)
        tile_ms = measure_ms(trial, FramePixels(blank, size_wh, Region(0, 0, *size_wh)))
        image_ms = tiles * tile_ms
        planned_s += tile_ms / 1000 * runs
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
    shared = [each for each in extractors if each.alignment is None] or extractors
    largest = max(shared, key=lambda extractor: extractor.recipe.size)
    wanted = [_sample(extractor.recipe, len(files)) for extractor in extractors]
    most = [
        _most_rows(extractor.recipe) // max(1, len(mine)) for extractor, mine in zip(extractors, wanted, strict=True)
    ]

    def read(numbered: tuple[int, Path]) -> tuple[FramePixels, Encoding, list[_Found | str | None]] | str:
        number, path = numbered
        try:
            image = largest.read(path)
            tiles = len(inspected_tiles(image.region, largest.spec))
            read_for = {largest.spec.width: image}
            encoding = image_header(read_image_file(path)).encoding
            is_jpeg = encoding is Encoding.JPEG
            found: list[_Found | str | None] = []
            for extractor, mine, few in zip(extractors, wanted, most, strict=True):
                if number not in mine:
                    found.append(None)
                    continue
                size = extractor.spec.width
                # An aligned image is another one, and a worker decodes a JPEG at the scale that its model needs.
                if size not in read_for and (is_jpeg or extractor not in shared):
                    read_for[size] = extractor.read(path)
                own = read_for.get(size, image)
                found.append(own.fault or _Found.of(own, extractor, _some_tiles(tiles, few, number)))
        except (ImageError, OSError) as error:
            return image_error_text(error)
        return image, encoding, found

    paths: list[Path] = []
    found_by_recipe = [
        RecipeImages(shown=np.empty((_most_rows(each.recipe), each.recipe.places), bool) if each.alignment else None)
        for each in extractors
    ]
    rows: list[list[int]] = [[] for _ in extractors]
    owners: list[list[int]] = [[] for _ in extractors]
    # Memory that is not written to is not taken.
    stored = [np.empty((_most_rows(each.recipe), *_shape(each.recipe)), np.float16) for each in extractors]
    seen: set[bytes] = set()
    before: NDArray[np.float32] | None = None
    for done, (path, found) in enumerate(zip(files, in_threads(read, enumerate(files), threads), strict=True)):
        report("reading images", done, len(files))
        if isinstance(found, str):
            survey.broken.append((path, found))
            continue
        image, encoding, of_recipes = found
        first = of_recipes[0]
        # Of very many images, a recipe of pixels that is alone learns from a sample.
        digest = first.digest if isinstance(first, _Found) else digest_of(None, image, largest.spec)
        if digest in seen:
            survey.repeated += 1
            continue
        seen.add(digest)
        if isinstance(first, _Found):
            values = first.features.astype(np.float32).mean(axis=0).ravel()
            if before is not None and _cosine(before, values) > _ALIKE:
                survey.alike += 1
            before = values
        survey.sizes[image.frame_wh] += 1
        survey.forms[ImageForm(encoding, image.frame_wh, has_colour(image.pixels))] += 1
        survey.remark(image.remarks)
        tiles = len(inspected_tiles(image.region, largest.spec))
        for mine, whose, own, its, each in zip(rows, owners, stored, of_recipes, found_by_recipe, strict=True):
            if isinstance(its, str):
                each.unmatched.append(path)
            elif its is not None:
                count = len(its.features)
                own[len(whose) : len(whose) + count] = its.features
                if each.shown is not None:
                    each.shown[len(whose) : len(whose) + count] = its.shown
                whose += [len(mine)] * count
                mine.append(len(paths))
                each.digests.append(its.digest)
                each.is_sample |= count < tiles
        paths.append(path)
    report("reading images", len(files), len(files))
    for each, mine, whose, own in zip(found_by_recipe, rows, owners, stored, strict=True):
        each.rows, each.owners, each.features = np.array(mine, np.int64), np.array(whose, np.int64), own[: len(whose)]
        each.shown = None if each.shown is None else each.shown[: len(whose)]
    return paths, found_by_recipe


def _some_tiles(tiles: int, few: int, number: int) -> list[int] | None:
    """Return the tiles of an image that are learned from, other ones for each image; None: all."""
    if tiles <= max(1, few):
        return None
    few = max(1, few)
    return sorted({(each * tiles // few + number) % tiles for each in range(few)})


def digest_of(features: NDArray[np.float16] | None, image: FramePixels, spec: InputSpec) -> bytes:
    """Return a digest that only images with the same features share; with tiles, or aligned, the same pixels."""
    values = image.pixels if features is None or spec.tiles is not None or spec.align is not None else features
    return hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).digest()


def _shape(recipe: Recipe) -> tuple[int, int]:
    return recipe.places, recipe.kept


def _most_rows(recipe: Recipe) -> int:
    """Return the number of tiles whose features a recipe keeps."""
    places, channels = _shape(recipe)
    return _FEATURE_BYTES // (2 * places * channels)


def _sample(recipe: Recipe, count: int) -> frozenset[int]:
    """Return the numbers of the images that a recipe learns from."""
    return frozenset(sampled(range(count), _most_rows(recipe)))


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-9))

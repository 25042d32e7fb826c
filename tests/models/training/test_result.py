"""Warnings of a training: a model that is slower than allowed is named, with what makes it quicker."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.input_text import parse_tiles
from models.training.features import InspectedPart, input_spec
from models.training.result import TrainingResult
from models.training.sentences import recipe_lines
from models.training.survey import Survey
from models.training.train import RECIPES


def tried(name: str, image_ms: float, tiles: str | None = None) -> Any:
    """Return a recipe that was tried, without a fit."""
    fit = SimpleNamespace(recipe=SimpleNamespace(name=name, is_of_pixels=False, standardisation=None))
    part = InspectedPart(tiles=None if tiles is None else parse_tiles(tiles))
    spec = input_spec(RECIPES[0], "grey", part)
    return SimpleNamespace(
        fit=fit, image_ms=image_ms, extractor=SimpleNamespace(spec=spec, alignment=None), quality=1.0, synthetic=[],
        finest=[SimpleNamespace(found=0.5)],
    )  # fmt: skip


def warnings(best: Any, others: list[Any], max_ms: float, size_wh: tuple[int, int] = (200, 160)) -> list[str]:
    survey = Survey(100, sizes=Counter({size_wh: 100}))
    result = TrainingResult(
        best, [best, *others], [], survey, Path(), [], np.arange(5), "order", max_ms=max_ms
    )  # fmt: skip
    return result.warnings


#: Recipes that were tried, the chosen one first, and the remedy.
SLOW = {
    "the only one": (tried("places", 21.4), [], "train with another --recipe, or use a quicker machine, or allow more"),
    "the quickest": (tried("places", 21.4), [tried("surface", 30.0)], "or use a quicker machine"),
    "not the quickest": (
        tried("fine surface", 21.4), [tried("whole", 8.0), tried("surface", 9.0)],
        "train with --recipe whole, which takes 8 ms, or allow more",
    ),
    "two words": (
        tried("pixels", 21.4), [tried("fine surface", 8.0)], "--recipe 'fine surface', which takes 8 ms",
    ),
    "tiles": (tried("places", 21.4, tiles="2x2"), [], "train with fewer --tiles, or without them, or allow more"),
}  # fmt: skip


@pytest.mark.parametrize(("best", "others", "remedy"), SLOW.values(), ids=SLOW.keys())
def test_a_recipe_that_takes_longer_than_allowed_is_a_warning(best: Any, others: list[Any], remedy: str) -> None:
    [line] = warnings(best, others, 10.0)
    assert line.startswith("an image takes 21 ms, more than the 10 of --max-ms: ")
    assert remedy in line
    assert not warnings(best, others, 22.0)


def test_images_that_become_much_smaller_are_a_warning() -> None:
    """The line logs it for each camera; without tiles the defects vanish before the network sees them."""
    [line] = warnings(tried("places", 5.0), [], 100.0, (4096, 1024))
    assert line.startswith(
        "4096x1024 pixels become 224x224, 18.3 times fewer in one direction: defects of less than 19"
    )
    assert "train with --tiles 2x2" in line
    assert not warnings(tried("places", 5.0, tiles="4x2"), [], 100.0, (4096, 1024))


@pytest.mark.parametrize(
    ("tiles", "max_ms", "remedy"),
    [
        ("4x4", 100.0, "train with --tiles 8x8, or bring"),
        ("4x4", 15.0, "train with --tiles 8x8 (about 20 ms an image, more than --max-ms), or bring"),
        ("32x32", 100.0, "bring the camera closer, or inspect a part"),
    ],
    ids=["quick enough", "too slow", "too many"],
)
def test_tiles_that_are_advised_are_allowed(tiles: str, max_ms: float, remedy: str) -> None:
    """A command that follows the advice must not be refused, nor be told to take fewer tiles without a word before."""
    [line] = warnings(tried("places", 5.0, tiles), [], max_ms, (163_840, 163_840))
    assert remedy in line


@pytest.mark.parametrize(("size_wh", "pixels"), [((640, 480), 5), ((32, 32), 2)])
def test_the_smallest_defects_are_stated_as_they_are_drawn(size_wh: tuple[int, int], pixels: int) -> None:
    best = tried("places", 5.0)
    result = TrainingResult(
        best, [best], [], Survey(1, sizes=Counter({size_wh: 1})), Path(), [Path()], np.arange(5), "order"
    )
    [_, line] = recipe_lines(result)
    assert line.startswith(f"finds 50% of synthetic defects of 1% of the image's side, about {pixels} pixels;")

"""Warnings of a training: a model that is slower than allowed is named, with what makes it quicker."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.training.result import TrainingResult
from models.training.survey import Survey


def tried(name: str, image_ms: float, tiles: object = None) -> Any:
    """Return a recipe that was tried, without a fit."""
    fit = SimpleNamespace(recipe=SimpleNamespace(name=name))
    spec = SimpleNamespace(tiles=tiles)
    return SimpleNamespace(fit=fit, image_ms=image_ms, extractor=SimpleNamespace(spec=spec), quality=1.0, synthetic=[])


def warnings(best: Any, others: list[Any], max_ms: float) -> list[str]:
    survey = Survey(100, sizes=Counter({(200, 160): 100}))
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
    "tiles": (tried("places", 21.4, tiles=object()), [], "train with fewer --tiles, or without them, or allow more"),
}  # fmt: skip


@pytest.mark.parametrize(("best", "others", "remedy"), SLOW.values(), ids=SLOW.keys())
def test_a_recipe_that_takes_longer_than_allowed_is_a_warning(best: Any, others: list[Any], remedy: str) -> None:
    [line] = warnings(best, others, 10.0)
    assert line.startswith("an image takes 21 ms, more than the 10 of --max-ms: ")
    assert remedy in line
    assert not warnings(best, others, 22.0)

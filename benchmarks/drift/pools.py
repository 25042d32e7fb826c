"""Signals of real images under each effect, as the worker measures them: inspected once, drawn many times."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from models import default_model_path, inspect_image, load_model
from models.datasets.elpv import Cell, load_cells
from models.opencv import cv2
from models.sample_depth import Image
from producers import effects
from schemas.records import Action

#: Number of steps of a gradual change.
STEPS = 20


@dataclass(frozen=True, slots=True)
class Picture:
    """Inspected image: values of its decision, and the truth."""

    name: str
    sha256: str
    product: str
    is_defective: bool
    action: Action
    signals: Mapping[str, float]


#: By name of a pool: its effect, and the number of images (None: all).
POOLS: Mapping[str, tuple[effects.Effect, int | None]] = {
    "usual": (effects.unchanged, None),
    "exposure": (effects.gain(0.85), None),
    "night": (effects.gain(0.75), None),
    "focus": (effects.focus(1.2), None),
    "vibration": (effects.vibration(7), None),
    "noise": (effects.noise(4), None),
    **{f"scene-{take}": (effects.moved(*step), 300) for take, step in enumerate([(0, 0), (2, 1), (-1, 3), (3, -2)])},
    **{f"lamp-{step}": (effects.gain(1 - 0.3 * (step + 1) / STEPS), 200) for step in range(STEPS)},
    **{f"dust-{step}": (effects.dust(2 * (step + 1)), 200) for step in range(STEPS)},
}


def make_pools(processes: int = 2) -> dict[str, list[Picture]]:
    """Inspect the images of the test and validation splits, which are not part of the training reference."""
    with ProcessPoolExecutor(processes) as executor:
        return dict(zip(POOLS, executor.map(_make, POOLS), strict=True))


def _make(name: str) -> list[Picture]:
    effect, count = POOLS[name]
    model = load_model(default_model_path())
    cells = [*load_cells("test"), *load_cells("validation")]
    cells = random.Random(0).sample(cells, count or len(cells))  # the data set is ordered: neighbouring cells are alike
    # Each image has a generator of its own, so the result does not depend on the order or the number of processes.
    seeds = [int.from_bytes(hashlib.sha256(f"{name}/{cell.name}".encode()).digest()[:8], "big") for cell in cells]
    pictures = []
    for cell, seed in zip(cells, seeds, strict=True):
        image = effect(_read(cell), np.random.default_rng(seed))
        encoded = bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])
        inspection = inspect_image(encoded, model)
        pictures.append(
            Picture(
                cell.name,
                hashlib.sha256(encoded).hexdigest(),
                cell.cell_type,
                cell.defective,
                inspection.action,
                inspection.signals,
            )
        )
    return pictures


def _read(cell: Cell) -> Image:
    return np.asarray(cv2.imread(str(cell.path), cv2.IMREAD_GRAYSCALE), np.uint8)

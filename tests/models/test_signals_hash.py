"""The difference hash says what OpenCV's own area average says, bit for bit: recorded decisions carry it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.datasets.elpv import load_cells
from models.images import decode
from models.opencv import cv2
from models.preprocess import resize
from models.signals import _rises, dhash


def by_opencv(grey: np.ndarray) -> int:
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def test_on_real_images() -> None:
    fast = 0
    cells = load_cells()[::7]
    for cell in cells:
        pixels = decode(cell.path.read_bytes()).pixels
        for size in ((224, 224), (300, 300), (320, 173)):
            grey = resize(pixels, size)
            assert dhash(grey) == by_opencv(grey)
            fast += _rises(grey) is not None
    # Most must take the quick way, or it is none.
    assert fast > 0.8 * 3 * len(cells)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 320),
    st.integers(1, 320),
    st.sampled_from(["noise", "flat", "ramp", "steps"]),
)
def test_on_images_that_hang_on_rounding(seed: int, width: int, height: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        grey = rng.integers(0, 256, (height, width)).astype(np.uint8)
    elif kind == "flat":
        grey = (np.full((height, width), rng.integers(0, 255)) + (rng.random((height, width)) < 0.5)).astype(np.uint8)
    elif kind == "ramp":
        grey = np.linspace(0, rng.integers(1, 4), width)[None].repeat(height, 0).astype(np.uint8)
    else:
        grey = np.kron(rng.integers(0, 3, (8, 9)), np.ones((40, 36))).astype(np.uint8)[:height, :width].copy()
    assert dhash(grey) == by_opencv(grey)


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 8), (8, 9), (320, 320), (321, 9)])
def test_at_the_limits(shape: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert dhash(grey) == by_opencv(grey)

"""What can happen to pictures: each effect turns an image into the one that the changed line would give.

An effect takes a uint8 image, ``(H, W)`` or ``(H, W, 3)``, which it leaves alone, and a random generator.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.opencv import cv2

Image = NDArray[np.uint8]
#: Takes an image and a random generator of its own.
Effect = Callable[[Image, np.random.Generator], Image]


def unchanged(image: Image, rng: np.random.Generator) -> Image:
    """As it is."""
    return image


def gain(factor: float) -> Effect:
    """Exposure or lamp: every grey value times a factor."""

    def effect(image: Image, rng: np.random.Generator) -> Image:
        # The light is continuous, and only then counted: without that, rounding down would take the noise away.
        return np.asarray(np.clip((image + rng.random(image.shape)) * factor, 0, 255), np.uint8)

    return effect


def focus(sigma: float) -> Effect:
    """Out of focus: a Gaussian blur, sigma in pixels."""

    def effect(image: Image, rng: np.random.Generator) -> Image:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)

    return effect


def vibration(longest: int) -> Effect:
    """Motion blur over 2 to ``longest`` pixels, along or across the belt."""

    def effect(image: Image, rng: np.random.Generator) -> Image:
        length = int(rng.integers(2, longest + 1))
        kernel = np.full((1, length) if rng.random() < 0.5 else (length, 1), 1 / length)
        return np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)

    return effect


def dust(spots: int, seed: int = 7) -> Effect:
    """Spots on the lens, always at the same places of the first 300 x 300 pixels, out of focus."""
    places = np.random.default_rng(seed)
    centres = [(int(x), int(y), int(r)) for x, y, r in zip(
        places.integers(0, 300, spots), places.integers(0, 300, spots), places.integers(2, 6, spots), strict=True
    )]  # fmt: skip

    def effect(image: Image, rng: np.random.Generator) -> Image:
        shade = np.zeros(image.shape[:2], np.float32)
        for x, y, radius in centres:
            cv2.circle(shade, (x, y), radius, 0.6, -1)
        light = 1 - np.asarray(cv2.GaussianBlur(shade, (0, 0), 1.5))
        return np.asarray(image * (light if image.ndim == 2 else light[:, :, None]), np.uint8)

    return effect


def noise(sigma: float) -> Effect:
    """Sensor gain: normal noise, sigma in grey levels."""

    def effect(image: Image, rng: np.random.Generator) -> Image:
        return np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)

    return effect


def moved(right: int, down: int) -> Effect:
    """A frame of the same scene, so many pixels later."""

    def effect(image: Image, rng: np.random.Generator) -> Image:
        return np.roll(image, (down, right), (0, 1))

    return effect

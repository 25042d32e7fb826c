"""Effects on pictures: each effect turns an image into the image that a changed line would produce.

An effect takes a uint8 image, ``(H, W)`` or ``(H, W, 3)``, and a random generator. It does not change the image that
it takes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.opencv import cv2
from models.sample_depth import Image

#: Function that takes an image and a random generator of its own, and returns the changed image.
Effect = Callable[[Image, np.random.Generator], Image]


def unchanged(image: Image, rng: np.random.Generator) -> Image:
    """Return the image as it is."""
    return image


def gain(factor: float) -> Effect:
    """Return the effect of exposure or lamp: every grey value is multiplied by a factor."""

    def effect(image: Image, rng: np.random.Generator) -> Image:
        # Light is continuous before the sensor counts it. Without the random fraction, rounding would remove the noise.
        return np.asarray(np.clip((image + rng.random(image.shape)) * factor, 0, 255), np.uint8)

    return effect


def focus(sigma: float) -> Effect:
    """Return the effect of a lens out of focus: a Gaussian blur, sigma in pixels."""

    def effect(image: Image, rng: np.random.Generator) -> Image:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)

    return effect


def vibration(longest: int) -> Effect:
    """Return the effect of vibration: motion blur over 2 to ``longest`` pixels, along or across the belt."""

    def effect(image: Image, rng: np.random.Generator) -> Image:
        length = int(rng.integers(2, longest + 1))
        kernel = np.full((1, length) if rng.random() < 0.5 else (length, 1), 1 / length)
        return np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)

    return effect


def dust(spots: int, seed: int = 7) -> Effect:
    """Return the effect of dust: spots on the lens, out of focus, always at the same places.

    The places are within the first 300 x 300 pixels.
    """
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
    """Return the effect of sensor gain: normal noise, sigma in grey levels."""

    def effect(image: Image, rng: np.random.Generator) -> Image:
        return np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)

    return effect


def moved(right: int, down: int) -> Effect:
    """Return the effect of a moved scene: the image is shifted by a number of pixels to the right and down."""

    def effect(image: Image, rng: np.random.Generator) -> Image:
        return np.roll(image, (down, right), (0, 1))

    return effect

"""Images of made-up parts."""

from __future__ import annotations

import cv2
import numpy as np


def good_part(number: int) -> np.ndarray:
    """Return a good part, ``(160, 200)`` uint8: a disc with a hole on a grained ground, a little shifted and lit."""
    rng = np.random.default_rng(number)
    image = rng.normal(90, 4, (160, 200)).astype(np.float32)
    centre = (100 + int(rng.integers(-2, 3)), 80 + int(rng.integers(-2, 3)))
    cv2.circle(image, centre, 55, 170.0, -1)
    cv2.circle(image, centre, 18, 60.0, -1)
    return np.clip(image * rng.uniform(0.97, 1.03), 0, 255).astype(np.uint8)

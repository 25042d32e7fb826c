"""Camera that draws pictures of a brushed metal part, some with scratches, from a seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.opencv import cv2
from producers.camera import Capture, CapturedImage

_BORDER = 0.08  # width of the dark border around the part, as a share of the picture


class SyntheticCamera:
    """Camera that draws parts: the same seed results in the same pictures and labels, in any process.

    Parameters
    ----------
    seed
        Seed of the series.
    width, height
        Size in pixels, at least 16.
    defect_rate
        Share of parts with scratches, in [0, 1].
    count
        Number of pictures; None: without end.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> capture = next(iter(SyntheticCamera(seed=1, defect_rate=1.0)))
    >>> capture.image.shape, capture.attributes["label"]
    ((480, 640), 'defective')
    """

    def __init__(
        self, seed: int = 0, width: int = 640, height: int = 480, defect_rate: float = 0.1, count: int | None = None
    ) -> None:
        if min(width, height) < 16 or max(width, height) > 32_768 or not 0 <= defect_rate <= 1 or seed < 0:
            raise ValueError("needs sides of 16 to 32768 pixels, a defect_rate in [0, 1] and a seed from 0")
        self._seed = seed
        self._width = width
        self._height = height
        self._defect_rate = defect_rate
        self._count = count

    def __iter__(self) -> Iterator[Capture]:
        index = 0
        while self._count is None or index < self._count:
            yield self._draw(index)
            index += 1

    def _draw(self, index: int) -> Capture:
        # Each picture has a generator of its own, so it can be drawn without the pictures before.
        rng = np.random.default_rng([self._seed, index])
        defective = bool(rng.random() < self._defect_rate)
        image = self._part(rng)
        if defective:
            for _ in range(int(rng.integers(1, 4))):
                self._scratch(image, rng)
        label = "defective" if defective else "functional"
        return Capture(image=image, attributes={"label": label, "index": str(index)})

    def _part(self, rng: np.random.Generator) -> CapturedImage:
        # Brushed metal: each row has its own brightness, and each pixel a little noise.
        rows = rng.normal(150, 6, (self._height, 1))
        surface = np.clip(rows + rng.normal(0, 4, (self._height, self._width)), 0, 255).astype(np.uint8)
        image = np.full((self._height, self._width), 20, np.uint8)
        y, x = int(self._height * _BORDER), int(self._width * _BORDER)
        image[y : self._height - y, x : self._width - x] = surface[y : self._height - y, x : self._width - x]
        return image

    def _scratch(self, image: CapturedImage, rng: np.random.Generator) -> None:
        low, high = _BORDER * 1.5, 1 - _BORDER * 1.5
        x, y = rng.uniform(low, high, 2)
        angle, length = rng.uniform(0, np.pi), rng.uniform(0.15, 0.4)
        x2, y2 = np.clip([x + length * np.cos(angle), y + length * np.sin(angle)], low, high)
        start = (int(x * self._width), int(y * self._height))
        end = (int(x2 * self._width), int(y2 * self._height))
        thickness = int(rng.integers(1, max(2, self._height // 120) + 1))
        cv2.line(image, start, end, int(rng.integers(210, 255)), thickness)

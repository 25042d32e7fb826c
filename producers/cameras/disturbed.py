"""Camera with a simulated fault: from one capture on its pictures change.

It serves to try out drift detection on one's own line, and for the demo.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum

import numpy as np

from models.errors import ImageError
from models.images import decode_whole
from models.sample_depth import to_8_bits
from producers.camera import Camera, Capture, opened
from producers.effects import Effect, focus, gain

#: Attribute of the disturbed captures; its value names the disturbance.
DISTURBED = "disturbed"


class Disturbance(StrEnum):
    """Disturbance of a camera."""

    EXPOSURE = "exposure"
    BLUR = "blur"
    PRODUCT_CHANGE = "product-change"
    FROZEN = "frozen"


#: Effects of the disturbances that change the picture: 15 % less light; a lens out of focus by 1.2 pixels (sigma).
EFFECTS: dict[Disturbance, Effect] = {Disturbance.EXPOSURE: gain(0.85), Disturbance.BLUR: focus(1.2)}


class DisturbedCamera:
    """Camera that returns the captures of another camera, disturbed from number ``begin`` on.

    Parameters
    ----------
    camera
        Source of the captures.
    what
        Disturbance. ``frozen`` repeats the last capture; ``product-change`` continues with ``other``.
    begin
        Number of the first disturbed capture, counted from 0. This capture and all later ones have the attribute
        `DISTURBED`.
    other
        Source of the captures after a change of product.

    Examples
    --------
    >>> grey = Capture(image=np.full((8, 8), 100, np.uint8))
    >>> disturbed = list(DisturbedCamera([grey] * 3, Disturbance.EXPOSURE, begin=1))
    >>> [capture.attributes for capture in disturbed]
    [{}, {'disturbed': 'exposure'}, {'disturbed': 'exposure'}]
    """

    def __init__(self, camera: Camera, what: Disturbance, begin: int, other: Camera | None = None) -> None:
        if (what is Disturbance.PRODUCT_CHANGE) != (other is not None):
            raise ValueError("a change of product needs another camera, and nothing else does")
        self._camera = camera
        self._what = what
        self._begin = begin
        self._other = other
        self._random = np.random.default_rng(0)

    def __iter__(self) -> Iterator[Capture]:
        last: Capture | None = None
        with opened(self._camera) as camera:
            captures = iter(camera)
            for capture in itertools.islice(captures, self._begin):
                last = capture
                yield capture
            if self._what is Disturbance.FROZEN:
                while last is not None:
                    yield self._marked(last)
            elif self._other is None:
                effect = EFFECTS[self._what]
                for capture in captures:
                    yield self._marked(self._changed(capture, effect))
        if self._other is not None:
            with opened(self._other) as other:
                yield from map(self._marked, other)

    def _marked(self, capture: Capture) -> Capture:
        return replace(capture, attributes={**capture.attributes, DISTURBED: self._what.value})

    def _changed(self, capture: Capture, effect: Effect) -> Capture:
        image = capture.image
        if image is None:
            try:
                image = decode_whole(capture.encoded or b"")
            except ImageError:
                return capture
        wide = np.asarray(image, np.uint16)
        pixels = to_8_bits(wide, capture.bit_depth) if image.dtype == np.uint16 else np.asarray(image, np.uint8)
        return replace(capture, image=effect(pixels, self._random), encoded=None, bit_depth=None)

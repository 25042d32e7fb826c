"""A camera that something happens to: from one capture on its pictures are not what they were.

For trying out drift detection on a line of one's own, and for the demo.
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

#: Attribute of the captures that something has happened to: what.
DISTURBED = "disturbed"


class Disturbance(StrEnum):
    """What can happen to a camera."""

    EXPOSURE = "exposure"
    BLUR = "blur"
    PRODUCT_CHANGE = "product-change"
    FROZEN = "frozen"


#: Those that change the picture, and how: 15 % less light; a lens out of focus by 1.2 pixels (sigma).
EFFECTS: dict[Disturbance, Effect] = {Disturbance.EXPOSURE: gain(0.85), Disturbance.BLUR: focus(1.2)}


class DisturbedCamera:
    """Gives the captures of a camera, and from number ``begin`` on what becomes of them.

    Parameters
    ----------
    camera
        Whose captures these are.
    what
        ``frozen`` repeats the last capture; ``product-change`` goes on with ``other``.
    begin
        First capture, counted from 0, that is disturbed. It and all later ones have the attribute `DISTURBED`.
    other
        The camera after a change of product.

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

"""Card of one picture on a page: the picture, made small, with boxes and a heat map over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.explain import HeatMap
from models.images import decode
from models.preprocess import resize
from models.report_pictures import overlay_address, picture_address
from schemas.records import Defect

#: Longest side of a picture on the page, in pixels.
_MAX_SIDE = 320
_MAX_BOXES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Card of one part.

    Parameters
    ----------
    picture, heat
        ``data:`` addresses, empty if there is no image; the heat map covers the whole picture.
    missing
        Reason why there is no picture.
    boxes
        Defects with their boxes in shares of the picture.
    """

    row: int
    picture: str = ""
    width: int = 0
    height: int = 0
    heat: str = ""
    heat_kind: str = ""
    heat_most: float = 0.0
    boxes: tuple[tuple[Defect, tuple[float, float, float, float]], ...] = ()
    missing: str = ""


def card_of(row: int, data: bytes, defects: Sequence[Defect]) -> Card:
    """Return the card of an image, with the boxes of its defects.

    Raises
    ------
    ImageError
        If the image cannot be decoded.
    """
    decoded = decode(data, colour=True, needed_wh=(_MAX_SIDE, _MAX_SIDE))
    full_wh = decoded.header.width, decoded.header.height
    scale = min(1.0, _MAX_SIDE / max(full_wh))
    width, height = (max(1, round(side * scale)) for side in full_wh)
    picture = picture_address(resize(decoded.pixels, (width, height)))
    boxes = tuple((one, box) for one in defects[:_MAX_BOXES] if (box := _share(one, full_wh)) is not None)
    return Card(row=row, picture=picture, width=width, height=height, boxes=boxes)


def with_heat(card: Card, heat: HeatMap) -> Card:
    """Return the card with a heat map over its picture."""
    most = float(heat.values.flat[np.abs(heat.values).argmax()])
    return replace(card, heat=overlay_address(heat), heat_kind=heat.kind, heat_most=most)


def _share(defect: Defect, size_wh: tuple[int, int]) -> tuple[float, float, float, float] | None:
    x, y, width, height = (float(side) for side in defect.box_xywh)
    if not np.isfinite([x, y, width, height]).all():
        return None
    left, right = (min(max(at / size_wh[0], 0.0), 1.0) for at in (x, x + width))
    top, bottom = (min(max(at / size_wh[1], 0.0), 1.0) for at in (y, y + height))
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None

"""Regions of interest as texts of options, such as ``100,50,640,480``."""

from __future__ import annotations

import re

from pydantic import ValidationError

from models.input_spec import RoiSpec
from schemas.errors import SettingsError

_FORMS = "x,y,width,height in pixels, such as 100,50,640,480; or the corners of a polygon, such as '0,0 90,0 0,60'"


def parse_roi(text: str) -> RoiSpec:
    """Return the region of interest that a text states: a rectangle, or the corners of a polygon.

    Raises
    ------
    SettingsError
        If the text is neither, or is no area.

    Examples
    --------
    >>> parse_roi("100,50,640,480").box, parse_roi("0,0 90,0 0,60").polygon
    ((100, 50, 640, 480), ((0, 0), (90, 0), (0, 60)))
    """
    corners = [[_pixels(text, number) for number in corner.split(",")] for corner in text.split()]
    try:
        if len(corners) == 1 and len(corners[0]) == 4:
            return RoiSpec.model_validate_json(f'{{"box": {corners[0]}}}')
        if len(corners) > 1 and all(len(corner) == 2 for corner in corners):
            return RoiSpec.model_validate_json(f'{{"polygon": {corners}}}')
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SettingsError(f"--roi {text!r}: {reason}") from error
    raise SettingsError(f"--roi {text!r}: {_FORMS}")


def _pixels(text: str, number: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", number, re.ASCII):
        raise SettingsError(f"--roi {text!r}: {_FORMS}")
    return int(number)

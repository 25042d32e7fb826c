"""Regions of interest, tiles and forms of samples as texts of options, such as ``100,50,640,480`` and ``2x2``."""

from __future__ import annotations

import json
import re

from pydantic import ValidationError

from models.errors import ImageError
from models.input_spec import InputSpec
from models.roi_spec import RoiSpec
from models.sample_format import SampleFormat
from models.tile_spec import TileSpec
from schemas.errors import SettingsError

_FORMS = "x,y,width,height in pixels, such as 100,50,640,480; or the corners of a polygon, such as '0,0 90,0 0,60'"


#: Kind of an image error -> options that the image contradicts.
_CONTRADICTED = {
    "outside-frame": "--roi",
    "tiles-do-not-fit": "--tiles",
    "depth-mismatch": "--bit-depth, --alignment or --window",
    "no-mosaic": "--bayer",
}


def image_error_text(error: ImageError | OSError) -> str:
    """Return the text of an error about an image, with the options to correct: there is no manifest yet.

    Examples
    --------
    >>> image_error_text(ImageError("outside-frame", "it leaves the frame: correct roi in the manifest"))
    'it leaves the frame: correct --roi'
    >>> image_error_text(ImageError("unreadable-image", "no image file"))
    'no image file'
    >>> image_error_text(FileNotFoundError(2, "No such file or directory", "good/a.png"))
    'No such file or directory'
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    options = _CONTRADICTED.get(error.kind)
    if options is None:
        return str(error)
    fault, names_field, _ = str(error).replace("the manifest states", "the options state").partition(": correct ")
    return f"{fault}: correct {options}" if names_field else f"{fault}; correct {options} if that is wrong"


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


def parse_tiles(text: str, overlap: float = 0.0) -> TileSpec:
    """Return the tiles that a text states: columns and rows, or with ``px`` the size in pixels.

    Raises
    ------
    SettingsError
        If the text is neither, or the overlap is not a share below 1.

    Examples
    --------
    >>> parse_tiles("2x3").grid, parse_tiles("512x512px", 0.1).size
    ((2, 3), (512, 512))
    """
    found = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})(px)?", text, re.ASCII)
    if found is None:
        raise SettingsError(
            f"--tiles {text!r}: columns and rows, such as 2x2, or the size of a tile in pixels, such as 512x512px"
        )
    sides = [int(found[1]), int(found[2])]
    try:
        return TileSpec.model_validate_json(json.dumps({"size" if found[3] else "grid": sides, "overlap": overlap}))
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        if first["loc"][0] == "overlap":
            raise SettingsError(f"--tile-overlap {overlap:g}: {reason}") from error
        raise SettingsError(f"--tiles {text!r}: {reason}") from error


def parse_samples(
    bit_depth: int | None = None, alignment: str | None = None, window: str | None = None, bayer: str | None = None
) -> SampleFormat:
    """Return the form of a camera's samples that options state.

    Raises
    ------
    SettingsError
        If a value is not allowed, or does not fit the others.

    Examples
    --------
    >>> parse_samples(12, "low", "0,4095").window
    (0, 4095)
    """
    ends = None if window is None else window.split(",")
    if ends is not None and not (len(ends) == 2 and all(re.fullmatch(r"[0-9]{1,6}", end, re.ASCII) for end in ends)):
        raise SettingsError(f"--window {window!r}: two sample values, such as 0,4095")
    numbers = None if ends is None else [int(end) for end in ends]
    given = {"bit_depth": bit_depth, "alignment": alignment, "window": numbers, "bayer": bayer}
    fields = {"name": "image", "width": 1, "height": 1, "colour": "grey", "dtype": "uint8", **given}
    try:
        return InputSpec.model_validate_json(json.dumps(fields)).samples
    except ValidationError as error:
        first = error.errors()[0]
        name, reason = str(first["loc"][0]), first["msg"].removeprefix("Value error, ")
        value = window if name == "window" else given[name]
        raise SettingsError(f"--{name.replace('_', '-')} {value}: {reason}") from error


def _pixels(text: str, number: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", number, re.ASCII):
        raise SettingsError(f"--roi {text!r}: {_FORMS}")
    return int(number)

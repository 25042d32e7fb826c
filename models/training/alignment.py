"""Choice of the picture that all images of a training are aligned to."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.align_spec import ALIGN_NAME, AlignSpec
from models.aligner import Aligner, AlignError
from models.errors import ImageError
from models.image_folder import read_image_file
from models.images import decoding
from models.input_spec import InputSpec
from models.opencv import cv2
from models.placement import Placement
from models.regions import Region, region_of
from models.sample_depth import Image
from models.training.survey import sampled

#: Images that are laid over each other to choose one; images that are tried as the first; share that must match.
_LOOKED_AT, _FIRST, _LEAST_MATCH = 16, 3, 0.8
#: Longest way by which a place of a part may lie elsewhere, as a share of the longer side: at least and at most; the
#: same in pixels.
_REACH, _WIDEST_REACH, _LEAST_REACH, _MOST_REACH = 0.03, 0.1, 6, 512
#: The reach of a package, in longest ways of the images that were looked at: frames to come may lie further away.
_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class TrainingAlignment:
    """Picture of a good part that others are aligned to.

    Parameters
    ----------
    png
        The picture, as the package has it.
    took_ms
        Processor time of the alignment of an image, in ms.
    shift, degrees
        Largest shift of the middle of a part in the images that were looked at, in pixels, and largest turn.
    """

    png: bytes
    spec: AlignSpec
    aligner: Aligner
    took_ms: float
    shift: float
    degrees: float


def find_alignment(files: Sequence[Path], spec: InputSpec) -> TrainingAlignment | str:
    """Return the alignment to the most central image; if images cannot be aligned, a sentence that says why.

    The most central image is the one whose part is shifted least from the median place of all parts.

    Some images are laid over the first one. Images of a surface, or of parts that lie anyhow, do not match.
    """
    chosen, reason = sampled(files, _LOOKED_AT), "no image can be read"
    for path in chosen[:_FIRST]:
        try:
            first, region = _read(path, spec)
            reach = _within(_WIDEST_REACH * max(region.wh), _MOST_REACH)
            aligner = Aligner(first[region.y : region.y + region.height, region.x : region.x + region.width], reach)
        except (ImageError, OSError):
            continue  # named when all images are read
        except AlignError as error:
            reason = str(error)
            continue
        placed = {path: _same(first), **_placements(chosen, path, spec, aligner)}
        if len(placed) >= _LEAST_MATCH * len(chosen):
            return _alignment(placed, spec, region, reach)
        reason = (
            f"{len(chosen) - len(placed)} of {len(chosen)} images cannot be laid over another: it is for parts that "
            "lie alike"
        )
    return reason


def _placements(chosen: Sequence[Path], first: Path, spec: InputSpec, aligner: Aligner) -> dict[Path, Placement]:
    found = {}
    for path in chosen:
        if path == first:
            continue
        try:
            placement = aligner.place(*_read(path, spec))
        except (ImageError, OSError):
            continue
        if isinstance(placement, Placement):
            found[path] = placement
    return found


def _alignment(placed: dict[Path, Placement], spec: InputSpec, region: Region, reach: int) -> TrainingAlignment | str:
    paths, placements = list(placed), list(placed.values())
    corners = np.stack([_corners(placement, region) for placement in placements])
    middle = np.median(corners, axis=0)
    best = int(np.abs(corners - middle).max(axis=(1, 2)).argmin())
    frame, _ = _read(paths[best], spec, colour=spec.colour != "grey")
    picture = frame[region.y : region.y + region.height, region.x : region.x + region.width]
    png = cv2.imencode(".png", picture)[1].tobytes()
    # No further than parts like these need: the time grows with the square of the reach.
    longest = float(np.abs(corners - corners[best]).max())
    reach = _within(max(_REACH * max(region.wh), _MARGIN * longest), reach)
    try:
        aligner = Aligner(picture, reach, fills=True)
    except AlignError as error:
        return str(error)
    began = time.process_time()
    aligner.align(frame, region, _same(frame))
    aligner.place(frame, region)
    took_ms = 1000 * (time.process_time() - began)
    shifts = np.linalg.norm((corners - corners[best]).mean(axis=1), axis=1)
    turns = [abs(placement.degrees - placements[best].degrees) for placement in placements]
    sha256 = hashlib.sha256(png).hexdigest()
    return TrainingAlignment(
        png,
        AlignSpec(file=ALIGN_NAME, sha256=sha256, reach=reach, fill="picture"),
        aligner,
        took_ms,
        float(shifts.max()),
        max(turns),
    )


def _within(reach: float, most: int) -> int:
    """Return a reach in whole pixels, within its limits."""
    return min(most, max(_LEAST_REACH, math.ceil(reach)))


def _read(path: Path, spec: InputSpec, *, colour: bool = False) -> tuple[Image, Region]:
    """Return the whole image at full scale, and the place of the region in it."""
    with decoding(read_image_file(path), colour=colour, samples=spec.samples) as decoded:
        pixels = np.ascontiguousarray(decoded.pixels)
    return pixels, region_of((pixels.shape[1], pixels.shape[0]), spec)


def _same(frame: Image) -> Placement:
    return Placement(1.0, 0.0, 0.0, 0.0, (frame.shape[1], frame.shape[0]))


def _corners(placement: Placement, region: Region) -> NDArray[np.float64]:
    """Return the corners of the region in the frame, ``(4, 2)``."""
    right, bottom = region.x + region.width, region.y + region.height
    corners = [(region.x, region.y, 1), (right, region.y, 1), (region.x, bottom, 1), (right, bottom, 1)]
    return np.array(corners) @ placement.matrix.T

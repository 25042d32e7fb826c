"""Pixels of a frame that a model inspects: checked, decoded once, cut to the region of interest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from models.aligner import Aligner
from models.errors import ImageError
from models.images import decoding, image_header
from models.input_spec import InputSpec
from models.placement import Placement
from models.preprocess import Geometry, Tensor, content_wh, to_tensor
from models.regions import Region, fill_outside, inspected_tiles, region_of, tiles_of
from models.remarks import NOT_ALIGNED, Remark, shrinking
from models.sample_depth import Image


@dataclass(frozen=True, slots=True)
class PreparedTile:
    """Part of a frame for the network: its place, its tensor, the resized pixels, and the way back to the frame."""

    region: Region
    tensor: Tensor
    small: Image
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class FramePixels:
    """Decoded region of a frame.

    Parameters
    ----------
    pixels
        ``(H, W)`` grey or ``(H, W, 3)`` BGR uint8 of the region, perhaps at a reduced scale.
    frame_wh
        Width and height of the whole frame.
    region
        Place of the pixels in the frame.
    divisor
        Number of frame pixels for each pixel along a side.
    remarks
        Remarks on the image.
    waited_s
        Time that decoding waited for memory, in seconds.
    placement
        Placement of the part, if the pixels are aligned.
    fault
        Reason why the frame cannot be aligned; the pixels are then as they are in the frame, and decide nothing.
    """

    pixels: Image
    frame_wh: tuple[int, int]
    region: Region
    divisor: int = 1
    remarks: tuple[Remark, ...] = ()
    waited_s: float = 0.0
    placement: Placement | None = None
    fault: str = ""

    def with_pixels(self, pixels: Image, spec: InputSpec) -> FramePixels:
        """Return the same region with other pixels, which are filled outside of a polygon."""
        return replace(self, pixels=fill_outside(pixels, self.region, spec))

    def tensor(self, spec: InputSpec) -> tuple[Tensor, Image, Geometry]:
        """Return the model's input made of the region, see `models.preprocess.to_tensor`."""
        return to_tensor(self.pixels, self.region.wh, spec, self.region[:2], self.placement)

    def tiles(self, spec: InputSpec) -> Iterator[PreparedTile]:
        """Yield the tiles, one in memory at a time; without tiles, the region as one."""
        for tile in inspected_tiles(self.region, spec):
            yield self.tile(tile, spec)

    def tile(self, tile: Region, spec: InputSpec) -> PreparedTile:
        """Return one tile, prepared for the network."""
        left, top = (tile.x - self.region.x) // self.divisor, (tile.y - self.region.y) // self.divisor
        cut = self.pixels[top : top + tile.height // self.divisor, left : left + tile.width // self.divisor]
        return PreparedTile(tile, *to_tensor(cut, tile.wh, spec, tile[:2], self.placement))


@contextmanager
def frame_pixels(
    image: bytes,
    spec: InputSpec,
    sha256: str | None = None,
    size_wh: tuple[int, int] | None = None,
    aligner: Aligner | None = None,
) -> Iterator[FramePixels]:
    """Check an encoded image and decode what a model inspects; the memory is reserved until the block ends.

    Parameters
    ----------
    sha256
        Digest that the bytes must have; None: it is not checked.
    size_wh
        Width and height that the frame states; None: they are not checked.
    aligner
        Aligner of the model; None: the frame is not aligned.

    Raises
    ------
    ImageError
        ``altered-image``, ``image-too-large``, ``unreadable-image``, ``size-mismatch``, ``depth-mismatch``,
        ``no-mosaic``, ``outside-frame`` or ``tiles-do-not-fit``.
    """
    if sha256 is not None and hashlib.sha256(image).hexdigest() != sha256.lower():
        raise ImageError("altered-image", "the bytes do not have the sha256 that the camera gave them")
    header = image_header(image)
    frame_wh = (header.width, header.height)
    if size_wh is not None and size_wh != frame_wh:
        raise ImageError(
            "size-mismatch", "the image has {}x{} pixels, the frame says {}x{}".format(*frame_wh, *size_wh)
        )
    region = region_of(frame_wh, spec)
    tiles = tiles_of(region, spec)
    seen_wh = tiles[0].wh
    has_polygon = spec.roi is not None and spec.roi.polygon is not None
    content = content_wh(seen_wh, spec)
    needed_wh = (_scaled(content[0], frame_wh[0], seen_wh[0]), _scaled(content[1], frame_wh[1], seen_wh[1]))
    with decoding(
        image,
        colour=spec.colour != "grey",
        needed_wh=needed_wh if aligner is None else frame_wh,
        samples=spec.samples,
        # The edge of a polygon may lie anywhere.
        aligned_to=1 if has_polygon else math.gcd(*region, *(number for tile in tiles for number in tile)),
    ) as decoded:
        divisor = header.width // decoded.pixels.shape[1]
        left, top, width, height = (number // divisor for number in region)
        pixels = fill_outside(decoded.pixels[top : top + height, left : left + width], region, spec)
        remarks = decoded.remarks + shrinking(seen_wh, content)
        seen = FramePixels(pixels, frame_wh, region, divisor, remarks, decoded.waited_s)
        yield seen if aligner is None else _aligned(seen, decoded.pixels, aligner)


def _aligned(seen: FramePixels, frame: Image, aligner: Aligner) -> FramePixels:
    placement = aligner.place(frame, seen.region)
    if isinstance(placement, str):
        return replace(seen, fault=placement, remarks=(*seen.remarks, Remark(NOT_ALIGNED, placement)))
    return replace(seen, pixels=aligner.align(frame, seen.region, placement), placement=placement)


def _scaled(content: int, frame: int, part: int) -> int:
    """Return the pixels of the whole frame for which its part has ``content`` pixels, rounded up."""
    return -(-content * frame // part)

"""Content of the block ``input`` of a manifest: the tensor of a model, and the part of a frame in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from models.align_spec import AlignSpec
from models.manifest_block import ManifestBlock
from models.roi_spec import RoiSpec
from models.sample_format import Alignment, BayerPattern, SampleFormat
from models.tile_spec import TileSpec

#: Largest width and height of the tensor that the network takes, in pixels.
MAX_SIDE = 8192


class InputSpec(ManifestBlock):
    """Tensor that the model takes: ``(pixel * scale - mean) / std``, pixels in 0..255.

    A ``uint8`` input takes the pixels as they are. ``letterbox`` keeps the aspect ratio and fills with ``pad``.
    ``bit_depth`` is the depth of cameras whose 16-bit files do not state it, see `models.sample_depth`;
    ``alignment`` states if their samples lie in the lower or the upper bits of a word. ``window`` has the sample values
    that become 0 and 255. ``bayer`` is the pattern of a raw mosaic, of its first two rows. ``roi`` is the
    part of the frame that is inspected; None: all of it. ``tiles`` cut that part: the network runs on each tile, and
    the worst one decides. ``align`` lays each frame over a picture of a good part first.
    """

    name: str = Field(min_length=1)
    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)
    colour: Literal["grey", "rgb", "bgr"]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["uint8", "float16", "float32"]
    scale: float = Field(default=1.0, gt=0)
    mean: tuple[float, ...] = ()
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    resize: Literal["stretch", "letterbox"] = "stretch"
    pad: int = Field(default=114, ge=0, le=255)
    bit_depth: int | None = Field(default=None, ge=9, le=16)
    alignment: Alignment | None = Field(default=None, validate_default=True)
    window: tuple[Annotated[int, Field(ge=0, le=65_535)], Annotated[int, Field(ge=0, le=65_535)]] | None = None
    bayer: BayerPattern | None = None
    roi: RoiSpec | None = None
    tiles: TileSpec | None = None
    align: AlignSpec | None = None

    @field_validator("scale", "mean", "std")
    @classmethod
    def _fits(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("dtype") == "uint8" and value not in (1.0, ()):
            raise ValueError("a uint8 input takes the pixels as they are: leave scale, mean and std out")
        channels = 1 if info.data.get("colour") == "grey" else 3
        if isinstance(value, tuple) and len(value) not in (0, channels):
            raise ValueError(f"one number for each of the {channels} channels")
        return value

    @field_validator("alignment")
    @classmethod
    def _has_depth(cls, value: Alignment | None, info: ValidationInfo) -> Alignment | None:
        if value is not None and info.data.get("bit_depth", 0) is None:
            raise ValueError("an alignment needs the bit_depth of the camera")
        return value

    @field_validator("window")
    @classmethod
    def _within_depth(cls, value: tuple[int, int] | None, info: ValidationInfo) -> tuple[int, int] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError("the lower end comes first, and the ends differ")
        if value is not None and info.data.get("bit_depth") is not None and info.data.get("alignment", "") is None:
            raise ValueError("a window of a bit_depth needs the alignment, low or high")
        if value is not None and value[1] >> (info.data.get("bit_depth") or 16):
            raise ValueError(f"{value[1]} has more than the {info.data['bit_depth']} bits of bit_depth")
        return value

    @property
    def samples(self) -> SampleFormat:
        """Form of the camera's samples."""
        return SampleFormat(self.bit_depth, self.alignment, self.window, self.bayer)

    @field_validator("tiles")
    @classmethod
    def _fit_region(cls, value: TileSpec | None, info: ValidationInfo) -> TileSpec | None:
        roi = info.data.get("roi")
        if value is not None and roi is not None:
            value.spans(roi.rectangle[2:])
        return value

    @field_validator("align")
    @classmethod
    def _has_no_polygon(cls, value: AlignSpec | None, info: ValidationInfo) -> AlignSpec | None:
        roi = info.data.get("roi")
        if value is not None and roi is not None and roi.polygon is not None:
            raise ValueError("a polygon is not aligned: take a roi with a box, or leave align out")
        return value

    @property
    def channels(self) -> int:
        """Number of channels: 1 for grey, else 3."""
        return 1 if self.colour == "grey" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor of one image."""
        if self.layout == "NCHW":
            return (1, self.channels, self.height, self.width)
        return (1, self.height, self.width, self.channels)

    def described(self) -> dict[str, Any]:
        """Return the fields for the hash of a recipe.

        A field that older versions did not have is left out while it has its default: the hash of an older package
        stays the same.
        """
        fields = self.model_dump(mode="json")
        fields["align"] = None if self.align is None else self.align.described()
        return {name: value for name, value in fields.items() if value != _NEWER.get(name, _MISSING)}


_MISSING = object()
#: Field that the first version did not have -> its default, as in JSON.
_NEWER: dict[str, Any] = {
    "bit_depth": None,
    "alignment": None,
    "window": None,
    "bayer": None,
    "roi": None,
    "tiles": None,
    "align": None,
}

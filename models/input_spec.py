"""Content of the block ``input`` of a manifest: the tensor of a model, and the part of a frame in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from models.manifest_block import ManifestBlock
from models.roi_spec import RoiSpec
from models.tile_spec import TileSpec


class InputSpec(ManifestBlock):
    """Tensor that the model takes: ``(pixel * scale - mean) / std``, pixels in 0..255.

    A ``uint8`` input takes the pixels as they are. ``letterbox`` keeps the aspect ratio and fills with ``pad``.
    ``bit_depth`` is the depth of cameras whose 16-bit files do not state it, see `models.sample_depth`. ``roi`` is the
    part of the frame that is inspected; None: all of it. ``tiles`` cut that part: the network runs on each tile, and
    the worst one decides.
    """

    name: str = Field(min_length=1)
    width: int = Field(ge=1, le=8192)
    height: int = Field(ge=1, le=8192)
    colour: Literal["grey", "rgb", "bgr"]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["uint8", "float32"]
    scale: float = Field(default=1.0, gt=0)
    mean: tuple[float, ...] = ()
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    resize: Literal["stretch", "letterbox"] = "stretch"
    pad: int = Field(default=114, ge=0, le=255)
    bit_depth: int | None = Field(default=None, ge=9, le=16)
    roi: RoiSpec | None = None
    tiles: TileSpec | None = None

    @field_validator("scale", "mean", "std")
    @classmethod
    def _fits(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("dtype") == "uint8" and value not in (1.0, ()):
            raise ValueError("a uint8 input takes the pixels as they are: leave scale, mean and std out")
        channels = 1 if info.data.get("colour") == "grey" else 3
        if isinstance(value, tuple) and len(value) not in (0, channels):
            raise ValueError(f"one number for each of the {channels} channels")
        return value

    @field_validator("tiles")
    @classmethod
    def _fit_region(cls, value: TileSpec | None, info: ValidationInfo) -> TileSpec | None:
        roi = info.data.get("roi")
        if value is not None and roi is not None:
            value.spans(roi.rectangle[2:])
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
        return {name: value for name, value in fields.items() if value != _NEWER.get(name, _MISSING)}


_MISSING = object()
#: Field that the first version did not have -> its default, as in JSON.
_NEWER: dict[str, Any] = {"bit_depth": None, "roi": None, "tiles": None}

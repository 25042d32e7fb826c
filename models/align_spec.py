"""Alignment of frames to a picture of a good part, as a manifest states it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from models.manifest_block import ManifestBlock

#: File of the picture in a package that `inspection train` makes.
ALIGN_NAME = "align.png"


class AlignSpec(ManifestBlock):
    """Content of ``input.align``: each frame is laid over a picture before the network sees it.

    ``file`` is that picture, a PNG in the package: the region of interest of a good part, at full scale. ``reach`` is
    the longest way, in pixels, by which a place of the part may lie elsewhere in a frame. A frame that does not match
    within it is not decided, see `models.aligner`. ``fill`` states what the region has where it leaves the frame: the
    pixels of the frame's ``edge``, or those of the ``picture``, as bright as the frame.
    """

    file: str = Field(default=ALIGN_NAME, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\.png$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    reach: int = Field(ge=1, le=512)
    fill: Literal["edge", "picture"] = "edge"

    def described(self) -> dict[str, Any]:
        """Return the fields for the hash of a recipe. The first version had no ``fill``."""
        return self.model_dump(mode="json", exclude={"fill"} if self.fill == "edge" else None)

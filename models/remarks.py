"""Remarks on unusual images: for metrics, and one log line for each camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RemarkKind = Literal["low-16-bit", "transparency", "shrunk", "stray-bytes", "second-picture", "not-aligned"]
#: The one remark on an image that is not inspected: it cannot be laid over the picture of the package.
NOT_ALIGNED: RemarkKind = "not-aligned"

#: A stronger reduction in either direction gets a remark: a defect of this many pixels becomes one pixel.
MOST_SHRINKING = 8.0


@dataclass(frozen=True, slots=True)
class Remark:
    """Remark on an image.

    Parameters
    ----------
    kind
        Stable word for metrics: ``low-16-bit``, ``transparency``, ``shrunk``, ``stray-bytes``,
        ``second-picture``, ``not-aligned``.
    text
        One line for a person, with a remedy.
    factor
        For ``shrunk``: image pixels for each pixel of the model's input; else 0.
    """

    kind: RemarkKind
    text: str
    factor: float = 0.0


def shrinking(frame_wh: tuple[int, int], content_wh: tuple[int, int]) -> tuple[Remark, ...]:
    """Return a remark if the reduction of an image may lose small defects.

    Examples
    --------
    >>> shrinking((640, 480), (320, 240))
    ()
    >>> print(shrinking((16384, 4096), (224, 224))[0].text)
    16384x4096 pixels become 224x224, 73.1 times fewer in one direction: defects of less than 74 pixels may vanish; \
see docs/large-images.md
    """
    factor = max(frame_wh[0] / content_wh[0], frame_wh[1] / content_wh[1])
    if factor <= MOST_SHRINKING:
        return ()
    (width, height), (new_width, new_height) = frame_wh, content_wh
    return (
        Remark(
            "shrunk",
            f"{width}x{height} pixels become {new_width}x{new_height}, {factor:.1f} times fewer in one direction: "
            f"defects of less than {int(factor) + 1} pixels may vanish; see docs/large-images.md",
            factor,
        ),
    )

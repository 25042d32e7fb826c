"""Interface of cameras: a camera is an iterable of captures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

CapturedImage = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Capture:
    """Picture that a camera returns; exactly one of ``image`` and ``encoded`` is set.

    Parameters
    ----------
    image
        Pixels: uint8 or uint16, (height, width) grey or (height, width, 3) blue-green-red. The publisher does not
        change them. The camera may reuse the array as soon as the next capture is requested. A camera of 10, 12 or 14
        bits returns uint16 and sets ``bit_depth`` to that number.
    encoded
        Encoded file as the camera delivered it. It need not be readable: an unreadable file is also published, so that
        the line answers it.
    bit_depth
        Bits that the camera measures, 9 to 16, for uint16 pixels and 16-bit files. Default: the value of the options.
    captured_at_us
        UTC microseconds of the exposure. Default: the moment at which the publisher gets the capture.
    part_id, lot
        Id and lot of the part, if the camera knows them.
    attributes
        Other data to keep with the frame, as strings.

    Raises
    ------
    ValueError
        If the image is not such an array, or if both or neither of ``image`` and ``encoded`` are set.

    Examples
    --------
    >>> Capture(image=np.zeros((480, 640), np.uint8)).attributes
    {}
    >>> Capture(image=np.zeros((480, 640), np.float64))
    Traceback (most recent call last):
    ...
    ValueError: an image is uint8 or uint16 with shape (H, W) or (H, W, 3), not float64 (480, 640)
    """

    image: CapturedImage | None = None
    encoded: bytes | None = None
    bit_depth: int | None = None
    captured_at_us: int | None = None
    part_id: str | None = None
    lot: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.image is None) == (self.encoded is None):
            raise ValueError("a capture has either an image or encoded bytes")
        if self.bit_depth is not None and self.bit_depth not in range(9, 17):
            raise ValueError(f"a bit depth is 9 to 16, not {self.bit_depth}")
        if self.image is None:
            return
        shape, dtype = np.shape(self.image), getattr(self.image, "dtype", type(self.image).__name__)
        if (
            dtype not in (np.uint8, np.uint16)
            or not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3))
            or 0 in shape
        ):
            raise ValueError(f"an image is uint8 or uint16 with shape (H, W) or (H, W, 3), not {dtype} {shape}")


class Camera(Protocol):
    """Iterable of captures, with an end (a folder) or without (a live camera).

    A camera only needs to be iterable. A camera with a device may add ``open()`` and ``close()`` (see `Openable`),
    which are called around the iteration, in the same thread.

    Examples
    --------
    >>> class BlackCamera:
    ...     def __iter__(self):
    ...         while True:
    ...             yield Capture(image=np.zeros((480, 640), np.uint8))
    >>> camera: Camera = BlackCamera()
    """

    def __iter__(self) -> Iterator[Capture]: ...


@runtime_checkable
class Openable(Protocol):
    """Camera with a device that is opened before the first capture and closed after the last capture."""

    def open(self) -> None:
        """Open the device, or raise PluginError with one line that states the cause."""
        ...

    def close(self) -> None:
        """Release the device. It is also called after an error, unless `open` itself raised."""
        ...


@contextmanager
def opened(camera: Camera) -> Iterator[Camera]:
    """Open a camera if it is `Openable`, yield it, and close it in any case.

    Examples
    --------
    >>> with opened([Capture(encoded=b"...")]) as camera:
    ...     len(list(camera))
    1
    """
    if not isinstance(camera, Openable):
        yield camera
        return
    camera.open()
    try:
        yield camera
    finally:
        camera.close()

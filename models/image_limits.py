"""Limits on decoding an image: its pixels, and the memory of all decoders of this process together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import ImageError
from schemas.settings import DECODE_MEMORY_VARIABLE, MAX_IMAGE_VARIABLE, ImageSettings

_MIB = 1024 * 1024
#: Samples of a file that are unpacked, for each pixel of the limit: a file of them takes less than two seconds.
_BYTES_OF_A_PIXEL = 2

#: The limits of this process, read from the environment once.
LIMITS = ImageSettings.from_env()


def check_pixels(width: int, height: int, max_pixels: int | None = None, *, what: str = "") -> None:
    """Refuse a size above the limit of the settings, or of the caller.

    Raises
    ------
    ImageError
        ``image-too-large``.

    Examples
    --------
    >>> check_pixels(640, 480)
    """
    most = LIMITS.max_pixels if max_pixels is None else max_pixels
    if width * height > most:
        raise ImageError(
            "image-too-large",
            f"a {what}{width}x{height} pixels is over the limit of {most} pixels; "
            f"{MAX_IMAGE_VARIABLE} sets it, in megapixels"
            if what
            else f"{width}x{height} pixels are over the limit of {most}; {MAX_IMAGE_VARIABLE} sets it, in megapixels",
        )


def check_share(needed_bytes: int, what: str, budget_bytes: int | None = None) -> None:
    """Refuse an image that alone needs more than the memory budget.

    Raises
    ------
    ImageError
        ``image-too-large``.
    """
    most = LIMITS.memory_bytes if budget_bytes is None else budget_bytes
    if needed_bytes > most:
        raise ImageError(
            "image-too-large",
            f"{what} takes {-(-needed_bytes // _MIB)} MiB to decode, over the budget of {most // _MIB} MiB; "
            f"{DECODE_MEMORY_VARIABLE} sets it",
        )


def check_samples(unpacked_bytes: int) -> None:
    """Refuse packed samples that take too long to unpack, although they are never in memory all at once.

    Raises
    ------
    ImageError
        ``image-too-large``.
    """
    most = _BYTES_OF_A_PIXEL * LIMITS.max_pixels
    if unpacked_bytes > most:
        raise ImageError(
            "image-too-large",
            f"its samples are {-(-unpacked_bytes // _MIB)} MiB, over the limit of {most // _MIB} MiB, "
            f"{_BYTES_OF_A_PIXEL} bytes for each pixel of {MAX_IMAGE_VARIABLE}",
        )


class MemoryShare:
    """Reserved part of a `DecodeBudget`; ``waited_s`` is the time that was spent waiting for it, in seconds."""

    def __init__(self, budget: DecodeBudget, reserved_bytes: int) -> None:
        self._budget, self._bytes = budget, reserved_bytes
        self.waited_s = 0.0

    def shrink(self, to_bytes: int) -> None:
        """Release all but some bytes."""
        released, self._bytes = max(0, self._bytes - to_bytes), min(self._bytes, to_bytes)
        self._budget.release(released)


class DecodeBudget:
    """Memory budget that decoders share: a decoder that needs more than is left waits, first come, first served.

    Parameters
    ----------
    total_bytes
        Memory of all decoders together.

    Examples
    --------
    >>> budget = DecodeBudget(100)
    >>> with budget.share(60, "an image"):
    ...     budget.used_bytes
    60
    >>> budget.used_bytes
    0
    """

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._used_bytes = 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @property
    def used_bytes(self) -> int:
        """Number of bytes in use at the moment."""
        return self._used_bytes

    @contextmanager
    def share(self, needed_bytes: int, what: str) -> Iterator[MemoryShare]:
        """Reserve a part of the memory; wait while others use it. A caller must not reserve a second part.

        Raises
        ------
        ImageError
            ``image-too-large`` if it is more than the whole budget.
        """
        check_share(needed_bytes, what, self._total_bytes)
        ticket = object()
        share = MemoryShare(self, needed_bytes)

        def has_room() -> bool:
            return self._waiting[0] is ticket and self._used_bytes + needed_bytes <= self._total_bytes

        with self._changed:
            self._waiting.append(ticket)
            try:
                if not has_room():
                    began_s = time.perf_counter()
                    self._changed.wait_for(has_room)
                    share.waited_s = time.perf_counter() - began_s
                self._used_bytes += needed_bytes
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield share
        finally:
            share.shrink(0)

    def release(self, released_bytes: int) -> None:
        """Return bytes to the budget."""
        with self._changed:
            self._used_bytes -= released_bytes
            self._changed.notify_all()


#: The budget of this process.
BUDGET = DecodeBudget(LIMITS.memory_bytes)

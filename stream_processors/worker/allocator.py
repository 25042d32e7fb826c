"""Settings of the C library's allocator for a process that decodes images.

glibc maps a large block on its own, and returns it to the system when it is freed. By default it adapts: after the
first freed image of up to 32 MiB, blocks of this size come from its heaps, where they leave gaps and stay. Two threads
with several large images then take over 100 MiB more than the images. On the other hand, it returns the end of a heap
as soon as 128 KiB are free there, and each small image brings the pages back by page faults. (mallopt(3).)
"""

from __future__ import annotations

import ctypes
import os

#: Parameters of ``mallopt`` (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Size from which a block is mapped on its own, in bytes: above most buffers of common frames.
_LARGE_BYTES = 1024 * 1024
#: Free bytes that a heap may keep at its end.
_KEPT_BYTES = 4 * 1024 * 1024
_OF_THE_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def return_large_blocks() -> bool:
    """Make the C library return freed blocks of `_LARGE_BYTES` and more, and keep smaller ones for the next frame.

    Call it at the start of a process. Return False if it has no effect: another C library, or settings of the user
    in the environment.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or any(name in os.environ for name in _OF_THE_USER):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES) and mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))

"""Question to the Linux kernel: does a program keep its clock synchronised?"""

from __future__ import annotations

import ctypes
import ctypes.util

# From <sys/timex.h>: the clock is not synchronised.
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
# Larger than any struct timex; the kernel writes about 208 bytes.
_BUFFER_BYTES = 1024
# Offset of `status` in struct timex on 64-bit Linux: modes (4, padded to 8), offset, freq, maxerror, esterror (8 each).
_STATUS_OFFSET = 40


def is_clock_synchronised() -> bool | None:
    """Return the answer of adjtimex(2), or None if the call is not possible (another system, a sandbox).

    chrony, ntpd and systemd-timesyncd all report to the kernel. With ``modes`` zero the call only reads, and needs no
    privilege.
    """
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    state = adjtimex(buffer)
    if state < 0:
        return None
    status = int.from_bytes(buffer.raw[_STATUS_OFFSET : _STATUS_OFFSET + 4], "little", signed=True)
    return state != _TIME_ERROR and not status & _STA_UNSYNC

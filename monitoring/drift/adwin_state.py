"""Check of the state of River's ADWIN before River reads it.

If River's reader gets bytes that River did not write, it panics, which no `except Exception` catches; and a state that
it reads may make a later update panic. So the bytes are parsed here: only a state that an ADWIN can have reached
passes.

::

    settings (36 bytes) | total, variance, width, sum of widths (4 doubles) | 4 counts (int32) | rows (uint64)
    | per row: most buckets, buckets (uint64), length (uint64) and 6 totals, length and 6 variances (doubles)
    | settings (28 bytes)

A bucket of row i contains 2**i values. All is little endian. The layout is River 0.26's; with another layout the state
is refused, and the detector begins from scratch.
"""

from __future__ import annotations

import math
import struct

_HEAD, _TAIL = 36, 28
_SUMS = struct.Struct("<4d4iQ")
_ROW = struct.Struct("<QQQ6dQ6d")
_BUCKETS, _PLACES = 5, 6
#: A window of 2**40 values is longer than any camera's life.
_MAX_ROWS = 40
_MAX_COUNT = 2**30


def checked_adwin_state(given: bytes, fresh: bytes) -> bytes:
    """Return a state that River can resume from, with the settings of a fresh detector.

    Parameters
    ----------
    given
        State of an ADWIN that took numbers within [0, 1].
    fresh
        State of a detector without data: its settings count, not those in ``given``.

    Raises
    ------
    ValueError
        If no ADWIN can have reached the state.

    Examples
    --------
    >>> from river import drift
    >>> fresh = drift.ADWIN()._helper.__getstate__()
    >>> checked_adwin_state(fresh, fresh) == fresh
    True
    """
    rows = (len(given) - _HEAD - _SUMS.size - _TAIL) // _ROW.size
    if not 1 <= rows <= _MAX_ROWS or len(given) != len(fresh) + (rows - 1) * _ROW.size:
        raise ValueError(f"no state of ADWIN: {len(given)} bytes")
    total, variance, width, widths, *counts, said = _SUMS.unpack_from(given, _HEAD)
    if said != rows or not all(0 <= count < _MAX_COUNT for count in counts):
        raise ValueError("no state of ADWIN: its counts are out of range")
    found_width, found_total = 0, 0.0
    for row in range(rows):
        most, buckets, places, *numbers = _ROW.unpack_from(given, _HEAD + _SUMS.size + row * _ROW.size)
        totals, variances = numbers[:_PLACES], numbers[_PLACES + 1 :]
        if (most, places, numbers[_PLACES]) != (_BUCKETS, _PLACES, _PLACES) or not int(rows > 1) <= buckets <= _BUCKETS:
            raise ValueError("no state of ADWIN: a row of another shape")
        values = 2**row
        # Sums of numbers within [0, 1], with a margin for rounding.
        if not all(-1e-6 <= one <= values * 1.000001 for one in [*totals, *variances]):
            raise ValueError("no state of ADWIN: a bucket out of range")
        found_width += buckets * values
        found_total += sum(totals[:buckets])
    is_whole = width == found_width and widths >= 0 and math.isfinite(widths)
    if not is_whole or abs(total - found_total) > 1e-3 * (1 + width) or not -1e-6 <= variance <= width + 1:
        raise ValueError("no state of ADWIN: its sums do not fit its buckets")
    return fresh[:_HEAD] + given[_HEAD:-_TAIL] + fresh[-_TAIL:]

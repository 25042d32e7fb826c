"""Wire format of Protocol Buffers, as far as a reader of ONNX files needs it.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

#: Most fields of one file, all levels together; a network of 1,000 layers has some 30,000.
MAX_FIELDS = 2_000_000


class Malformed(ValueError):
    """Bytes that are not a protobuf message, or a message with too many fields."""


class Field(NamedTuple):
    """Field with its number, its value as an integer (wire types 0, 1 and 5) and its bytes (wire type 2)."""

    number: int
    value: int
    data: memoryview | None


class ParseBudget:
    """Counter of the fields that were read; it ends the reading of a hostile file early."""

    def __init__(self, fields: int = MAX_FIELDS) -> None:
        self._left = fields

    def spend(self) -> None:
        """Count one field.

        Raises
        ------
        Malformed
            If there are too many fields.
        """
        self._left -= 1
        if self._left < 0:
            raise Malformed("it has too many fields")


def fields(data: memoryview, budget: ParseBudget) -> Iterator[Field]:
    """Yield the fields of one message in order.

    Raises
    ------
    Malformed
        At the first byte that is not part of a valid field.

    Examples
    --------
    >>> data = memoryview(b"\\x08\\x07\\x12\\x01a")
    >>> [(f.number, f.value, f.data and bytes(f.data)) for f in fields(data, ParseBudget())]
    [(1, 7, None), (2, 0, b'a')]
    """
    position, size = 0, len(data)
    while position < size:
        budget.spend()
        key, position = varint(data, position)
        number, wire = key >> 3, key & 7
        value, chunk = 0, None
        if wire == 0:
            value, position = varint(data, position)
        elif wire == 2:
            length, start = varint(data, position)
            position = start + length
            chunk = data[start:position]
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            value = int.from_bytes(data[position : position + width], "little")
            position += width
        else:
            raise Malformed(f"wire type {wire}")
        if position > size or number == 0:
            raise Malformed("it ends early")
        yield Field(number, value, chunk)


def varint(data: memoryview, position: int) -> tuple[int, int]:
    """Read a variable-length integer; return it and the position behind it.

    Raises
    ------
    Malformed
        If it does not end, or has over 10 bytes.
    """
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise Malformed("it ends early")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise Malformed("a number of over 10 bytes")


def float_of(bits: int) -> float:
    """Return the float32 whose 4 bytes are given as an integer.

    Raises
    ------
    Malformed
        If the integer has more than 4 bytes: the field was not written as a float.

    Examples
    --------
    >>> float_of(0x3F800000)
    1.0
    """
    if bits >= 2**32:
        raise Malformed("a float that is written as a larger number")
    return float(struct.unpack("<f", bits.to_bytes(4, "little"))[0])

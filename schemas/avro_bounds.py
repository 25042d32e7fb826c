"""Size of an Avro message before it is decoded: the bytes of its payload, and those of all the rest.

Bytes fields (an image, the value of a dead letter) cost one copy, whatever their size. All the rest becomes Python
objects: 16 MB of empty attributes become millions of objects, which takes seconds. So the rest is bounded. It is
measured by a walk over the binary that builds nothing. Each step of the walk passes at least one byte, and the walk
ends as soon as the rest is over its bound, so its cost is bounded too. (Avro 1.12 specification, "Binary encoding".)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from schemas.errors import InvalidRecord, TruncatedMessage

#: Longest encoding of a long, in bytes.
_LONGEST_VARINT = 10
_FIXED_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}

#: Function that moves a walk past one value.
_Step = Callable[["_Walk"], None]


class TooMuch(Exception):
    """Rest over its bound; ``rest_bytes`` is the number of its bytes seen so far."""

    def __init__(self, rest_bytes: int) -> None:
        super().__init__(rest_bytes)
        self.rest_bytes = rest_bytes


class _Walk:
    __slots__ = ("_begin", "_bound", "_data", "at", "payload_bytes")

    def __init__(self, data: bytes, at: int, bound: int) -> None:
        self._data = data
        self.at = at
        self._begin = at
        self._bound = bound
        self.payload_bytes = 0

    def long(self) -> int:
        data, at = self._data, self.at
        value = shift = 0
        while True:
            if at >= len(data):
                raise TruncatedMessage(f"it ends after {len(data)} bytes, too early")
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift >= 7 * _LONGEST_VARINT:
                raise InvalidRecord(f"a whole number at byte {self.at} has more than {_LONGEST_VARINT} bytes")
        self.at = at
        return (value >> 1) ^ -(value & 1)

    def pass_bytes(self, size: int, *, is_payload: bool = False) -> None:
        if size < 0:
            raise InvalidRecord(f"a length at byte {self.at} is {size}")
        self.at += size
        if is_payload:
            self.payload_bytes += size
        if self.at - self.payload_bytes - self._begin > self._bound:
            raise TooMuch(self.at - self.payload_bytes - self._begin)
        if self.at > len(self._data):
            raise TruncatedMessage(f"it ends after {len(self._data)} bytes, too early")


class Measure:
    """Measure of messages of one schema.

    Parameters
    ----------
    schema
        Schema of a record, as parsed JSON; its records and enums are defined at their use, and are not recursive.

    Examples
    --------
    >>> names = {"name": "names", "type": {"type": "map", "values": "int"}}
    >>> schema = {"type": "record", "name": "R", "fields": [{"name": "image", "type": "bytes"}, names]}
    >>> Measure(schema).rest_bytes(b"\\x06abc\\x00", 0, 100)
    2
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        steps = [(_step(field["type"]), _has_payload(field["type"])) for field in schema["fields"]]
        last = max((number for number, (_, has) in enumerate(steps) if has), default=-1)
        #: The walk ends behind the last payload: all bytes after it belong to the rest.
        self._steps = [step for step, _ in steps[: last + 1]]

    def rest_bytes(self, data: bytes, at: int, bound: int) -> int:
        """Count the bytes from ``at`` on that are not payload.

        Raises
        ------
        TooMuch
            If they are more than ``bound``; the walk takes at most ``bound`` steps to notice it.
        TruncatedMessage, InvalidRecord
            If the walk meets the end of the message, or an impossible length.
        """
        walk = _Walk(data, at, bound)
        for step in self._steps:
            step(walk)
        rest_bytes = len(data) - at - walk.payload_bytes
        if rest_bytes > bound:
            raise TooMuch(rest_bytes)
        return rest_bytes


def _has_payload(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(map(_has_payload, schema))
    if not isinstance(schema, dict):
        return bool(schema == "bytes")
    inner = [schema.get("items"), schema.get("values"), *(field["type"] for field in schema.get("fields", ()))]
    return any(_has_payload(each) for each in (*inner, schema["type"]) if each is not None)


def _step(schema: Any) -> _Step:
    """Return the function that passes a value of a schema."""
    if isinstance(schema, list):
        return _union([_step(branch) for branch in schema])
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind in _FIXED_SIZES:
        size = _FIXED_SIZES[kind]
        return lambda walk: walk.pass_bytes(size)
    if kind in ("string", "bytes"):
        is_payload = kind == "bytes"
        return lambda walk: walk.pass_bytes(walk.long(), is_payload=is_payload)
    if kind == "array":
        return _blocks([_step(schema["items"])])
    if kind == "map":
        return _blocks([_step("string"), _step(schema["values"])])
    if kind == "record":
        return _record([_step(field["type"]) for field in schema["fields"]])
    if kind not in ("int", "long", "enum"):
        raise ValueError(f"a schema of ours has no {kind}")
    return _number


def _number(walk: _Walk) -> None:
    walk.long()


def _record(steps: list[_Step]) -> _Step:
    def step(walk: _Walk) -> None:
        for each in steps:
            each(walk)

    return step


def _union(branches: list[_Step]) -> _Step:
    def step(walk: _Walk) -> None:
        number = walk.long()
        if not 0 <= number < len(branches):
            raise InvalidRecord(f"byte {walk.at} names branch {number} of a union of {len(branches)}")
        branches[number](walk)

    return step


def _blocks(steps: list[_Step]) -> _Step:
    """Return the function that passes the blocks of an array or a map; counts are walked, not trusted."""

    def step(walk: _Walk) -> None:
        while (count := walk.long()) != 0:
            if count < 0:
                walk.long()  # size of the block: not trusted either
                count = -count
            for _ in range(count):
                before = walk.at
                for each in steps:
                    each(walk)
                if walk.at == before:
                    raise InvalidRecord(f"{count} items of no size at byte {walk.at}")
                walk.pass_bytes(0)

    return step

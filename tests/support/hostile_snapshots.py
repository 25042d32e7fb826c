"""Messages for the state topic that no watch has written, and true ones with one change."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

from stream_processors.watch.state import Snapshot

DEEP = b"[" * 200_000


def raw(header: bytes, *states: bytes) -> bytes:
    """Return a snapshot with any header."""
    return b"ID1" + len(header).to_bytes(4, "big") + header + b"".join(states)


def with_state(topic: str, name: str, state: bytes) -> bytes:
    """Return a snapshot with one state."""
    return Snapshot({topic: 1}, {name: state}).dumps()


def hostile(decisions: str) -> dict[str, bytes]:
    """Return hostile snapshots by name, for the topic of decisions."""
    huge = b"1" + b"0" * 4000
    bomb = zlib.compress(bytes(100_000_000), 9)
    wide = zlib.compress(b'{"version":2,"products":[' + b"[]," * 3_000_000 + b"[]]}")
    found = {
        "infinity": raw(b'{"offsets":{"t":Infinity},"lengths":{}}'),
        "huge offset": raw(b'{"offsets":{"t":' + huge + b'},"lengths":{}}'),
        "negative offset": raw(b'{"offsets":{"t":-1},"lengths":{}}'),
        "negative length": raw(b'{"offsets":{},"lengths":{"data":-1}}'),
        "deep": raw(DEEP),
        "utf-16": raw('{"offsets":{},"lengths":{}}'.encode("utf-16")),
        "length beyond": b"ID1\xff\xff\xff\xff{}",
        "far ahead": Snapshot({decisions: 2**62}, {}).dumps(),
        "a little ahead": Snapshot({decisions: 1_000_000}, {}).dumps(),
        "large": with_state(decisions, "data", bytes(3_900_000)),
        "deep concept": with_state(decisions, "concept", DEEP),
        "surrogates": with_state(decisions, "concept", rb'{"identity":["\ud800","press","cam"],"open":{}}'),
    }
    for name in ("data", "quality"):
        mark = b"" if name == "data" else b"\x01"
        for what, state in (("deep", zlib.compress(DEEP)), ("bomb", bomb), ("wide", wide)):
            found[f"{what} {name}"] = with_state(decisions, name, mark + state)
    return found


#: Values that replace a true one.
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**400, float("nan"), float("inf"), -1e308, "", "x", "\ud800", [], [[]], {}, {"x": 1},
    [1, 2, 3], "9" * 20_000,
)  # fmt: skip


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the paths of the values in a JSON value; of long lists the first two, and the last."""
    if at:
        yield at
    if isinstance(value, dict):
        for name in value:
            yield from paths(value[name], (*at, name))
    elif isinstance(value, list):
        for number in sorted({0, 1, len(value) - 1} & set(range(len(value)))):
            yield from paths(value[number], (*at, number))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy with another value at a place."""
    copied = json.loads(json.dumps(value))
    place = copied
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = new
    return copied

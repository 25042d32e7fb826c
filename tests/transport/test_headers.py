"""Headers as anyone may send them."""

from __future__ import annotations

import pytest

from transport.header_values import traceparent
from transport.headers import header_map

GOOD = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_value_may_be_null_and_a_name_come_twice() -> None:
    assert header_map((("a", None), ("b", b"1"), ("b", b"2"))) == {"a": b"", "b": b"2"}
    assert header_map({"a": None}) == {"a": b""}
    assert header_map(None) == {}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x" * 1_100_000,
        GOOD + b"\n",
        GOOD + b"-more",
        GOOD.upper(),
        b"ff" + GOOD[2:],
        b"00-" + b"0" * 32 + GOOD[35:],
        GOOD[:36] + b"0" * 16 + GOOD[52:],
    ],
)
def test_only_what_the_standard_allows_goes_on(value: bytes) -> None:
    assert traceparent({"traceparent": value}) is None
    assert traceparent({"traceparent": GOOD}) == GOOD

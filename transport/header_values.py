"""Checks of message headers that anyone may have sent, before they are passed on."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: W3C Trace Context, section 3.2: version, trace id, parent id, flags. Later versions may be longer; we know none.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent(headers: Mapping[str, bytes]) -> bytes | None:
    """Return the trace that a message belongs to; None if there is no well-formed one.

    Only a well-formed value is passed on to the decision: any other could be too large for its topic.

    Examples
    --------
    >>> traceparent({"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}) is None
    False
    >>> traceparent({"traceparent": b"x" * 2_000_000}) is None
    True
    """
    value = headers.get("traceparent", b"")
    return value if _TRACEPARENT.fullmatch(value) else None

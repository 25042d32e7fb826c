"""JSON that every reader accepts, from records with NaN, infinities and names that are not UTF-8."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from schemas.text import file_text


def json_text(value: Any, **options: Any) -> str:
    r"""Return a value as JSON (RFC 8259) in ASCII: NaN and infinities are null, bytes of a name are ``\xfc``.

    Parameters
    ----------
    options
        Options of `json.dumps`, such as ``indent``.

    Examples
    --------
    >>> print(json_text({"score": float("nan"), "file": "gr\udcfcn.png", "at_us": 2**62}))
    {"score": null, "file": "gr\\xfcn.png", "at_us": 4611686018427387904}
    """
    return json.dumps(plain(value), allow_nan=False, **options)


def plain(value: Any) -> Any:
    """Return the value converted to types and numbers that JSON has; see `json_text`."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str):
        return file_text(value)
    if isinstance(value, Mapping):
        return {file_text(name) if isinstance(name, str) else name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value

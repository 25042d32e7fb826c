"""What a check gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check; ``remedy`` is what to do, empty when all is well."""

    name: str
    status: Status
    detail: str
    remedy: str = ""

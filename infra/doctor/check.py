"""Result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check; ``remedy`` says what to do, and is empty if nothing is wrong."""

    name: str
    status: Status
    detail: str
    remedy: str = ""

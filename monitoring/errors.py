"""Error of this package."""

from __future__ import annotations

from schemas.errors import InspectionError


class StateError(InspectionError, ValueError):
    """Bytes that are not a state which this version can read."""

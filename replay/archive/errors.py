"""Errors of an archive."""

from __future__ import annotations

from schemas.errors import InspectionError


class ArchiveError(InspectionError):
    """Archive that cannot be read or written, is damaged, or is not of this line; one line states what to do."""

"""What can be wrong with an archive."""

from __future__ import annotations

from schemas.errors import InspectionError


class ArchiveError(InspectionError):
    """An archive cannot be read or written, is damaged, or is not of this line; one line says what to do."""

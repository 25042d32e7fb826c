"""Errors of a spool.

::

    InspectionError
        SpoolError
            SpoolInUse        another process writes the spool
            SpoolFull         the spool has reached its bound, with ``drop-newest`` or without an evictable frame
            SpoolUnwritable   the disk is full, read-only or failing
                SpoolMisplaced    the path of its directory is not a directory, or we must not write to it
"""

from __future__ import annotations

from schemas.errors import InspectionError


class SpoolError(InspectionError):
    """Base of the errors of a spool."""


class SpoolInUse(SpoolError):
    """Spool that another process uses."""


class SpoolFull(SpoolError):
    """Spool that has reached its bound."""


class SpoolUnwritable(SpoolError):
    """Disk that does not take a frame or a change."""


class SpoolMisplaced(SpoolUnwritable):
    """Spool that cannot be made at its path: a mistake of set-up, not a fault of the disk."""

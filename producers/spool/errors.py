"""What can go wrong with a spool.

::

    InspectionError
        SpoolError
            SpoolInUse        another process writes it
            SpoolFull         its own bound, with ``drop-newest`` or nothing that may give way
            SpoolUnwritable   the disk: full, read-only, failing
"""

from __future__ import annotations

from schemas.errors import InspectionError


class SpoolError(InspectionError):
    """A spool cannot do what was asked."""


class SpoolInUse(SpoolError):
    """Another process holds the spool."""


class SpoolFull(SpoolError):
    """The spool has reached its bound."""


class SpoolUnwritable(SpoolError):
    """The disk does not take the frame."""

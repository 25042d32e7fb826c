"""What can go wrong with a spool.

::

    InspectionError
        SpoolError
            SpoolInUse        another process writes it
            SpoolFull         its own bound, with ``drop-newest`` or nothing that may give way
            SpoolUnwritable   the disk: full, read-only, failing
                SpoolMisplaced    its directory is none, or not ours to write
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


class SpoolMisplaced(SpoolUnwritable):
    """The spool cannot be where it is to be: a mistake of set-up, not of the disk."""

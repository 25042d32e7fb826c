"""What can be wrong with a model package or an image.

::

    InspectionError
    ├── ModelPackageError     the message names the manifest's line
    └── ImageError            bytes that cannot be inspected (carries ``kind``)
"""

from __future__ import annotations

from schemas.errors import InspectionError


class ModelPackageError(InspectionError):
    """A model package that must not be used; the message says why and, where it can, on which line."""


class ImageError(InspectionError):
    """An image that cannot be inspected.

    Parameters
    ----------
    kind
        Stable word for metrics and dead letters: ``unreadable-image``, ``image-too-large``,
        ``altered-image``, ``size-mismatch``.
    reason
        One line for a person.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind

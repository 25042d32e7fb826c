"""Errors of model packages and images.

::

    InspectionError
    ├── ModelPackageError     the message names the manifest's line
    │   └── ImportRefused     a model of another framework that does not become a package
    └── ImageError            bytes that cannot be inspected (carries ``kind``)
"""

from __future__ import annotations

from schemas.errors import InspectionError


class ModelPackageError(InspectionError):
    """Model package that must not be used; the message states the cause and, if it is known, the line."""


class ImportRefused(ModelPackageError):
    """Model of another framework that cannot become a package; the message states the cause and the remedy."""


class ImageError(InspectionError):
    """Image that cannot be inspected.

    Parameters
    ----------
    kind
        Stable word for metrics and dead letters: ``unreadable-image``, ``image-too-large``,
        ``altered-image``, ``size-mismatch``, ``outside-frame``,
        ``tiles-do-not-fit``, ``depth-mismatch``, ``no-mosaic``.
    reason
        One line for a person.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind

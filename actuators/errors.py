"""Errors of the gate, under `schemas.errors.InspectionError`.

::

    InspectionError
    └── GateError           the gate cannot do its work; the line should stop
        └── GateFull        more parts on the belt than the gate has room for
"""

from __future__ import annotations

from schemas.errors import InspectionError


class GateError(InspectionError):
    """The gate cannot do its work; the line should stop."""


class GateFull(GateError):
    """Too many parts on the belt: the gate cannot track this part, which would pass it unseen."""

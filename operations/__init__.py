"""Operations on a running line: audit it, label its parts, look after dead letters and episodes.

People write to the live topics through this package only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operations.audit.accounts import Audit
    from operations.audit.counts import CameraCounts
    from operations.labels.csv_file import labels_from_csv
    from operations.labels.make import LabelError, make_label, publish_labels

#: Names of each module. A module is imported on first use.
_NAMES = {
    "operations.audit.accounts": ("Audit",),
    "operations.audit.counts": ("CameraCounts",),
    "operations.labels.csv_file": ("labels_from_csv",),
    "operations.labels.make": ("LabelError", "make_label", "publish_labels"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Audit",
    "CameraCounts",
    "LabelError",
    "labels_from_csv",
    "make_label",
    "publish_labels",
]


def __getattr__(name: str) -> Any:
    try:
        module = _MODULES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)

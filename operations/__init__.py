"""Operations on a running line: audit it, label its parts, look after dead letters and episodes.

People write to the live topics through this package only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transport.lazy_names import lazy_names

if TYPE_CHECKING:
    from operations.audit.accounts import Audit
    from operations.audit.counts import CameraCounts
    from operations.labels.csv_file import labels_from_csv
    from operations.labels.make import LabelError, make_label
    from operations.labels.publish import publish_labels

#: Names of each module. A module is imported on first use.
_NAMES = {
    "operations.audit.accounts": ("Audit",),
    "operations.audit.counts": ("CameraCounts",),
    "operations.labels.csv_file": ("labels_from_csv",),
    "operations.labels.make": ("LabelError", "make_label"),
    "operations.labels.publish": ("publish_labels",),
}

__all__ = [
    "Audit",
    "CameraCounts",
    "LabelError",
    "labels_from_csv",
    "make_label",
    "publish_labels",
]

__getattr__ = lazy_names(__name__, _NAMES)

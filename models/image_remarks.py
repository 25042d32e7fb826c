"""Log of odd images that are inspected: one line for each camera, or source of images, and kind of remark."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from models.remarks import Remark

log = logging.getLogger(__name__)

#: Most cameras that are remembered; their names come from messages, and may be invented.
_MOST_CAMERAS = 1000
_NAME_LIMIT = 100


class ImageRemarks:
    """Log of each kind of remark, once for each camera. Thread-safe.

    Beyond `_MOST_CAMERAS` pairs of camera and kind no more lines are logged; the metrics continue to count.

    Examples
    --------
    >>> remarks = ImageRemarks()
    >>> remarks.log("press/top", [Remark("shrunk", "16384 pixels become 224", 73.1)]), remarks.logged
    (None, 1)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[tuple[str, str]] = set()

    @property
    def logged(self) -> int:
        """Number of lines logged so far."""
        return len(self._known)

    def log(self, camera: str, remarks: Iterable[Remark]) -> None:
        """Log the remarks that have not been logged for this camera."""
        for remark in remarks:
            known = (camera[:_NAME_LIMIT], remark.kind)
            with self._lock:
                if known in self._known or len(self._known) >= _MOST_CAMERAS:
                    continue
                self._known.add(known)
            log.warning("%s: %s (%s; said once a camera)", *known[:1], remark.text, remark.kind)

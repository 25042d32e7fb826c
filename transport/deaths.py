"""Mark of an unclean death in the folder of a group: for a while, each assignment of the group begins with a trial.

One process finds the file that a dead one has left, and removes it (`transport.quarantine`). Another process of
the group may get the partition, so the find is marked for all.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from schemas.private_files import read_private, replace_private

log = logging.getLogger(__name__)

#: Time in which the partitions of a dead process have come to another: session timeout, rebalance, a slow start.
_MARKED_S = 120.0


class Deaths:
    """Deaths that the processes of a group on this host have found.

    Parameters
    ----------
    folder
        Folder of the group; None: none is known.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> one, other = Deaths(folder), Deaths(folder)
    >>> one.found()
    >>> one.are_due(), one.are_due(), other.are_due()
    (True, True, True)
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "died"
        self._is_found = False

    def found(self) -> None:
        """Mark the death of a process, which ended without a stop."""
        self._is_found = True
        if self._path is not None:
            try:
                replace_private(self._path, repr(time.time()).encode(), sync=False)
            except OSError as error:
                log.warning("%s cannot be written: %s", self._path, error)

    def are_due(self) -> bool:
        """Return True if a death was found since the last call, or marked by any process not long ago."""
        is_found, self._is_found = self._is_found, False
        if self._path is None:
            return is_found
        try:
            marked_s = float(read_private(self._path)[:64])
        except (OSError, ValueError):
            return is_found
        return is_found or abs(time.time() - marked_s) < _MARKED_S

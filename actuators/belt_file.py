"""File that reports a stopped belt: another process writes it, and a gate that starts meanwhile reads it.

::

    <state_dir>/gate.belt-stopped.json    exists while the belt is stopped: author, time and reason of the report
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.clock import Clock, SystemClock
from schemas.errors import SettingsError
from schemas.private_files import read_private, replace_private

log = logging.getLogger(__name__)

#: Interval at which a running gate checks the file, in seconds.
CHECK_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class BeltStop:
    """Report of a stopped belt: its author, time (UTC µs) and reason."""

    who: str
    note: str
    at_us: int


class BeltFile:
    """File of one gate's belt.

    Examples
    --------
    >>> import tempfile
    >>> file = BeltFile(Path(tempfile.mkdtemp()))
    >>> file.is_stopped()
    False
    >>> file.stop("ada", "jam")
    >>> file.is_stopped(), file.load().note
    (True, 'jam')
    >>> file.resume(), file.resume(), file.is_stopped()
    (True, False, False)
    """

    def __init__(self, state_dir: Path, clock: Clock | None = None) -> None:
        self.path = state_dir / "gate.belt-stopped.json"
        self._clock = clock or SystemClock()
        #: The last result of a check; until the first check the belt counts as stopped.
        self._is_stopped = True
        self._is_failing = False

    def is_stopped(self) -> bool:
        """Return True if the belt is reported as stopped. Makes one system call, and never raises.

        If the check fails (no permission, a failing disk or network), the last result counts. Before the first
        result, the belt counts as stopped: the gate accepts nothing on a belt of which it knows nothing.
        """
        try:
            os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            self._is_stopped = False
        except OSError as error:
            if not self._is_failing:
                log.error(
                    "%s: %s; until it can be looked at the belt counts as %s", self.path, error.strerror or error,
                    "standing" if self._is_stopped else "moving",
                )  # fmt: skip
            self._is_failing = True
            return self._is_stopped
        else:
            self._is_stopped = True
        self._is_failing = False
        return self._is_stopped

    def load(self) -> BeltStop | None:
        """Return the report; None while the belt moves. A file that cannot be read still counts as a stopped belt."""
        if not self.is_stopped():
            return None
        try:
            report = json.loads(read_private(self.path))
            return BeltStop(str(report["who"])[:200], str(report["note"])[:200], int(report["at_us"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return BeltStop("unknown", "the file cannot be read", 0)

    def stop(self, who: str, note: str = "") -> None:
        """Report that the belt is stopped.

        Raises
        ------
        SettingsError
            If the file cannot be written.
        """
        stop = BeltStop(who, note, self._clock.utc_us())
        try:
            replace_private(self.path, json.dumps(asdict(stop)).encode())
        except OSError as error:
            raise SettingsError(f"cannot write {self.path}: {error.strerror or error}") from error

    def resume(self) -> bool:
        """Report that the belt moves; return False if it was not stopped.

        Raises
        ------
        SettingsError
            If the file cannot be removed.
        """
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SettingsError(f"cannot remove {self.path}: {error.strerror or error}") from error
        return True

"""Counts of the edge: reports of `inspection produce --json`, and the spools of a machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from operations.audit.reconcile import EdgeStart
from producers.spool import SpoolFile, read_starts
from schemas.errors import InspectionError
from schemas.plain_files import read_plain

#: Largest report: ten thousand cameras have 5 MB.
_MOST_BYTES = 64 * 1024 * 1024


class NoEdgeReport(InspectionError):
    """File that is not the output of `inspection produce --json`."""


def read_report(path: Path) -> list[EdgeStart]:
    """Return the cameras of an edge report, one start each.

    Raises
    ------
    NoEdgeReport
        If the file cannot be read, or is not an edge report.
    """
    try:
        return [_start(row) for row in json.loads(read_plain(path, _MOST_BYTES, regular=False))["cameras"]]
    except OSError as error:
        raise NoEdgeReport(f"{path}: {error.strerror}") from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise NoEdgeReport(f"{path}: not what `inspection produce --json` prints") from None


def read_spool(file: SpoolFile) -> list[EdgeStart]:
    """Return each start of the camera that its spool knows. This works while the camera runs.

    Raises
    ------
    SpoolUnwritable
        If the file cannot be read as a spool.
    """
    return [
        EdgeStart(
            camera=file.camera,
            started_at_us=start.started_at_us,
            captured=start.last_sequence + 1,
            lost=start.lost,
            waiting_sequences=start.waiting_sequences,
        )
        for start in read_starts(file.path)
    ]


def _start(row: dict[str, Any]) -> EdgeStart:
    """Return the start in a row of a report; fields that older versions did not write are 0 or None.

    Examples
    --------
    >>> row = {"name": "s/c", "captured": 9, "published": 6, "dropped": 1, "failed": 1, "spooled": 1}
    >>> start = _start(row)
    >>> start.captured, start.lost, start.spooled, start.unsure
    (9, 2, 1, 0)
    """
    dropped, failed = _number(row["dropped"]), _number(row["failed"])
    captured, spooled = _number(row.get("captured", 0)), _number(row.get("spooled", 0))
    # A frame without an acknowledgement counts as failed, but if only the answer was lost, the frame is in the topic.
    unsure = _number(row.get("failed_by_reason", {}).get("undelivered", 0))
    pending = captured - _number(row.get("published", captured)) - dropped - failed - spooled
    return EdgeStart(
        camera=str(row["name"]),
        started_at_us=None if row.get("started_at_us") is None else _number(row["started_at_us"]),
        reported=True,
        captured=captured,
        lost=dropped + failed - unsure,
        spooled=spooled,
        unsure=unsure + max(0, pending),
    )


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} is not a count")
    return value

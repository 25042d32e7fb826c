"""Headers of a decision that name its worker. Several groups may answer the same frames, see docs/high-availability.md.

Any writer can set them, so they only sort figures: no gate looks at them.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Consumer group of the worker.
GROUP_HEADER = "inspection-group"
#: Host and process of the worker.
WORKER_HEADER = "inspection-worker"
#: Longest names, in bytes: a decision of the largest size still has room for both.
_MOST_BYTES = 256


def origin_headers(group: str, worker: str) -> tuple[tuple[str, bytes], ...]:
    """Return the headers of a worker's decisions; long names are cut.

    Examples
    --------
    >>> origin_headers("inspection-workers", "host/7")
    (('inspection-group', b'inspection-workers'), ('inspection-worker', b'host/7'))
    """
    names = {GROUP_HEADER: group, WORKER_HEADER: worker}
    return tuple((header, name.encode(errors="replace")[:_MOST_BYTES]) for header, name in names.items())


def group_name(headers: Mapping[str, bytes]) -> bytes:
    """Return the group that made a decision; empty if it does not say so, as those of older workers.

    Examples
    --------
    >>> group_name({"inspection-group": b"g"}), group_name({})
    (b'g', b'')
    """
    return headers.get(GROUP_HEADER, b"")[:_MOST_BYTES]

"""Frames on disk while the broker is unreachable: append, read in order, delete once acknowledged.

Each camera has one SQLite file, in WAL mode; every record has a checksum of its own. See docs/spool.md.
"""

from producers.spool.errors import SpoolError, SpoolFull, SpoolInUse, SpoolMisplaced, SpoolUnwritable
from producers.spool.files import SpoolFile, find_spools, spool_path
from producers.spool.inspect_file import (
    SpoolCounts,
    SpooledStart,
    Verified,
    read_counts,
    read_starts,
    verify_spool,
    waiting_hours,
)
from producers.spool.lazy import LazySpool
from producers.spool.options import SpoolOptions
from producers.spool.record import SpooledFrame
from producers.spool.store import Spool

__all__ = [
    "LazySpool",
    "Spool",
    "SpoolCounts",
    "SpoolError",
    "SpoolFile",
    "SpoolFull",
    "SpoolInUse",
    "SpoolMisplaced",
    "SpoolOptions",
    "SpoolUnwritable",
    "SpooledFrame",
    "SpooledStart",
    "Verified",
    "find_spools",
    "read_counts",
    "read_starts",
    "spool_path",
    "verify_spool",
    "waiting_hours",
]

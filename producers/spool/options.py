"""Options of a spool."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from schemas.errors import SettingsError
from schemas.user_folders import user_folder

#: Frames that are spooled. ``outage``: only frames that the broker does not accept. ``always``: every frame, before
#: `publish` returns.
SpoolMode = Literal["outage", "always"]
#: Policy for a full spool.
WhenFull = Literal["drop-oldest", "drop-newest"]
#: ``full``: fsync of each append; frames survive a power cut. ``normal``: occasional fsync; frames survive a killed
#: process.
Sync = Literal["full", "normal"]
#: Order of sending once the broker accepts frames again.
DrainOrder = Literal["live-first", "order-first"]

_MIB = 1024 * 1024


def default_spool_dir() -> Path:
    """Return the default directory of spools, in the user's state directory, which survives a reboot."""
    return user_folder("state") / "spool"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolOptions:
    """Bounds and policies of a camera's spool.

    Parameters
    ----------
    directory
        Directory of the files, on a disk that survives a reboot.
    mode
        ``outage`` writes frames that Kafka has not acknowledged after ``unreachable_after_ms``: a ``kill -9`` or a
        power cut can lose the frames younger than that. ``always`` writes each frame before `FramePublisher.publish`
        returns, which costs an append and a delete for each frame.
    max_bytes
        Most bytes of frames in the spool. The file is larger by half-used pages and its log, at most 10 % and 20 MiB.
    when_full
        ``drop-oldest`` evicts frames to make room, ``drop-newest`` refuses the new frame. Each drop is counted and
        logged.
    sync
        ``full`` or ``normal``, as SQLite's ``synchronous`` in WAL mode.
    order
        ``live-first`` drains the spool beside live frames: in the gaps between them, and at least one frame for eight
        live frames. ``order-first`` keeps live frames on disk until all frames before them are sent.
    unreachable_after_ms
        Longest wait of a frame for its acknowledgement, in milliseconds; after it the broker counts as unreachable.

    Raises
    ------
    SettingsError
        If a value is impossible.

    Examples
    --------
    >>> SpoolOptions(directory=Path("/var/lib/spool")).when_full
    'drop-oldest'
    """

    directory: Path = field(default_factory=default_spool_dir)
    mode: SpoolMode = "outage"
    max_bytes: int = 1024 * _MIB
    when_full: WhenFull = "drop-oldest"
    sync: Sync = "full"
    order: DrainOrder = "live-first"
    unreachable_after_ms: int = 1_000

    def __post_init__(self) -> None:
        for name, value, known in (
            ("mode", self.mode, SpoolMode),
            ("when_full", self.when_full, WhenFull),
            ("sync", self.sync, Sync),
            ("order", self.order, DrainOrder),
        ):
            if value not in get_args(known):
                raise SettingsError(f"spool {name} {value!r}: one of {', '.join(get_args(known))}")
        if self.max_bytes < _MIB:
            raise SettingsError(f"a spool of {self.max_bytes} bytes: at least 1 MiB")
        if self.unreachable_after_ms < 1:
            raise SettingsError(f"unreachable_after_ms is {self.unreachable_after_ms}; it must be more than 0")

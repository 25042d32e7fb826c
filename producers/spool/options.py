"""How frames are spooled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from schemas.errors import SettingsError
from schemas.user_folders import user_folder

#: ``outage``: only what the broker does not take. ``always``: every frame, before `publish` returns.
SpoolMode = Literal["outage", "always"]
#: What gives way when the spool is full.
WhenFull = Literal["drop-oldest", "drop-newest"]
#: ``full``: fsync each append, survives a power cut. ``normal``: fsync now and then, survives a killed process.
Sync = Literal["full", "normal"]
#: What goes first once the broker is back.
DrainOrder = Literal["live-first", "order-first"]

_MIB = 1024 * 1024


def default_spool_dir() -> Path:
    """Where spools lie if nothing else is said: the user's state directory, which survives a reboot."""
    return user_folder("state") / "spool"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolOptions:
    """Bounds and policies of a camera's spool.

    Parameters
    ----------
    directory
        Where the files lie; on a disk that survives a reboot.
    mode
        ``outage`` writes what Kafka has not acknowledged after ``away_after_ms``: a ``kill -9`` or a power cut can
        cost the frames younger than that. ``always`` writes each frame before `FramePublisher.publish` returns, and
        costs an append and a delete a frame.
    max_bytes
        Of frames held; the file is larger by pages half used and its log, 10 % and 20 MiB at most.
    when_full
        ``drop-oldest`` makes room, ``drop-newest`` refuses. Each drop is counted and logged.
    sync
        ``full`` or ``normal``, as SQLite's ``synchronous`` in WAL mode.
    order
        ``live-first`` drains beside live frames, in the gaps they leave and at least one for eight of them.
        ``order-first`` holds live frames back on disk until all before them are sent.
    away_after_ms
        The broker counts as away when a frame has waited so long for its acknowledgement.

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
    away_after_ms: int = 1_000

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
        if self.away_after_ms < 1:
            raise SettingsError(f"away_after_ms is {self.away_after_ms}; it must be more than 0")

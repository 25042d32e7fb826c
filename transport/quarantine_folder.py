"""Folder of the quarantine of a process group, see `transport.quarantine`."""

from __future__ import annotations

import logging
import os
import urllib.parse
import zlib
from pathlib import Path

from schemas.errors import SettingsError
from schemas.user_folders import user_folder
from transport.quarantine import STATE_DIR_VARIABLE, Quarantine

log = logging.getLogger(__name__)


def folder_of(group: str, topic: str, state_dir: Path | None = None) -> Path:
    """Return the folder of the workers of a group on this host; by default in the user's folder for state.

    Raises
    ------
    SettingsError
        If the user has no home folder, and no other is named.

    Examples
    --------
    >>> folder_of("inspection-workers", "a/b", Path("/var/lib/inspection")).as_posix()
    '/var/lib/inspection/worker/inspection-workers a%2Fb'
    """
    named = state_dir or os.environ.get(STATE_DIR_VARIABLE) or user_folder("state")
    names = [urllib.parse.quote(each, safe="") for each in (group, topic)]
    name = " ".join(each if len(each) <= 100 else f"{each[:80]}-{zlib.crc32(each.encode()):08x}" for each in names)
    return Path(named) / "worker" / name


def open_quarantine(group: str, topic: str, state_dir: Path | None = None) -> Quarantine:
    """Open the files of a process, see `folder_of`. Without a folder the quarantine keeps nothing, which is logged."""
    try:
        folder = folder_of(group, topic, state_dir)
    except SettingsError as error:
        log.warning("a message that ends this process will not be recognised at the next start: %s", error)
        return Quarantine(None)
    return Quarantine(folder)

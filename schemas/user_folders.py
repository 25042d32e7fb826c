"""Folders of the current user for state, data and caches, by the XDG Base Directory Specification.

A user without an entry in the password file, as in a container, has no home folder: without ``HOME`` the path would
begin with ``~``, a folder of that name in the current one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path, user_data_path, user_state_path

from schemas.errors import SettingsError

_FOLDERS = {"state": user_state_path, "data": user_data_path, "cache": user_cache_path}


def user_folder(kind: Literal["state", "data", "cache"]) -> Path:
    """Return the folder of this project; it may not exist.

    Raises
    ------
    SettingsError
        If the user has no home folder.

    Examples
    --------
    >>> user_folder("state").name
    'streaming-inspection'
    """
    try:
        folder: Path | None = _FOLDERS[kind]("streaming-inspection")
    except RuntimeError:  # newer versions of platformdirs; older ones return a path that begins with ~
        folder = None
    if folder is None or not folder.is_absolute():
        variable = f"XDG_{kind.upper()}_HOME"
        raise SettingsError(f"this user has no home folder: set HOME or {variable} to an absolute path")
    return folder

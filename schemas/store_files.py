"""The file systems under the image store and the archive: opened with bounds on time, and each call ends by them.

fsspec's own defaults suit batch jobs: an S3 client that retries for a quarter of a minute stops a line. What is a
batch job asks for wider `Bounds`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.config import conf
from fsspec.implementations.local import LocalFileSystem

from schemas.addresses import masked_address, masked_text
from schemas.errors import SettingsError
from schemas.private_files import open_new, sync_folder

#: Seconds that a listing may take, which no line waits for.
_LIST_S = 30.0
#: How the names of files begin that a local write has not finished; what is left of them after a crash is rubbish.
PART_PREFIX = ".part-"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a call over the network may take; a directory has no such bounds.

    Parameters
    ----------
    connect_s, silence_s
        Seconds until S3 has taken a connection, and of silence in it.
    attempts
        Tries that S3's client makes; AWS_MAX_ATTEMPTS overrides it.
    slowest_bytes_per_s
        A read or write ends after the two above, for each try, and its bytes at this rate.
    """

    connect_s: float = 1.0
    silence_s: float = 2.0
    attempts: int = 1
    slowest_bytes_per_s: int = 25_000_000


#: For what the line waits for.
LIVE = Bounds()


def open_files(
    uri: str, options: Mapping[str, Any], *, what: str = "image store", bounds: Bounds = LIVE
) -> tuple[Any, str]:
    """The file system of an fsspec URI, and the path in it; ``what`` names it in errors.

    Raises
    ------
    SettingsError
        If there is no such file system, or its package is not installed.

    Examples
    --------
    >>> open_files("memory://images", {})[1]
    '/images'
    """
    is_s3 = uri.startswith(("s3://", "s3a://"))
    try:
        files, root = fsspec.core.url_to_fs(uri, **(_s3_options(options, bounds) if is_s3 else options))
    except ImportError as error:
        help_ = "pip install 'streaming-inspection[s3]'" if is_s3 else str(error)
        name = masked_address(uri, with_path=True)
        raise SettingsError(f"{what} {name!r} needs a package that is not installed: {help_}") from error
    except ValueError as error:
        raise SettingsError(f"{what} {masked_address(uri, with_path=True)!r}: {said(error, uri)}") from error
    if is_s3:
        files.retries = 1  # s3fs has a loop of its own around that of botocore, as an attribute of the class
    return files, str(root).rstrip("/")


def _s3_options(options: Mapping[str, Any], bounds: Bounds) -> dict[str, Any]:
    """The bounds' waits and tries, unless the options, fsspec's configuration or AWS_MAX_ATTEMPTS say otherwise."""
    config: dict[str, Any] = {"connect_timeout": bounds.connect_s, "read_timeout": bounds.silence_s}
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        config["retries"] = {"total_max_attempts": bounds.attempts}
    config |= conf.get("s3", {}).get("config_kwargs", {})
    config |= options.get("config_kwargs", {})
    # An instance of our own: others in the process may want other bounds. A listing is never older than the call.
    return {"use_listings_cache": False, "skip_instance_cache": True, **options, "config_kwargs": config}


def write(files: Any, path: str, data: bytes, bounds: Bounds = LIVE) -> None:
    """Write a whole object; on a local disk it is synced when this returns.

    Raises
    ------
    Exception
        Whatever the file system raises, `fsspec.exceptions.FSTimeoutError` when time is up; so do the others.
    """
    if isinstance(files, LocalFileSystem):
        _write_synced(Path(path), data)
    else:
        _call(files, "pipe_file", path, data, within_s=_bound_s(files, len(data), bounds))


def read(files: Any, path: str, limit_bytes: int, *, start: int = 0, bounds: Bounds = LIVE) -> bytes:
    """Bytes of an object from ``start`` on, at most so many; fewer where it ends before."""
    within_s = _bound_s(files, limit_bytes, bounds)
    return bytes(_call(files, "cat_file", path, start=start, end=start + limit_bytes, within_s=within_s))


def read_all(files: Any, paths: Sequence[str], bounds: Bounds = LIVE) -> dict[str, bytes | Exception]:
    """Small objects, whole, at the same time where the file system can; what cannot be read as its exception."""
    within_s = _LIST_S + len(paths) * _bound_s(files, 0, bounds)
    # With one path `cat` gives its bytes, unless told that it is a list by giving it one: then a dict.
    found = _call(files, "cat", list(paths), on_error="return", within_s=within_s)
    return dict(found)


def names(files: Any, path: str) -> list[str]:
    """Paths of what lies in a folder."""
    return [str(name) for name in _call(files, "ls", path, detail=False, within_s=_LIST_S)]


def tree(files: Any, path: str) -> dict[str, dict[str, Any]]:
    """All files below a folder by path, with what the file system knows of them; empty where there is none."""
    # A listing of a hundred thousand objects is a hundred answers.
    return dict(_call(files, "find", path, detail=True, withdirs=False, within_s=20 * _LIST_S))


def remove(files: Any, path: str, bounds: Bounds = LIVE) -> None:
    """Delete a file."""
    _call(files, "rm_file", path, within_s=_bound_s(files, 0, bounds))


def _bound_s(files: Any, size_bytes: int, bounds: Bounds) -> float:
    config = getattr(files, "config_kwargs", {})
    try_s = config.get("connect_timeout", bounds.connect_s) + config.get("read_timeout", bounds.silence_s)
    # Who asks for longer waits or more tries gets them.
    tries = int(os.environ.get("AWS_MAX_ATTEMPTS", bounds.attempts))
    return float(try_s * tries + size_bytes / bounds.slowest_bytes_per_s)


def _call(files: Any, method: str, *args: Any, within_s: float, **kwargs: Any) -> Any:
    # The client's own timeouts are for each silence: one that trickles, or never says "100 Continue", has none.
    if isinstance(files, AsyncFileSystem):
        return sync(files.loop, getattr(files, f"_{method}"), *args, timeout=within_s, **kwargs)
    return getattr(files, method)(*args, **kwargs)


def error_code(error: BaseException) -> str:
    """The code in an answer of S3, such as ``NoSuchBucket``; empty if there is none.

    Examples
    --------
    >>> error_code(FileNotFoundError("here"))
    ''
    """
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def said(error: BaseException, uri: str = "") -> str:
    """Return an error in one line, without the secrets of the store's URI; some errors have no text.

    Examples
    --------
    >>> said(TimeoutError())
    'TimeoutError'
    """
    return masked_text(" ".join(str(error).split()), uri, with_path=True) or type(error).__name__


def _write_synced(path: Path, data: bytes) -> None:
    """Write to a file beside, sync, rename: the path has the whole object or none."""
    new = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = open_new(path.parent, PART_PREFIX)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    # A folder that was made is an entry of the one above, which wants to be synced too.
    for folder in [path.parent, *(made.parent for made in new)]:
        sync_folder(folder)

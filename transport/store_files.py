"""File systems under the image store and the archive, with bounds on the time of each call.

fsspec's own defaults suit batch jobs: an S3 client that retries for a quarter of a minute stops a line. Batch jobs of
ours pass wider `Bounds`.
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
from schemas.errors import SettingsError, error_line
from schemas.known_secrets import keep_password, keep_secret
from schemas.plain_files import write_and_rename
from schemas.private_files import sync_folder

#: Options of file systems that are secret.
_SECRET_OPTIONS = frozenset({"secret", "password", "token", "account_key", "sas_token", "connection_string"})
#: Longest time of a listing, in seconds; no line waits for a listing.
_LIST_S = 30.0
#: Prefix of the names of files that a local write has not finished. Such a file that remains after a crash is rubbish.
PART_PREFIX = ".part-"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on the time of a call over the network; calls to a local directory have no such bounds.

    Parameters
    ----------
    connect_s, silence_s
        Longest time until S3 accepts a connection, and longest silence on a connection, in seconds.
    attempts
        Tries of the S3 client for each call; AWS_MAX_ATTEMPTS overrides it.
    slowest_bytes_per_s
        Slowest transfer, in bytes per second. The bound of a read or write is ``connect_s + silence_s`` for each try,
        plus the time of its bytes at this rate.
    """

    connect_s: float = 1.0
    silence_s: float = 2.0
    attempts: int = 1
    slowest_bytes_per_s: int = 25_000_000


#: Bounds of calls that the line waits for.
LIVE = Bounds()


def open_files(
    uri: str, options: Mapping[str, Any], *, what: str = "image store", bounds: Bounds = LIVE
) -> tuple[Any, str]:
    """Return the file system of an fsspec URI, and the path in it; ``what`` names the store in errors.

    Raises
    ------
    SettingsError
        If the URI is empty, there is no such file system, or its package is not installed.

    Examples
    --------
    >>> open_files("memory://images", {})[1]
    '/images'
    """
    if not uri.strip():  # as of a variable without a value: it would be the current folder
        raise SettingsError(f"{what}: an empty address; name a directory or s3://bucket/path")
    keep_password(uri)
    keep_secret(
        *(str(options[name]) for name in _SECRET_OPTIONS & options.keys()), os.environ.get("AWS_SECRET_ACCESS_KEY")
    )
    is_s3 = uri.startswith(("s3://", "s3a://"))
    try:
        files, root = fsspec.core.url_to_fs(uri, **(_s3_options(options, bounds) if is_s3 else options))
    except ImportError as error:
        help_ = "pip install 'streaming-inspection[s3]'" if is_s3 else str(error)
        name = masked_address(uri, with_path=True)
        raise SettingsError(f"{what} {name!r} needs a package that is not installed: {help_}") from error
    except ValueError as error:
        raise SettingsError(
            f"{what} {masked_address(uri, with_path=True)!r}: {store_error_line(error, uri)}"
        ) from error
    if is_s3:
        files.retries = 1  # s3fs retries around botocore's retries; the number is an attribute of its class
    return files, str(root).rstrip("/")


def _s3_options(options: Mapping[str, Any], bounds: Bounds) -> dict[str, Any]:
    """Return the options with the waits and tries of the bounds.

    The options, fsspec's configuration and AWS_MAX_ATTEMPTS override the bounds.
    """
    config: dict[str, Any] = {"connect_timeout": bounds.connect_s, "read_timeout": bounds.silence_s}
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        config["retries"] = {"total_max_attempts": bounds.attempts}
    config |= conf.get("s3", {}).get("config_kwargs", {})
    config |= options.get("config_kwargs", {})
    # An instance of our own: other users in the process may want other bounds. A listing is never older than the call.
    return {"use_listings_cache": False, "skip_instance_cache": True, **options, "config_kwargs": config}


def write(files: Any, path: str, data: bytes, bounds: Bounds = LIVE) -> None:
    """Write a whole object; on a local disk the object is synced on return.

    Raises
    ------
    Exception
        Any error of the file system, and `fsspec.exceptions.FSTimeoutError` when the time is up. The other functions
        of this module raise the same errors.
    """
    if isinstance(files, LocalFileSystem):
        _write_synced(Path(path), data)
    else:
        _call(files, "pipe_file", path, data, within_s=_bound_s(files, len(data), bounds))


def read(files: Any, path: str, limit_bytes: int, *, start: int = 0, bounds: Bounds = LIVE) -> bytes:
    """Return the bytes of an object from ``start`` on, at most ``limit_bytes``; fewer if the object ends before."""
    within_s = _bound_s(files, limit_bytes, bounds)
    return bytes(_call(files, "cat_file", path, start=start, end=start + limit_bytes, within_s=within_s))


def read_all(files: Any, paths: Sequence[str], bounds: Bounds = LIVE) -> dict[str, bytes | Exception]:
    """Return whole small objects by path; an object that cannot be read is returned as its exception.

    The objects are read at the same time if the file system supports it.
    """
    within_s = _LIST_S + len(paths) * _bound_s(files, 0, bounds)
    # `cat` returns a dict for a list of paths, even of one path; for a plain path it would return bytes.
    found = _call(files, "cat", list(paths), on_error="return", within_s=within_s)
    return dict(found)


def names(files: Any, path: str) -> list[str]:
    """Return the paths of the files and folders in a folder."""
    return [str(name) for name in _call(files, "ls", path, detail=False, within_s=_LIST_S)]


def tree(files: Any, path: str) -> dict[str, dict[str, Any]]:
    """Return all files below a folder by path, with the file system's details of each; empty if there is no file."""
    # A listing of a hundred thousand objects takes a hundred answers.
    return dict(_call(files, "find", path, detail=True, withdirs=False, within_s=20 * _LIST_S))


def remove(files: Any, path: str, bounds: Bounds = LIVE) -> None:
    """Delete a file."""
    _call(files, "rm_file", path, within_s=_bound_s(files, 0, bounds))


def _bound_s(files: Any, size_bytes: int, bounds: Bounds) -> float:
    config = getattr(files, "config_kwargs", {})
    try_s = config.get("connect_timeout", bounds.connect_s) + config.get("read_timeout", bounds.silence_s)
    # The bound allows the longer waits and the additional tries that options or AWS_MAX_ATTEMPTS set.
    tries = int(os.environ.get("AWS_MAX_ATTEMPTS", bounds.attempts))
    return float(try_s * tries + size_bytes / bounds.slowest_bytes_per_s)


def _call(files: Any, method: str, *args: Any, within_s: float, **kwargs: Any) -> Any:
    # The client's own timeouts bound each silence only. They do not end a call to a server that sends a trickle, or
    # that never sends "100 Continue".
    if isinstance(files, AsyncFileSystem):
        return sync(files.loop, getattr(files, f"_{method}"), *args, timeout=within_s, **kwargs)
    return getattr(files, method)(*args, **kwargs)


def error_code(error: BaseException) -> str:
    """Return the code in an answer of S3, such as ``NoSuchBucket``; empty if there is no code.

    Examples
    --------
    >>> error_code(FileNotFoundError("here"))
    ''
    """
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def store_error_line(error: BaseException, uri: str) -> str:
    """Return an error in one line, without the secrets of the store's URI."""
    return masked_text(error_line(error), uri, with_path=True)


def _write_synced(path: Path, data: bytes) -> None:
    """Write a whole object, and make the folders above it; all are synced."""
    new = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_and_rename(path, data, PART_PREFIX)
    # A new folder is an entry of its parent folder, so the parent folder must be synced too.
    for made in new:
        sync_folder(made.parent)

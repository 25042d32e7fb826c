"""The file systems under the image store: opened with bounds on time, and each call ends by them.

fsspec's own defaults suit batch jobs: an S3 client that retries for a quarter of a minute stops a line.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.config import conf
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import SettingsError

#: Seconds until S3 has taken a connection, and of silence in it.
CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 2.0
#: Seconds that a read or write over the network may take in all are the two above, and its bytes at this rate.
SLOWEST_BYTES_PER_S = 25_000_000
#: The same for a listing, which no line waits for.
_LIST_S = 30.0


def open_files(uri: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system of an fsspec URI, and the path in it.

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
        files, root = fsspec.core.url_to_fs(uri, **(_s3_options(options) if is_s3 else options))
    except ImportError as error:
        help_ = "pip install 'streaming-inspection[s3]'" if is_s3 else str(error)
        raise SettingsError(f"image store {uri!r} needs a package that is not installed: {help_}") from error
    except ValueError as error:
        raise SettingsError(f"image store {uri!r}: {error}") from error
    if is_s3:
        files.retries = 1  # s3fs has a loop of its own around that of botocore, as an attribute of the class
    return files, str(root).rstrip("/")


def _s3_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Short waits and no retries, unless the options, fsspec's configuration or AWS_MAX_ATTEMPTS say otherwise."""
    config: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        config["retries"] = {"total_max_attempts": 1}
    config |= conf.get("s3", {}).get("config_kwargs", {})
    config |= options.get("config_kwargs", {})
    # An instance of our own: others in the process may want other bounds. A listing is never older than the call.
    return {"use_listings_cache": False, "skip_instance_cache": True, **options, "config_kwargs": config}


def write(files: Any, path: str, data: bytes) -> None:
    """Write a whole object; on a local disk it is synced when this returns.

    Raises
    ------
    Exception
        Whatever the file system raises, `fsspec.exceptions.FSTimeoutError` when time is up; so do the others.
    """
    if isinstance(files, LocalFileSystem):
        _write_synced(Path(path), data)
    else:
        _call(files, "pipe_file", path, data, within_s=_bound_s(files, len(data)))


def read(files: Any, path: str, limit_bytes: int) -> bytes:
    """The first bytes of an object."""
    return bytes(_call(files, "cat_file", path, start=0, end=limit_bytes, within_s=_bound_s(files, limit_bytes)))


def names(files: Any, path: str) -> list[str]:
    """Paths of what lies in a folder."""
    return [str(name) for name in _call(files, "ls", path, detail=False, within_s=_LIST_S)]


def _bound_s(files: Any, size_bytes: int) -> float:
    config = getattr(files, "config_kwargs", {})
    try_s = config.get("connect_timeout", CONNECT_TIMEOUT_S) + config.get("read_timeout", READ_TIMEOUT_S)
    # Who asks for longer waits or more tries gets them.
    return float(try_s * int(os.environ.get("AWS_MAX_ATTEMPTS", 1)) + size_bytes / SLOWEST_BYTES_PER_S)


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


def said(error: BaseException) -> str:
    """An error in one line; some have no text of their own.

    Examples
    --------
    >>> said(TimeoutError())
    'TimeoutError'
    """
    return " ".join(str(error).split()) or type(error).__name__


def _write_synced(path: Path, data: bytes) -> None:
    """Write to a file beside, sync, rename: the path has the whole object or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

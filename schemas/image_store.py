"""Where images lie that are too large for a topic: the claim check.

The image is written first, under its own hash, then the frame that refers to it is published; the reader checks size
and hash. (G. Hohpe and B. Woolf, "Enterprise Integration Patterns", Claim Check.) Any fsspec file system will do: a
directory that all programs see, or S3 with the ``s3`` extra.

::

    {store}/2026-11-24/06/press.top/{sha256}.jpg      day and hour of the capture, UTC
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from platformdirs import user_data_path

from schemas.errors import InspectionError, SettingsError
from schemas.records import ImageReference

#: Images above it go to the store, by default: a quarter of what the topic takes.
STORE_ABOVE_BYTES = 4 * 1024 * 1024
#: Largest image that is read from a store.
MAX_STORED_BYTES = 256 * 1024 * 1024
_TRIES = 3
_PAUSE_S = 0.2
#: What `put` makes, and so all that `get` ever opens, wherever the reference says it lies.
_PLACE = re.compile(r"(?:^|/)(\d{4}-\d\d-\d\d/\d\d/[\w-]+\.[\w-]+/([0-9a-f]{64})\.[a-z]{1,5})")


class ImageStoreError(InspectionError):
    """An image cannot be written or read.

    Parameters
    ----------
    kind
        ``image-missing``, ``image-altered``, ``image-too-large``, ``image-outside-store``, ``image-store-unavailable``.
    reason
        One line for a person.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def default_image_store() -> str:
    """A directory of this user on this machine; programs on other machines need one that all see."""
    return str(user_data_path("streaming-inspection") / "images")


class ImageStore:
    """Images under their hash, by hour of capture.

    Parameters
    ----------
    uri
        A directory, or an fsspec URI such as ``s3://bucket/images``.
    options
        For the file system, such as ``endpoint_url``.

    Raises
    ------
    SettingsError
        If there is no such file system.

    Examples
    --------
    >>> store = ImageStore("memory://images")
    >>> digest = hashlib.sha256(b"pixels").hexdigest()
    >>> reference = store.put("press", "top", 0, digest, b"pixels", "png")
    >>> reference.uri.removesuffix(f"{digest}.png"), reference.size_bytes
    ('memory:///images/1970-01-01/00/press.top/', 6)
    >>> store.get(reference, digest)
    b'pixels'
    """

    def __init__(self, uri: str, **options: Any) -> None:
        try:
            self._fs, root = fsspec.core.url_to_fs(uri, **options)
        except (ValueError, ImportError) as error:
            raise SettingsError(f"image store {uri!r}: {error}") from error
        self._root = str(root).rstrip("/")
        self.uri = uri

    def put(
        self, station: str, camera_id: str, captured_at_us: int, sha256: str, data: bytes, suffix: str
    ) -> ImageReference:
        """Write an image; when it returns the object is whole and, on a local disk, synced. Again is no harm.

        Raises
        ------
        ImageStoreError
            ``image-store-unavailable`` if it cannot be written.
        """
        hour = datetime.fromtimestamp(captured_at_us / 1e6, UTC).strftime("%Y-%m-%d/%H")
        path = f"{self._root}/{hour}/{station}.{camera_id}/{sha256}.{suffix}"
        try:
            if isinstance(self._fs, LocalFileSystem):
                _write_whole(Path(path), data)
            else:
                self._fs.pipe_file(path, data)
        except Exception as error:  # every file system of fsspec has errors of its own
            raise ImageStoreError("image-store-unavailable", f"{path} cannot be written: {error}") from error
        return ImageReference(self._fs.unstrip_protocol(path), len(data))

    def get(self, reference: ImageReference, sha256: str) -> bytes:
        """Read an image and check it. Only the place below the store counts, not where the reference says that it is.

        Raises
        ------
        ImageStoreError
            With the kind that says why not.
        """
        match = _PLACE.search(reference.uri)
        if match is None or match.end() != len(reference.uri) or match[2] != sha256:
            raise ImageStoreError("image-outside-store", "the reference is not to an image of the store")
        if not 0 < reference.size_bytes <= MAX_STORED_BYTES:
            raise ImageStoreError("image-too-large", f"an image of {reference.size_bytes} bytes")
        data = self._read(f"{self._root}/{match[1]}", reference.size_bytes + 1)
        if len(data) != reference.size_bytes or hashlib.sha256(data).hexdigest() != sha256:
            raise ImageStoreError("image-altered", "the image in the store is not the one that was captured")
        return data

    def sweep(self, older_than_us: int, *, dry_run: bool = False) -> list[str]:
        """Delete the folders of hours that ended before a moment (UTC µs); return their names.

        Raises
        ------
        ImageStoreError
            ``image-store-unavailable`` if it cannot be listed or deleted.
        """
        limit = datetime.fromtimestamp(older_than_us / 1e6, UTC)
        old = []
        try:
            for day in self._children("") if self._fs.exists(self._root) else []:
                for hour in self._children(day) if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else []:
                    with contextlib.suppress(ValueError):
                        begins = datetime.strptime(f"{day} {hour} +0000", "%Y-%m-%d %H %z")
                        if begins + timedelta(hours=1) <= limit:
                            old.append(f"{day}/{hour}")
            for name in [] if dry_run else old:
                self._fs.rm(f"{self._root}/{name}", recursive=True)
        except Exception as error:  # every file system of fsspec has errors of its own
            raise ImageStoreError("image-store-unavailable", f"{self.uri} cannot be swept: {error}") from error
        return old

    def _children(self, folder: str) -> list[str]:
        return sorted(
            str(path).rstrip("/").rpartition("/")[2] for path in self._fs.ls(f"{self._root}/{folder}", detail=False)
        )

    def _read(self, path: str, limit: int) -> bytes:
        for tries_left in reversed(range(_TRIES)):
            try:
                return bytes(self._fs.cat_file(path, start=0, end=limit))
            except FileNotFoundError:
                raise ImageStoreError("image-missing", "the image is not in the store") from None
            except Exception as error:  # every file system of fsspec has errors of its own
                if not tries_left:
                    raise ImageStoreError("image-store-unavailable", f"{path} cannot be read: {error}") from error
                time.sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")


def _write_whole(path: Path, data: bytes) -> None:
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

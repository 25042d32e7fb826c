"""Store for images that are too large for a topic: the claim check.

The producer first writes the image under its own hash, then publishes the frame that refers to it. The reader checks
size and hash. (G. Hohpe and B. Woolf, "Enterprise Integration Patterns", Claim Check.) Any fsspec file system can be
the store: a directory that all programs see, or S3 with the ``s3`` extra. After a failure the store is not called for
some seconds (`transport.circuit_breaker`): reading and writing fail at once then. The log has one line for the outage.

::

    {store}/2026-11-24/06/press.top/{sha256}.jpg      day and hour of the capture, UTC
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from schemas.addresses import masked_address, masked_text
from schemas.errors import InspectionError
from schemas.moments import time_of
from schemas.records import ImageReference
from schemas.topics import MAX_STORED_BYTES
from schemas.user_folders import user_folder
from transport.circuit_breaker import CircuitBreaker
from transport.store_files import error_code, names, open_files, read, store_error_line, write
from transport.store_place import StorePlace

_log = logging.getLogger(__name__)

#: Default size above which an image goes to the store: a quarter of the largest message of the topic.
STORE_ABOVE_BYTES = 4 * 1024 * 1024
#: A read that fails within this time, in seconds, is retried once: a connection that was just reset is not an outage.
_QUICK_S = 0.5
#: Codes in answers of S3: for a bucket that does not exist, and for a request of a range of an empty object.
_NO_BUCKET = "NoSuchBucket"
_EMPTY = ("InvalidRange", "416")
#: Form of the paths that `put` makes. `get` opens no other paths, wherever a reference points.
_PLACE = re.compile(r"(?:^|/)(\d{4}-\d\d-\d\d/\d\d/[\w-]+\.[\w-]+/([0-9a-f]{64})\.[a-z]{1,5})")


class ImageStoreError(InspectionError):
    """Image that cannot be written or read.

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
    """Return a directory of this user on this machine; programs on several machines need a store that all can reach."""
    return str(user_folder("data") / "images")


class ImageStore:
    """Store of images under their hash, by hour of capture. Thread-safe.

    Parameters
    ----------
    uri
        Directory, or fsspec URI such as ``s3://bucket/images``.
    breaker
        Circuit breaker with the time without calls after a failure; five seconds by default.
    on_unreachable
        Called with True when an outage begins, and with False when it ends, for a metric. It must return quickly.
    options
        Options of the file system, such as ``endpoint_url``.

    Raises
    ------
    SettingsError
        If there is no such file system, or its package is not installed.

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

    def __init__(
        self,
        uri: str,
        *,
        breaker: CircuitBreaker | None = None,
        on_unreachable: Callable[[bool], object] | None = None,
        **options: Any,
    ) -> None:
        self._files, self._root = open_files(uri, options)
        self._place = StorePlace(self._files, self._root)
        self._breaker = breaker or CircuitBreaker()
        self._on_unreachable = on_unreachable or (lambda _: None)
        self._address = uri
        #: URI for messages, without user and password.
        self.uri = masked_address(uri, with_path=True)

    def put(
        self, station: str, camera_id: str, captured_at_us: int, sha256: str, data: bytes, suffix: str
    ) -> ImageReference:
        """Write an image, and return the reference to it. Idempotent.

        On return the object is complete; on a local disk it is also synced.

        Raises
        ------
        ImageStoreError
            ``image-store-unavailable`` if the image cannot be written, or if the directory is no longer the one that
            this program has written to, as when a volume was unmounted.
        """
        hour = hour_of(captured_at_us)
        path = f"{self._root}/{hour}/{station}.{camera_id}/{sha256}.{suffix}"
        self._request()
        try:
            self._place.check()
            write(self._files, path, data)
            self._place.has_written(hour.partition("/")[0])
        except Exception as error:  # every file system of fsspec has errors of its own
            raise self._outage_error(f"{self._name(path)} cannot be written: {self._error_line(error)}") from error
        self._record_answer()
        return ImageReference(self._files.unstrip_protocol(path), len(data))

    def get(self, reference: ImageReference, sha256: str) -> bytes:
        """Read an image and check it.

        Only the path below the store counts; the rest of the reference's URI is ignored.

        Raises
        ------
        ImageStoreError
            With the kind of the failure.
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

    def sweep(self, older_than_us: int, *, keep: Collection[str] = (), dry_run: bool = False) -> list[str]:
        """Delete the folders of hours that ended before a moment (UTC µs); return the names of the folders.

        Parameters
        ----------
        keep
            Hours to keep whatever their age, named as `hour_of` names them.
        dry_run
            Only return the names.

        Raises
        ------
        ImageStoreError
            ``image-store-unavailable`` if the folders cannot be listed or deleted.
        """
        limit = time_of(older_than_us)
        if limit is None:
            return []  # before the start of the calendar
        old = []
        try:
            for day in self._children(""):
                for hour in self._children(day) if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else []:
                    with contextlib.suppress(ValueError):
                        begins = datetime.strptime(f"{day} {hour} +0000", "%Y-%m-%d %H %z")
                        if begins + timedelta(hours=1) <= limit and f"{day}/{hour}" not in keep:
                            old.append(f"{day}/{hour}")
            for name in [] if dry_run else old:
                self._files.rm(f"{self._root}/{name}", recursive=True)
        except Exception as error:  # every file system of fsspec has errors of its own
            raise ImageStoreError(
                "image-store-unavailable", f"{self.uri} cannot be swept: {self._error_line(error)}"
            ) from error
        return old

    def _children(self, folder: str) -> list[str]:
        try:
            paths = names(self._files, f"{self._root}/{folder}".rstrip("/"))
        except FileNotFoundError as error:
            if error_code(error) == _NO_BUCKET:
                raise
            return []
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def _read(self, path: str, limit: int) -> bytes:
        self._request()
        began_s = time.monotonic()
        for is_last in (False, True):
            try:
                data = read(self._files, path, limit)
            except Exception as error:  # every file system of fsspec has errors of its own
                code = error_code(error)
                if code in _EMPTY:
                    data = b""
                elif isinstance(error, PermissionError):
                    self._record_answer()  # perhaps only this object is refused, so it is not an outage
                    raise ImageStoreError(
                        "image-store-unavailable", f"{self._name(path)} is refused: {self._error_line(error)}"
                    ) from error
                elif isinstance(error, FileNotFoundError) and code != _NO_BUCKET:
                    self._record_answer()
                    raise ImageStoreError("image-missing", "the image is not in the store") from None
                elif is_last or time.monotonic() - began_s > _QUICK_S:
                    raise self._outage_error(f"{self._name(path)} cannot be read: {self._error_line(error)}") from error
                else:
                    continue
            self._record_answer()
            return data
        raise AssertionError("the last try returns or raises")

    def _error_line(self, error: Exception) -> str:
        return store_error_line(error, self._address)

    def _name(self, path: str) -> str:
        return masked_text(path, self._address, with_path=True)

    def _request(self) -> None:
        if not self._breaker.allows():
            raise ImageStoreError("image-store-unavailable", f"{self.uri} did not answer a moment ago")

    def _record_answer(self) -> None:
        outage_s = self._breaker.outage_s
        if self._breaker.succeeded():
            _log.warning("image store %s: it is back, after %.1f s", self.uri, outage_s)
            self._on_unreachable(False)

    def _outage_error(self, reason: str) -> ImageStoreError:
        if self._breaker.failed():
            rest_s = self._breaker.rest_s
            _log.error("image store %s is away, asked again in %g s: %s", self.uri, rest_s, reason)
            self._on_unreachable(True)
        return ImageStoreError("image-store-unavailable", reason)


def hour_of(captured_at_us: int) -> str:
    """Return the folder of the hour of a capture, UTC; the last hour of the calendar for a time outside it.

    Examples
    --------
    >>> hour_of(3_600_000_000)
    '1970-01-01/01'
    >>> hour_of(2**62)
    '9999-12-31/23'
    """
    captured_at = time_of(captured_at_us)
    return "9999-12-31/23" if captured_at is None else captured_at.isoformat()[:13].replace("T", "/")

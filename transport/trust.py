"""Public keys that a program believes: a folder of files, and a folder ``revoked`` in it.

::

    trust/press-top.yaml           public_key: <base64>
                                   role: camera
                                   cameras: [press/top]
    trust/worker-1.yaml            role: worker; without cameras: for all
    trust/revoked/old.yaml         a key that is in here is refused, wherever else it is

`inspection keys new` writes such a file. ``not_before`` and ``not_after`` bound the use of a key, so two keys of one
camera may overlap. The folder is read again when its files change: a rotation needs no restart.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from schemas.connection.secret_files import read_trusted
from schemas.errors import InspectionError, SettingsError
from schemas.replay_headers import RETRY_HEADER
from schemas.text import shown
from transport.signatures import (
    RETRY_SIGNATURE_HEADER,
    SIGNATURE_HEADER,
    key_id_of,
    parse_signature,
    signed_bytes,
    verify,
)

log = logging.getLogger(__name__)

REVOKED = "revoked"
#: Interval, in seconds, at which the folder is looked at.
_INTERVAL_S = 2.0
_FIELDS = {"public_key", "role", "cameras", "not_before", "not_after"}
_MOST_FILES = 10_000
#: Errors of PyYAML if a text with an explicit tag, such as ``!!bool``, is no such value.
_NO_SUCH_VALUE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class SignerRole(StrEnum):
    """Role of the holder of a key on the line."""

    CAMERA = "camera"
    WORKER = "worker"
    OPERATOR = "operator"


class SignatureFault(StrEnum):
    """Reason not to believe a message; a word for metrics and dead letters."""

    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    REVOKED_KEY = "revoked-key"
    WRONG_ROLE = "wrong-role"
    WRONG_CAMERA = "wrong-camera"
    NOT_VALID_NOW = "key-not-valid-now"
    BAD_SIGNATURE = "bad-signature"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """Public key, what it may sign, and when.

    Parameters
    ----------
    cameras
        Keys of messages, ``station/camera``, with ``*`` and ``?``; an operator's and a worker's may be all.
    not_before_us, not_after_us
        UTC µs; None: no bound.
    """

    name: str
    public: bytes
    role: SignerRole
    cameras: tuple[str, ...] = ("*",)
    not_before_us: int | None = None
    not_after_us: int | None = None

    def covers(self, camera: str) -> bool:
        """Return True if the key may sign for a camera.

        Examples
        --------
        >>> TrustedKey("k", bytes(32), SignerRole.CAMERA, ("press/*",)).covers("press/top")
        True
        """
        return any(fnmatchcase(camera, pattern) for pattern in self.cameras)

    def is_valid_at(self, now_us: int) -> bool:
        """Return True if the key may be used at a time (UTC µs)."""
        return (self.not_before_us is None or now_us >= self.not_before_us) and (
            self.not_after_us is None or now_us < self.not_after_us
        )


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Content of a trust folder: keys by id, and ids of revoked keys."""

    by_id: Mapping[str, TrustedKey] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()


def read_trust(folder: Path) -> TrustedKeys:
    """Read a trust folder.

    Raises
    ------
    SettingsError
        If the folder or a file of it cannot be used; the message names the file.
    """
    keys = {key_id_of(key.public): key for key in _read_folder(folder)}
    revoked = folder / REVOKED
    ids = frozenset(key_id_of(key.public) for key in _read_folder(revoked)) if revoked.exists() else frozenset()
    return TrustedKeys(keys, ids)


class Trust:
    """Trust folder that is read again when it changes. Thread-safe.

    A folder that becomes unreadable keeps the keys that were read last: one wrong file must not stop the line.

    Raises
    ------
    SettingsError
        If the folder cannot be read at first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._keys = read_trust(folder)
        self._next_s = time.monotonic() + _INTERVAL_S
        if not self._keys.by_id:
            raise SettingsError(f"--trust {shown(folder)}: no keys in it; `inspection keys new` makes them")

    @property
    def keys(self) -> TrustedKeys:
        """Keys of this moment."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            with self._lock:
                self._next_s = now_s + _INTERVAL_S
                self._read_again()
        return self._keys

    def fault(
        self, role: SignerRole, camera: str, topic: str, key: bytes | None, value: bytes | None,
        headers: Mapping[str, bytes], now_us: int,
    ) -> SignatureFault | None:  # fmt: skip
        """Return why a message is not believed; None if a key of this role has signed it for this camera.

        Parameters
        ----------
        camera
            Station and camera of the record; the key of the message is part of what is signed.
        """
        return self._fault(role, camera, headers.get(SIGNATURE_HEADER), signed_bytes(topic, key, value), now_us)

    def retry_fault(
        self, camera: str, topic: str, key: bytes | None, value: bytes | None, headers: Mapping[str, bytes], now_us: int
    ) -> SignatureFault | None:
        """Return why the retry of a frame is not believed; None if an operator has signed it."""
        content = signed_bytes(topic, key, value, headers.get(RETRY_HEADER, b""))
        return self._fault(SignerRole.OPERATOR, camera, headers.get(RETRY_SIGNATURE_HEADER), content, now_us)

    def _fault(
        self, role: SignerRole, camera: str, header: bytes | None, content: bytes, now_us: int
    ) -> SignatureFault | None:
        if header is None:
            return SignatureFault.UNSIGNED
        found, keys = parse_signature(header), self.keys
        if found is None:
            return SignatureFault.BAD_SIGNATURE
        if found.key_id in keys.revoked:
            return SignatureFault.REVOKED_KEY
        key = keys.by_id.get(found.key_id)
        if key is None:
            return SignatureFault.UNKNOWN_KEY
        if key.role is not role:
            return SignatureFault.WRONG_ROLE
        if not key.covers(camera):
            return SignatureFault.WRONG_CAMERA
        if not key.is_valid_at(now_us):
            return SignatureFault.NOT_VALID_NOW
        return None if verify(key.public, header, content) else SignatureFault.BAD_SIGNATURE

    def _read_again(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = read_trust(self._folder)
            log.info("%s: %d keys, %d revoked", self._folder, len(self._keys.by_id), len(self._keys.revoked))
        except InspectionError as error:
            log.error("%s; the former keys are used", error)

    def _look(self) -> tuple[tuple[str, int, int, int], ...]:
        found = []
        for folder in (self._folder, self._folder / REVOKED):
            try:
                for path in sorted(folder.glob("*.yaml")):
                    state = path.stat()
                    found.append((str(path), state.st_ino, state.st_mtime_ns, state.st_size))
            except OSError:
                continue
        return tuple(found)


def _read_folder(folder: Path) -> list[TrustedKey]:
    try:
        if not folder.is_dir():
            raise SettingsError(f"--trust {shown(folder)}: no such folder")
        paths = sorted(folder.glob("*.yaml"))
    except OSError as error:
        raise SettingsError(f"--trust {shown(folder)}: {error.strerror}") from error
    if len(paths) > _MOST_FILES:
        raise SettingsError(f"--trust {shown(folder)}: more than {_MOST_FILES} files")
    return [read_key_file(path) for path in paths]


def read_key_file(path: Path) -> TrustedKey:
    """Read a file of a trust folder.

    Raises
    ------
    SettingsError
        If it is not one.
    """
    try:
        found = yaml.safe_load(read_trusted(path).content)
    except OSError as error:
        raise SettingsError(f"{shown(path)}: {error.strerror}") from None
    except (yaml.YAMLError, RecursionError, *_NO_SUCH_VALUE):
        raise SettingsError(f"{shown(path)}: it is not YAML") from None
    if not isinstance(found, dict) or not set(found) <= _FIELDS or not {"public_key", "role"} <= set(found):
        raise SettingsError(f"{shown(path)}: a key has public_key and role, and may have {', '.join(sorted(_FIELDS))}")
    try:
        public = base64.b64decode(str(found["public_key"]), validate=True)
    except (binascii.Error, ValueError):
        public = b""
    if len(public) != 32:
        raise SettingsError(f"{shown(path)}: public_key is not 32 bytes in base64")
    if found["role"] not in [role.value for role in SignerRole]:
        raise SettingsError(f"{shown(path)}: role is one of {', '.join(SignerRole)}")
    role = SignerRole(found["role"])
    cameras = found.get("cameras", [] if role is SignerRole.CAMERA else ["*"])
    if not isinstance(cameras, list) or not cameras or not all(isinstance(each, str) and each for each in cameras):
        raise SettingsError(f"{shown(path)}: cameras is a list, as [press/top]; a camera's key needs one")
    bounds = [_time(path, found, name) for name in ("not_before", "not_after")]
    return TrustedKey(path.stem, public, role, tuple(cameras), *bounds)


def _time(path: Path, found: Mapping[str, Any], name: str) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    try:
        at = value if isinstance(value, datetime.datetime) else datetime.datetime.fromisoformat(str(value))
        at = at if at.tzinfo is not None else at.replace(tzinfo=datetime.UTC)
        return round(at.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise SettingsError(f"{shown(path)}: {name} is a time, as 2027-01-31T00:00:00Z") from None

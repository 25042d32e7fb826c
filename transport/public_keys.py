"""Public keys: the text of a file of a trust folder, what a key may sign, and the check of a signature."""

from __future__ import annotations

import base64
import binascii
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from schemas.connection.secret_files import read_trusted
from schemas.errors import SettingsError
from schemas.text import shown
from transport.signatures import parse_signature, verify

_FIELDS = {"public_key", "role", "cameras", "not_before", "not_after"}
#: Errors of PyYAML if a text with an explicit tag, such as ``!!bool``, is no such value.
_NO_SUCH_VALUE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class SignerRole(StrEnum):
    """Role of the holder of a key on the line. An authority signs keys, and nothing else."""

    CAMERA = "camera"
    WORKER = "worker"
    OPERATOR = "operator"
    AUTHORITY = "authority"


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

    def may_vouch_for(self, other: TrustedKey) -> bool:
        """Return True if this is the key of an authority, and the other one is for its cameras and is no authority.

        Examples
        --------
        >>> authority = TrustedKey("a", bytes(32), SignerRole.AUTHORITY, ("press/*",))
        >>> [authority.may_vouch_for(TrustedKey("k", bytes(32), SignerRole.CAMERA, (camera,)))
        ...     for camera in ("press/top", "press/t*", "*/top")]
        [True, True, False]
        """
        is_for_it = self.role is SignerRole.AUTHORITY and other.role is not SignerRole.AUTHORITY
        return is_for_it and all(any(_is_within(each, wide) for wide in self.cameras) for each in other.cameras)


def _is_within(pattern: str, wide: str) -> bool:
    """Return True if all that one pattern matches is matched by the other one; False if that is not plain to see."""
    return pattern == wide or (not set("?[") & set(wide) and "[" not in pattern and fnmatchcase(pattern, wide))


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Content of a trust folder: keys by id, and ids of revoked keys."""

    by_id: Mapping[str, TrustedKey] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()

    @property
    def authorities(self) -> dict[str, TrustedKey]:
        """Keys that may sign other keys, without those that are revoked."""
        found = {key_id: key for key_id, key in self.by_id.items() if key.role is SignerRole.AUTHORITY}
        return {key_id: key for key_id, key in found.items() if key_id not in self.revoked}

    def in_force(self, now_us: int) -> dict[str, TrustedKey]:
        """Return the keys that may sign at a time (UTC µs): neither revoked nor out of their bounds."""
        found = {key_id: key for key_id, key in self.by_id.items() if key.is_valid_at(now_us)}
        return {key_id: key for key_id, key in found.items() if key_id not in self.revoked}

    def fault(
        self, role: SignerRole, camera: str | None, header: bytes | None, content: bytes, now_us: int | None
    ) -> SignatureFault | None:
        """Return why a header is not the signature of a key with this role for a camera.

        Parameters
        ----------
        camera, now_us
            None: any camera, any time.
        """
        if header is None:
            return SignatureFault.UNSIGNED
        found = parse_signature(header)
        if found is None:
            return SignatureFault.BAD_SIGNATURE
        if found.key_id in self.revoked:
            return SignatureFault.REVOKED_KEY
        key = self.by_id.get(found.key_id)
        if key is None:
            return SignatureFault.UNKNOWN_KEY
        if key.role is not role:
            return SignatureFault.WRONG_ROLE
        if camera is not None and not key.covers(camera):
            return SignatureFault.WRONG_CAMERA
        if now_us is not None and not key.is_valid_at(now_us):
            return SignatureFault.NOT_VALID_NOW
        return None if verify(key.public, header, content) else SignatureFault.BAD_SIGNATURE


def read_key_file(path: Path) -> TrustedKey:
    """Read a file of a trust folder.

    Raises
    ------
    SettingsError
        If it is not one.
    """
    try:
        content = read_trusted(path).content
    except OSError as error:
        raise SettingsError(f"{shown(path)}: {error.strerror}") from None
    return parse_key(path.stem, content, shown(path))


def parse_key(name: str, content: bytes, where: str) -> TrustedKey:
    """Return the key that the text of such a file describes.

    Parameters
    ----------
    name
        Name of the key.
    where
        File or message, for the text of errors.

    Raises
    ------
    SettingsError
        If the text describes no key.
    """
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, *_NO_SUCH_VALUE):
        raise SettingsError(f"{where}: it is not YAML") from None
    if not isinstance(found, dict) or not set(found) <= _FIELDS or not {"public_key", "role"} <= set(found):
        raise SettingsError(f"{where}: a key has public_key and role, and may have {', '.join(sorted(_FIELDS))}")
    try:
        public = base64.b64decode(found["public_key"], validate=True)
    except (binascii.Error, TypeError, ValueError):
        public = b""
    if len(public) != 32:
        raise SettingsError(f"{where}: public_key is not 32 bytes in base64")
    if found["role"] not in [role.value for role in SignerRole]:
        raise SettingsError(f"{where}: role is one of {', '.join(SignerRole)}")
    role = SignerRole(found["role"])
    cameras = found.get("cameras", [] if role is SignerRole.CAMERA else ["*"])
    if not isinstance(cameras, list) or not cameras or not all(isinstance(each, str) and each for each in cameras):
        raise SettingsError(f"{where}: cameras is a list, as [press/top]; a camera's key needs one")
    bounds = [_time(where, found, bound) for bound in ("not_before", "not_after")]
    return TrustedKey(name, public, role, tuple(cameras), *bounds)


def _time(where: str, found: Mapping[str, Any], name: str) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    try:
        if not isinstance(value, str | datetime.date):
            raise ValueError
        at = value if isinstance(value, datetime.datetime) else datetime.datetime.fromisoformat(str(value))
        at = at if at.tzinfo is not None else at.replace(tzinfo=datetime.UTC)
        return round(at.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise SettingsError(f"{where}: {name} is a time, as 2027-01-31T00:00:00Z") from None

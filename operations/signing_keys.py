"""New keys for signatures: the private key in a file of its own, the public key as a trust folder wants it."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from schemas.errors import SettingsError
from schemas.text import shown
from transport.public_keys import SignerRole
from transport.signatures import SigningKey, key_id_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class MadeKey:
    """Files of a new key, and its id."""

    key_id: str
    private: Path
    public: Path


def make_key_files(folder: Path, name: str, role: SignerRole, cameras: tuple[str, ...] = ()) -> MadeKey:
    """Make a key; existing files are never replaced.

    Parameters
    ----------
    cameras
        Keys of messages, ``station/camera``, with ``*`` and ``?``; empty: all, which a camera's key may not have.

    Raises
    ------
    SettingsError
        If a name is impossible, a file exists, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> made = make_key_files(Path(tempfile.mkdtemp()), "press-top", SignerRole.CAMERA, ("press/top",))
    >>> made.private.name, oct(made.private.stat().st_mode & 0o777), len(made.key_id)
    ('press-top.key', '0o600', 16)
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"key {shown(name)!r}: 1 to 100 letters, digits, '.', '_' or '-'")
    if role is SignerRole.CAMERA and not cameras:
        raise SettingsError("--camera: the key of a camera says which one, as press/top")
    for camera in cameras:
        station, slash, rest = camera.partition("/")
        if not (station and slash and rest) or not camera.isprintable():
            raise SettingsError(f"--camera {shown(camera)!r}: as station/camera")
    key = SigningKey(Ed25519PrivateKey.generate())
    content = {"public_key": base64.b64encode(key.public).decode(), "role": role.value}
    text = yaml.safe_dump({**content, **({"cameras": list(cameras)} if cameras else {})}, sort_keys=False)
    private, public = folder / f"{name}.key", folder / f"{name}.yaml"
    if private.exists() or public.exists():
        raise SettingsError(f"{private if private.exists() else public} exists; choose another name, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(private, key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        try:
            _write(public, text.encode(), 0o644)
        except OSError:
            private.unlink()  # half a pair would stand in the way of the next try
            raise
    except OSError as error:
        raise SettingsError(f"{folder}: {error.strerror}") from error
    return MadeKey(key_id_of(key.public), private, public)


def _write(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise

"""Private key of a program, from the file of ``INSPECTION_SIGNING_KEY``, which is read again when it changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from schemas.connection.secret_files import read_secret
from schemas.errors import InspectionError, SettingsError
from schemas.replay_headers import RETRY_HEADER
from schemas.settings import SIGNING_KEY_VARIABLE
from schemas.text import shown
from transport.headers import header_map
from transport.signatures import RETRY_SIGNATURE_HEADER, SIGNATURE_HEADER, SigningKey

log = logging.getLogger(__name__)

HeaderList = Iterable[tuple[str, str | bytes | None]]
#: Interval, in seconds, at which the file is looked at.
_INTERVAL_S = 2.0


def read_signing_key(path: Path, named_by: str = SIGNING_KEY_VARIABLE) -> SigningKey:
    """Read a private key: Ed25519 as PEM (PKCS#8), without a pass phrase, not readable by others.

    Parameters
    ----------
    named_by
        Option or variable that names the file, for the text of errors.

    Raises
    ------
    SettingsError
        If it is not one.
    """
    try:
        key = load_pem_private_key(read_secret(path), None)
    except OSError as error:
        raise SettingsError(f"{named_by}={shown(path)}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsError(f"{named_by}={shown(path)}: not a private key as `inspection keys new` writes it") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{named_by}={shown(path)}: not an Ed25519 key; `inspection keys new` makes one")
    return SigningKey(key)


class Signer:
    """Signs messages with the key that a file has at that moment. Thread-safe.

    Raises
    ------
    SettingsError
        If the file has no key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._key = read_signing_key(path)
        self._next_s = time.monotonic() + _INTERVAL_S

    @property
    def key(self) -> SigningKey:
        """Key of this moment."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            with self._lock:
                self._next_s = now_s + _INTERVAL_S
                self._read_again()
        return self._key

    def headers(
        self, topic: str, key: bytes | None, value: bytes | None, headers: HeaderList
    ) -> list[tuple[str, str | bytes | None]]:
        """Return the headers of a message, and the one that signs it.

        The retry of a frame keeps the signature of its camera, and gets another one.
        """
        retry_of = header_map(_as_bytes(headers)).get(RETRY_HEADER)
        name = SIGNATURE_HEADER if retry_of is None else RETRY_SIGNATURE_HEADER
        rest = [pair for pair in headers if pair[0] != name]
        return [*rest, (name, self.key.sign(topic, key, value, retry_of))]

    def _read_again(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            self._key = read_signing_key(self._path)
            self._stamp = stamp
            log.info("a new signing key: %s", self._path)
        except InspectionError as error:
            log.error("%s; the former key is used", error)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def _as_bytes(headers: HeaderList) -> Iterator[tuple[str, bytes | None]]:
    return ((name, value.encode() if isinstance(value, str) else value) for name, value in headers)


_SIGNERS: dict[str, Signer] = {}


def signer_of(path: str) -> Signer:
    """Return the signer of a file, the same one for all clients of a process.

    Raises
    ------
    SettingsError
        If the file has no key.
    """
    return _SIGNERS.get(path) or _SIGNERS.setdefault(path, Signer(Path(path)))

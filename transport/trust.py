"""Public keys that a program believes: a folder of files, and a folder ``revoked`` in it.

::

    trust/press-top.yaml           public_key: <base64>
                                   role: camera
                                   cameras: [press/top]
    trust/worker-1.yaml            role: worker; without cameras: for all
    trust/revoked/old.yaml         a key that is in here is refused, wherever else it is

`inspection keys new` writes such a file. ``not_before`` and ``not_after`` bound the use of a key, so two keys of one
camera may overlap. The folder is read again when its files change: a rotation needs no restart.

A topic may spread further keys (`transport.key_follower`). The folder stays the root: a key of the topic counts only if
an authority of the folder has signed it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import InspectionError, SettingsError
from schemas.replay_headers import RETRY_HEADER
from schemas.text import shown
from transport.public_keys import SignatureFault, SignerRole, TrustedKey, TrustedKeys, read_key_file
from transport.signatures import RETRY_SIGNATURE_HEADER, SIGNATURE_HEADER, key_id_of, signed_bytes
from transport.spread_keys import SpreadKeys

log = logging.getLogger(__name__)

REVOKED = "revoked"
#: Interval, in seconds, at which the folder is looked at.
_INTERVAL_S = 2.0
_MOST_FILES = 10_000


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
        self._refused = ""
        self._own = self._keys = read_trust(folder)
        self._spread = SpreadKeys()
        self._next_s = time.monotonic() + _INTERVAL_S
        if not self._keys.by_id:
            raise SettingsError(f"--trust {shown(folder)}: no keys in it; `inspection keys new` makes them")

    @property
    def keys(self) -> TrustedKeys:
        """Keys of this moment: those of the folder, and those that a topic spreads."""
        self._refresh()
        return self._keys

    @property
    def own_keys(self) -> TrustedKeys:
        """Keys of the folder alone, at this moment."""
        self._refresh()
        return self._own

    def take_spread(self, spread: SpreadKeys) -> None:
        """Use the keys of a topic in place of those that it had before."""
        with self._lock:
            self._spread = spread
            self._keys = spread.joined_to(self._own)

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
        return self.keys.fault(role, camera, headers.get(SIGNATURE_HEADER), signed_bytes(topic, key, value), now_us)

    def retry_fault(
        self, camera: str, topic: str, key: bytes | None, value: bytes | None, headers: Mapping[str, bytes], now_us: int
    ) -> SignatureFault | None:
        """Return why the retry of a frame is not believed; None if an operator has signed it."""
        content = signed_bytes(topic, key, value, headers.get(RETRY_HEADER, b""))
        return self.keys.fault(SignerRole.OPERATOR, camera, headers.get(RETRY_SIGNATURE_HEADER), content, now_us)

    def _refresh(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            with self._lock:
                self._next_s = now_s + _INTERVAL_S
                self._read_again()

    def _read_again(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        # A file that was refused may be read later although it looks the same, as after `chmod`.
        try:
            self._own = read_trust(self._folder)
        except InspectionError as error:
            if str(error) != self._refused:
                log.error("%s; the former keys are used", error)
            self._refused = str(error)
            return
        self._stamp, self._refused = stamp, ""
        self._keys = self._spread.joined_to(self._own)
        log.info("%s: %d keys, %d revoked", self._folder, len(self._own.by_id), len(self._own.revoked))

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

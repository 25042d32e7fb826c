"""Clients and their tokens, from a file.

::

    clients:
      press-7:                        # name of the client, in the names of its cameras
        token_sha256: 5e88...         # of `inspection gateway --new-token press-7`
        scopes: [inspect, read]       # inspect (the default), read, label
        stations: [press]             # stations that it may name; without: the default station alone
        key_required: true            # requests without an Idempotency-Key are refused

The file has the hashes of the tokens. A plain hash is enough for a token of 256 random bits: it cannot be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.problems import Problem
from models.yaml_lines import YamlProblem, parse
from schemas.connection.secret_files import read_trusted
from schemas.errors import SettingsError
from schemas.text import shown

SCOPES = ("inspect", "read", "label")
#: Longest name of a client, in characters.
LONGEST_CLIENT = 40
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_CLIENT}}}")
_HASH = re.compile(r"[0-9a-f]{64}")
_KNOWN = {"token_sha256", "scopes", "stations", "key_required"}


@dataclass(frozen=True, slots=True)
class Client:
    """Client of the gateway: its name, and its rights.

    ``stations`` are the stations that it may name beside the default one.
    """

    name: str
    scopes: frozenset[str] = frozenset(SCOPES)
    stations: frozenset[str] | None = frozenset()
    key_required: bool = False

    def require(self, scope: str) -> None:
        """Check a right of the client.

        Raises
        ------
        Problem
            ``forbidden``.
        """
        if scope not in self.scopes:
            raise Problem("forbidden", f"the token of {self.name} does not have the scope {scope!r}")

    def may_use(self, station: str) -> bool:
        """Return True if the client may send frames of a station."""
        return self.stations is None or station in self.stations


#: Client without a token: any program on this machine.
LOCAL = Client("local", stations=None)


class Clients:
    """Clients with their tokens. Without clients every request is one of `LOCAL`.

    Examples
    --------
    >>> clients = Clients({token_hash("secret"): Client("press-7")})
    >>> clients.of("Bearer secret").name
    'press-7'
    >>> clients.of("Bearer guess")
    Traceback (most recent call last):
    ...
    gateway.problems.Problem: the token is not valid
    """

    def __init__(self, by_hash: Mapping[str, Client] | None = None) -> None:
        self._by_hash = None if by_hash is None else dict(by_hash)

    @property
    def are_open(self) -> bool:
        """True if no token is needed."""
        return self._by_hash is None

    def __len__(self) -> int:
        return 1 if self._by_hash is None else len(self._by_hash)

    def of(self, authorization: str | None) -> Client:
        """Return the client of the header ``Authorization``.

        The time does not depend on how much of a token is right, nor on whose token it is.

        Raises
        ------
        Problem
            ``unauthenticated``.
        """
        if self._by_hash is None:
            return LOCAL
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthenticated("the header Authorization: Bearer TOKEN is missing")
        found, given = None, token_hash(token.strip())
        for known, client in self._by_hash.items():
            if hmac.compare_digest(known, given):
                found = client
        if found is None:
            raise _unauthenticated("the token is not valid")
        return found


def _unauthenticated(detail: str) -> Problem:
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": 'Bearer realm="inspection"'})


def token_hash(token: str) -> str:
    """Return the hash of a token, as the file has it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def new_token(name: str) -> tuple[str, str]:
    """Return a new token, and the lines of the file for it.

    Raises
    ------
    SettingsError
        If the name of the client is not usable.
    """
    _check_name(name)
    token = secrets.token_urlsafe(32)
    return token, f"clients:\n  {name}:\n    token_sha256: {token_hash(token)}\n    scopes: [inspect]\n"


def read_clients(path: Path, default_station: str) -> Clients:
    """Read the file of the clients.

    Raises
    ------
    SettingsError
        If the file cannot be read, if others can change it, or if an entry is not valid.
    """
    try:
        found = parse(read_trusted(path).content.decode("utf-8-sig")).data
    except (OSError, ValueError) as error:
        if isinstance(error, YamlProblem):
            raise SettingsError(f"--tokens {path}:{error.line}: {shown(str(error))}") from None
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise SettingsError(f"--tokens {path}: {reason}") from None
    entries = found.get("clients")
    if not isinstance(entries, dict) or not entries or set(found) != {"clients"}:
        raise SettingsError(f"--tokens {path}: has one entry, 'clients', with the clients by name")
    by_hash: dict[str, Client] = {}
    for name, values in entries.items():
        try:
            digest, client = _client(name, values, default_station)
        except SettingsError as error:
            raise SettingsError(f"--tokens {path}: {error}") from None
        if digest in by_hash:
            raise SettingsError(f"--tokens {path}: {by_hash[digest].name} and {name} have the same token")
        by_hash[digest] = client
    return Clients(by_hash)


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or "--" in name:
        raise SettingsError(f"client {name!r}: 1 to {LONGEST_CLIENT} letters, digits, '_' or '-', and no '--'")
    return name


def _client(name: object, values: Any, default_station: str) -> tuple[str, Client]:
    name = _check_name(name)
    if not isinstance(values, dict) or not set(values) <= _KNOWN:
        raise SettingsError(f"client {name}: has the entries {', '.join(sorted(_KNOWN))}")
    digest = values.get("token_sha256")
    if not isinstance(digest, str) or not _HASH.fullmatch(digest):
        raise SettingsError(f"client {name}: token_sha256 has 64 digits from 0 to f")
    scopes = _texts(name, "scopes", values.get("scopes", ["inspect"]))
    if not scopes <= set(SCOPES):
        raise SettingsError(f"client {name}: scopes are {', '.join(SCOPES)}")
    key_required = values.get("key_required", False)
    if not isinstance(key_required, bool):
        raise SettingsError(f"client {name}: key_required is true or false")
    stations = _texts(name, "stations", values.get("stations", [default_station]))
    return digest, Client(name, frozenset(scopes), frozenset(stations), key_required)


def _texts(name: str, what: str, values: object) -> set[str]:
    found: Iterable[object] = values if isinstance(values, list) else [None]
    if not all(isinstance(value, str) for value in found):
        raise SettingsError(f"client {name}: {what} is a list of texts")
    return {str(value) for value in found}

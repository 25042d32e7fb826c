"""Security of `inspection broker start`: made once in the data directory, and found there at each start.

| file | content |
|---|---|
| ``security.json`` | random passwords of the broker and of the one user |
| ``client.properties`` | settings with which a client connects |
| ``ca.pem`` | with TLS: certificate of the authority, whose private key is thrown away |
| ``broker.pem`` | with TLS: private key and certificate of the broker, for ``localhost`` |
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from infra.broker.errors import BrokerError
from infra.broker.security import ADMIN, BrokerSecurity
from schemas.connection.local_broker import CLIENT_FILE
from schemas.private_files import make_private_folder, read_private, replace_private

#: User of all clients; it may do everything.
USER = "inspection"
_PASSWORDS = "security.json"
_AUTHORITY, _KEYSTORE = "ca.pem", "broker.pem"


def find_security(data_dir: Path) -> BrokerSecurity | None:
    """Return the security of a data directory; None if anyone may use its broker.

    Raises
    ------
    BrokerError
        If the file with the passwords cannot be read.
    """
    try:
        passwords = json.loads(read_private(data_dir / _PASSWORDS))
        return _security(data_dir, {name: str(passwords[name]) for name in (ADMIN, USER)})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BrokerError(f"{data_dir / _PASSWORDS} cannot be read ({type(error).__name__})") from None


def make_security(data_dir: Path, *, tls: bool = False) -> BrokerSecurity:
    """Return the security of a data directory, and make what is missing.

    Parameters
    ----------
    tls
        False: with TLS only if an earlier start has made certificates.

    Raises
    ------
    BrokerError
        If the directory has the topics of an open broker.
    """
    found = find_security(data_dir)
    if found is None and _has_topics(data_dir):
        raise BrokerError(
            f"{data_dir} has the topics of a broker without passwords, which every user of this machine can use; go on "
            "with --open, or choose another --data-dir"
        )
    try:
        make_private_folder(data_dir)
        if tls and (found is None or found.keystore is None):
            _make_certificates(data_dir)
        if found is None:
            passwords = {name: secrets.token_urlsafe(24) for name in (ADMIN, USER)}
            replace_private(data_dir / _PASSWORDS, json.dumps(passwords).encode())
            return _security(data_dir, passwords)
    except OSError as error:
        raise BrokerError(f"the broker cannot use {data_dir}: {error.strerror or error}") from error
    return _security(data_dir, found.passwords)


def require_open(data_dir: Path) -> None:
    """Do nothing if the broker of a data directory has no passwords.

    Raises
    ------
    BrokerError
        If it has passwords.
    """
    if find_security(data_dir) is not None:
        raise BrokerError(
            f"{data_dir} has the topics of a broker with passwords; leave --open out, or choose another --data-dir"
        )


def write_client(data_dir: Path, security: BrokerSecurity, bootstrap_servers: str) -> Path:
    """Write the file with which a client connects, and return its path."""
    lines = dict(security.client(USER))
    if security.authority is not None:
        lines["ssl.ca.location"] = _AUTHORITY
    text = f"bootstrap.servers={bootstrap_servers}\n" + "".join(f"{key}={value}\n" for key, value in lines.items())
    path = data_dir / CLIENT_FILE
    replace_private(path, f"# Written by `inspection broker start`.\n{text}".encode())
    return path


def _has_topics(data_dir: Path) -> bool:
    """Return True if a broker, or the nodes of a cluster, have been prepared there."""
    return any(data_dir.glob("data/meta.properties")) or any(data_dir.glob("*/data/meta.properties"))


def _make_certificates(data_dir: Path) -> None:
    from infra.broker.certificates import CertificateAuthority  # slow to import, and not needed without TLS

    authority = CertificateAuthority(f"local Kafka {secrets.token_hex(4)}")
    issued = authority.issue("broker", ["localhost", "127.0.0.1"])
    replace_private(data_dir / _AUTHORITY, authority.certificate)
    replace_private(data_dir / _KEYSTORE, issued.key + issued.certificate)


def _security(data_dir: Path, passwords: Mapping[str, str]) -> BrokerSecurity:
    if not (data_dir / _KEYSTORE).exists():
        return BrokerSecurity(passwords, super_users=(USER,))
    return BrokerSecurity(passwords, data_dir / _AUTHORITY, data_dir / _KEYSTORE, super_users=(USER,))

"""Security of `inspection broker start --secure`: made once in the data directory, and found there at each start.

| file | content |
|---|---|
| ``security.json`` | random passwords of the broker and of the one user |
| ``ca.pem`` | certificate of the authority, whose private key is thrown away |
| ``broker.pem`` | private key and certificate of the broker, for ``localhost`` |
| ``client.properties`` | settings with which a client connects |
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from infra.broker.certificates import CertificateAuthority
from infra.broker.errors import BrokerError
from infra.broker.security import ADMIN, BrokerSecurity
from schemas.private_files import make_private_folder, read_private, replace_private

#: User of all clients; it may do everything.
USER = "inspection"
_PASSWORDS, _CLIENT = "security.json", "client.properties"
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
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokerError(f"{data_dir / _PASSWORDS} cannot be read ({type(error).__name__})") from None


def make_security(data_dir: Path) -> BrokerSecurity:
    """Return the security of a data directory, and make it at the first start.

    Raises
    ------
    BrokerError
        If the directory has the topics of an open broker.
    """
    found = find_security(data_dir)
    if found is not None:
        return found
    if (data_dir / "data" / "meta.properties").exists():
        raise BrokerError(f"{data_dir} has the topics of a broker without passwords; choose another --data-dir")
    try:
        make_private_folder(data_dir)
        authority = CertificateAuthority(f"local Kafka {secrets.token_hex(4)}")
        issued = authority.issue("broker", ["localhost", "127.0.0.1"])
        replace_private(data_dir / _AUTHORITY, authority.certificate)
        replace_private(data_dir / _KEYSTORE, issued.key + issued.certificate)
        passwords = {name: secrets.token_urlsafe(24) for name in (ADMIN, USER)}
        replace_private(data_dir / _PASSWORDS, json.dumps(passwords).encode())
    except OSError as error:
        raise BrokerError(f"the broker cannot use {data_dir}: {error.strerror or error}") from error
    return _security(data_dir, passwords)


def client_file(data_dir: Path) -> Path:
    """Return the path of the file with which a client connects."""
    return data_dir / _CLIENT


def write_client(data_dir: Path, security: BrokerSecurity, bootstrap_servers: str) -> Path:
    """Write the file with which a client connects, and return its path."""
    lines = {**dict(security.client(USER)), "ssl.ca.location": _AUTHORITY}
    text = f"bootstrap.servers={bootstrap_servers}\n" + "".join(f"{key}={value}\n" for key, value in lines.items())
    replace_private(client_file(data_dir), f"# Written by `inspection broker start --secure`.\n{text}".encode())
    return client_file(data_dir)


def _security(data_dir: Path, passwords: dict[str, str]) -> BrokerSecurity:
    return BrokerSecurity(data_dir / _AUTHORITY, data_dir / _KEYSTORE, passwords, super_users=(USER,))

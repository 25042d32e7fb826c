"""Settings of this user's broker, as `inspection broker start` writes them: its clients find them by themselves.

They stay when the broker stops. So a program that takes its port in the meantime gets no client: it cannot prove that
it knows the password (RFC 5802, SCRAM).
"""

from __future__ import annotations

from pathlib import Path

from schemas.connection.load import CONFIG_VARIABLE, load_client_config
from schemas.errors import SettingsError
from schemas.user_folders import user_folder

#: File in the data directory of a broker, with which a client connects.
CLIENT_FILE = "client.properties"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def default_data_dir() -> Path:
    """Return the folder with the data of this user's broker.

    Raises
    ------
    SettingsError
        If the user has no home folder.
    """
    return user_folder("data") / "broker"


def local_client(bootstrap_servers: str) -> dict[str, str]:
    """Return settings of librdkafka for an address; empty unless it is that of this user's broker.

    Raises
    ------
    SettingsError
        If the file with the settings is refused.

    Examples
    --------
    >>> local_client("kafka.plant:9092")
    {}
    """
    ports = _ports(bootstrap_servers)
    if not ports:
        return {}
    try:
        path = default_data_dir() / CLIENT_FILE
        if not path.is_file():
            return {}
    except (SettingsError, OSError):  # a user without a home folder has started no broker
        return {}
    settings = load_client_config({CONFIG_VARIABLE: str(path)})
    return settings if ports <= _ports(settings.pop("bootstrap.servers", "")) else {}


def _ports(addresses: str) -> set[str]:
    """Return the ports of addresses on loopback; empty if one of them is elsewhere."""
    parts = [address.strip().rpartition(":") for address in addresses.split(",")]
    return {port for _, _, port in parts} if all(host.lower() in _LOOPBACK for host, _, _ in parts) else set()

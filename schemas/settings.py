"""Settings that every program of the line needs: the way to Kafka, and limits on images."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.addresses import masked_repr
from schemas.connection.client_keys import SECRETS
from schemas.connection.load import load_client_config
from schemas.connection.local_broker import local_client
from schemas.connection.registry_client import load_registry_client, registry_secrets
from schemas.errors import SettingsError
from schemas.known_secrets import keep_password, keep_secret
from schemas.text import shown
from schemas.topics import (
    AUDIT_LOG,
    DEAD_LETTERS,
    DECISIONS,
    DEFAULT_PREFIX,
    DRIFT,
    DRIFT_STATE,
    FRAMES,
    HTTP_KEYS,
    LABELS,
    SIGNING_KEYS,
    check_prefix,
)

DEFAULT_BOOTSTRAP_SERVERS = "127.0.0.1:9092"

#: Environment variable of the private key.
SIGNING_KEY_VARIABLE = "INSPECTION_SIGNING_KEY"
#: Environment variables of `ImageSettings`.
MAX_IMAGE_VARIABLE = "INSPECTION_MAX_IMAGE_MEGAPIXELS"
DECODE_MEMORY_VARIABLE = "INSPECTION_DECODE_MEMORY_MIB"


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Limits on decoding images in a process, the same for producer, worker and replay.

    Parameters
    ----------
    max_pixels
        Most pixels of one image.
    memory_bytes
        Memory for all images that are decoded at the same time.

    Examples
    --------
    >>> ImageSettings.from_env({"INSPECTION_MAX_IMAGE_MEGAPIXELS": "150"})
    ImageSettings(max_pixels=150000000, memory_bytes=234881024)
    """

    max_pixels: int = 100_000_000
    memory_bytes: int = 224 * 1024 * 1024

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> ImageSettings:
        """Read ``INSPECTION_MAX_IMAGE_MEGAPIXELS`` and ``INSPECTION_DECODE_MEMORY_MIB``.

        Raises
        ------
        SettingsError
            If a variable is not a whole number from 1 to 1,000,000.
        """
        return cls(
            _whole(env, MAX_IMAGE_VARIABLE, cls().max_pixels // 1_000_000) * 1_000_000,
            _whole(env, DECODE_MEMORY_VARIABLE, cls().memory_bytes // 1024**2) * 1024**2,
        )


def _check_port(address: str) -> None:
    """Check the port of an address: librdkafka takes the rest of a number above 65535 by 65536."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or "]" in port or (":" in host and not host.endswith("]")):
        return  # no port, or an IPv6 address without one
    is_number = port.isascii() and port.isdigit()
    if not (is_number and 1 <= int(port[:6]) <= 65_535):
        # Other texts are not shown: one may be a password.
        place = f" {shown(address)}" if is_number and len(address) < 300 else ""
        raise SettingsError(f"bootstrap servers{place}: a port is a number from 1 to 65535")


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 1_000_000 or len(text) > 7:
        raise SettingsError(f"{name}={text!r}: a whole number from 1 to 1,000,000")
    return int(text)


@dataclass(frozen=True, slots=True, repr=False)
class KafkaSettings:
    """Address of Kafka and names of the topics.

    Parameters
    ----------
    bootstrap_servers
        ``host:port[,host:port]``.
    prefix
        First part of each topic name.
    schema_registry_url
        Address of a schema registry. With a registry, messages have Confluent framing; without, Avro single-object
        encoding.
    client
        Settings of librdkafka for TLS and login, as pairs; they hold secrets. See
        `schemas.connection.load.load_client_config`.
    registry_client
        Settings of the registry's client for TLS and login, as pairs; they hold secrets. See
        `schemas.connection.registry_client.load_registry_client`.
    signing_key
        File with the private key that signs what this program writes; None: nothing is signed. See
        `transport.signatures`.
    from_files
        True: ``client`` was read from the files of this environment, which are read again (`transport.credentials`).

    Examples
    --------
    >>> KafkaSettings(prefix="plant7").frames
    'plant7.frames'
    """

    bootstrap_servers: str = DEFAULT_BOOTSTRAP_SERVERS
    prefix: str = DEFAULT_PREFIX
    schema_registry_url: str | None = None
    client: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    registry_client: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    signing_key: str | None = field(default=None, repr=False)
    from_files: bool = field(default=False, repr=False, compare=False)

    def __repr__(self) -> str:
        return masked_repr(self, "schema_registry_url")

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        # A child process gets the settings as JSON, which has lists only.
        for name in ("client", "registry_client"):
            object.__setattr__(self, name, tuple((str(key), str(value)) for key, value in getattr(self, name)))
        keep_secret(*(value for key, value in self.client if key in SECRETS))
        keep_secret(*registry_secrets(self.registry_client))
        keep_password(self.schema_registry_url)
        if not self.bootstrap_servers.isprintable():
            raise SettingsError(
                f"bootstrap servers {shown(self.bootstrap_servers)}: no address has such characters; "
                "say host:port[,host:port]"
            )
        if re.search("[@=?&;#]", self.bootstrap_servers):
            # Not shown: it may hold a password.
            raise SettingsError(
                "the bootstrap servers have a user, a password or options: say host:port[,host:port] alone; "
                "INSPECTION_KAFKA_CONFIG names the file with user and password"
            )
        for address in self.bootstrap_servers.split(","):
            _check_port(address.strip())

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, bootstrap_servers: str = "") -> KafkaSettings:
        """Read the settings from environment variables.

        ``INSPECTION_BOOTSTRAP_SERVERS``, ``INSPECTION_PREFIX`` and ``INSPECTION_SCHEMA_REGISTRY_URL`` hold them;
        ``INSPECTION_KAFKA_CONFIG`` and the variables beside it name files, see `schemas.connection.load`, and so do
        those of the registry, see `schemas.connection.registry_client`. Without a file, an address of this user's own
        broker has the settings of that broker.

        Parameters
        ----------
        bootstrap_servers
            Address in place of that of variable and file; empty for theirs.

        Raises
        ------
        SettingsError
            If a variable, or a file that it names, is refused.
        """
        client = load_client_config(env)
        servers = client.pop("bootstrap.servers", DEFAULT_BOOTSTRAP_SERVERS)
        registry = load_registry_client(env)
        servers = bootstrap_servers or env.get("INSPECTION_BOOTSTRAP_SERVERS") or servers
        return cls(
            servers,
            env.get("INSPECTION_PREFIX") or DEFAULT_PREFIX,
            registry.pop("url", None),
            tuple((client or local_client(servers)).items()),
            tuple(registry.items()),
            signing_key=env.get(SIGNING_KEY_VARIABLE) or None,
            from_files=env is os.environ,
        )

    @property
    def frames(self) -> str:
        """Name of the frames topic."""
        return FRAMES.name(self.prefix)

    @property
    def decisions(self) -> str:
        """Name of the decisions topic."""
        return DECISIONS.name(self.prefix)

    @property
    def dead_letters(self) -> str:
        """Name of the dead-letters topic."""
        return DEAD_LETTERS.name(self.prefix)

    @property
    def labels(self) -> str:
        """Name of the labels topic."""
        return LABELS.name(self.prefix)

    @property
    def drift(self) -> str:
        """Name of the drift topic."""
        return DRIFT.name(self.prefix)

    @property
    def drift_state(self) -> str:
        """Name of the topic with the state of the drift processor."""
        return DRIFT_STATE.name(self.prefix)

    @property
    def audit_log(self) -> str:
        """Name of the topic with the acts of people."""
        return AUDIT_LOG.name(self.prefix)

    @property
    def signing_keys(self) -> str:
        """Name of the topic that spreads public keys."""
        return SIGNING_KEYS.name(self.prefix)

    @property
    def http_keys(self) -> str:
        """Name of the topic of the gateways' idempotency keys."""
        return HTTP_KEYS.name(self.prefix)

"""A real broker that refuses strangers: TLS with SCRAM, TLS with client certificates, and two bad certificates."""

from __future__ import annotations

import datetime
import os
import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from infra.broker import LocalBroker
from infra.broker.certificates import CertificateAuthority, IssuedKey
from infra.broker.ports import free_port
from infra.broker.security import ADMIN, BrokerSecurity, TlsListener
from schemas import KafkaSettings
from schemas.topics import TOPICS
from tests.support.tokens import TokenServer
from transport.clients import client_config

#: User with all rights, and one without any.
LINE, STRANGER = "line", "stranger"
PASSWORDS = {ADMIN: "adm1n-pass-of-the-suite", LINE: "l1ne-pass-of-the-suite", STRANGER: "s7ranger-pass-of-the-suite"}
TOKEN_SECRET = "t0ken-secret-of-the-suite"
#: Seconds until the certificate of the listener EXPIRED ends: a broker does not start with an expired one.
_SOON_S = 45


@dataclass(frozen=True)
class SecuredBroker:
    """Running broker, and the files with which its clients connect."""

    broker: LocalBroker
    security: BrokerSecurity
    folder: Path
    expires_at_s: float
    tokens: TokenServer

    @property
    def port(self) -> int:
        """Port of the listener SASL_SSL."""
        return int(self.broker.bootstrap_servers.rpartition(":")[2])

    def listener(self, name: str) -> str:
        """Return the address of a listener that speaks TLS without SASL: SSL, OTHER or EXPIRED."""
        return next(f"localhost:{each.port}" for each in self.security.listeners if each.name == name)

    def properties(self, user: str = LINE, **changes: str) -> dict[str, str]:
        """Return the lines of a client's file; a keyword has underscores for dots, and replaces a line."""
        found = {"bootstrap.servers": self.broker.bootstrap_servers, **dict(self.security.client(user))}
        return {**found, **{key.replace("_", "."): value for key, value in changes.items()}}

    def mutual(self, **changes: str) -> dict[str, str]:
        """Return the lines of a client with a certificate."""
        found = {
            "bootstrap.servers": self.listener("SSL"),
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.security.authority),
            "ssl.certificate.location": str(self.folder / "client.pem"),
            "ssl.key.location": str(self.folder / "client.key"),
        }
        return {**found, **{key.replace("_", "."): value for key, value in changes.items()}}

    def with_tokens(self, **changes: str) -> dict[str, str]:
        """Return the lines of a client that logs in with a token."""
        found = {
            "bootstrap.servers": self.broker.bootstrap_servers,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.security.authority),
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": LINE,
            "sasl.oauthbearer.client.secret": TOKEN_SECRET,
            "sasl.oauthbearer.token.endpoint.url": self.tokens.url,
        }
        return {**found, **{key.replace("_", "."): value for key, value in changes.items()}}

    def settings(self, prefix: str, lines: dict[str, str] | None = None) -> KafkaSettings:
        """Return the settings of a client."""
        client = dict(self.properties() if lines is None else lines)
        return KafkaSettings(client.pop("bootstrap.servers"), prefix, client=tuple(client.items()))

    def environment(self, file: Path, lines: dict[str, str] | None = None) -> dict[str, str]:
        """Write a client's file, and return an environment that names it."""
        lines = self.properties() if lines is None else lines
        file.touch(0o600)
        file.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        return {**os.environ, "INSPECTION_KAFKA_CONFIG": str(file)}

    def add_user(self, user: str, password: str) -> None:
        """Create a user, or give it another password."""
        add_user(self.security.settings(self.port), user, password)

    def lines_of(self, user: str, password: str) -> dict[str, str]:
        """Return the lines of the file of a user that `add_user` has made."""
        return self.properties(sasl_username=user, sasl_password=password)

    def create_topics(self, prefix: str) -> None:
        """Create the topics of a line, as the admin."""
        admin = AdminClient(client_config(self.security.settings(self.port)))
        wanted = [NewTopic(topic.name(prefix), topic.partitions, 1, config=topic.config) for topic in TOPICS]
        for created in admin.create_topics(wanted).values():
            created.result(20)

    def allow(self, *rights: tuple[ResourceType, str, AclOperation]) -> None:
        """Give these rights to the stranger, and no others: kind, first part of the name, operation."""
        admin = AdminClient(client_config(self.security.settings(self.port)))
        everything = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
        )
        for deleted in admin.delete_acls([everything]).values():
            deleted.result(20)
        user, pattern, allow = f"User:{STRANGER}", ResourcePatternType.PREFIXED, AclPermissionType.ALLOW
        bindings = [AclBinding(kind, name, pattern, user, "*", operation, allow) for kind, name, operation in rights]
        for created in admin.create_acls(bindings).values() if bindings else ():
            created.result(20)
        time.sleep(1)  # they act a moment later


def add_user(kafka: KafkaSettings, user: str, password: str) -> None:
    """Create a user as an admin, or give it another password."""
    change = UserScramCredentialUpsertion(
        user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), password.encode()
    )
    admin = AdminClient(client_config(kafka))
    for changed in admin.alter_user_scram_credentials([change]).values():
        changed.result(20)


def _write(path: Path, content: bytes) -> Path:
    path.touch(0o600)
    path.write_bytes(content)
    return path


def _store(path: Path, identity: IssuedKey) -> Path:
    return _write(path, identity.key + identity.certificate)


def make_secured_broker(folder: Path, *lines: str) -> SecuredBroker:
    """Return a broker that is not started yet, with its certificates and users.

    ``lines`` are further lines of ``server.properties``.
    """
    authority, stranger = CertificateAuthority("plant-ca"), CertificateAuthority("plant-ca")
    here = ["localhost", "127.0.0.1"]
    keystore = _store(folder / "broker.pem", authority.issue("broker", here))
    soon = authority.issue("broker", here, datetime.timedelta(seconds=_SOON_S))
    expires_at_s = time.time() + _SOON_S
    for name, issuer in (("client", authority), ("other-ca", stranger)):
        identity = issuer.issue("press-1", [])
        _write(folder / f"{name}.pem", identity.certificate)
        _write(folder / f"{name}.key", identity.key)
    listeners = [
        TlsListener("SSL", free_port(), keystore, asks_certificate=True),
        TlsListener("OTHER", free_port(), _store(folder / "other.pem", authority.issue("b", ["kafka.other"])), False),
        TlsListener("EXPIRED", free_port(), _store(folder / "expired.pem", soon), False),
    ]
    tokens = TokenServer(folder, LINE, TOKEN_SECRET)
    security = BrokerSecurity(
        authority=_write(folder / "ca.pem", authority.certificate),
        keystore=keystore,
        passwords=PASSWORDS,
        super_users=(LINE, "cert-press-1"),
        listeners=listeners,
        lines=[
            "listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER,PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule "
            f'required user_{LINE}="{PASSWORDS[LINE]}";',
            *tokens.broker_lines,
            *lines,
        ],
        java_options=tokens.java_options,
    )
    _write(folder / "strange-ca.pem", stranger.certificate)
    broker = LocalBroker(folder / "broker", port=0, security=security)
    return SecuredBroker(broker, security, folder, expires_at_s, tokens)

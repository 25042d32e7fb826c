"""Security of a local broker: TLS, SCRAM users, and further TLS listeners for clients with certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from schemas.private_files import replace_private
from schemas.settings import KafkaSettings

#: User of the broker itself.
ADMIN = "admin"
_JAAS = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class TlsListener:
    """Further listener: TLS without SASL.

    Parameters
    ----------
    keystore
        PEM file with the private key of the listener, and then its certificate.
    asks_certificate
        True: a client needs a certificate.
    """

    name: str
    port: int
    keystore: Path
    asks_certificate: bool


@dataclass(frozen=True, slots=True)
class BrokerSecurity:
    """Users and certificates of a broker that refuses strangers.

    Parameters
    ----------
    authority
        PEM file with the certificate of the authority that clients trust, and that signs their certificates.
    keystore
        PEM file with the private key of the broker, and then its certificate, for ``localhost``.
    passwords
        Password of each SCRAM user, the admin among them.
    super_users
        Principals that may do everything. The others may do what the ACLs allow.
    listeners
        Further listeners.
    lines
        Further lines of ``server.properties``.
    java_options
        Further options of the JVM.
    """

    authority: Path
    keystore: Path
    passwords: Mapping[str, str] = field(repr=False)
    super_users: Sequence[str] = ()
    listeners: Sequence[TlsListener] = ()
    lines: Sequence[str] = ()
    java_options: Sequence[str] = ()

    def client(self, user: str) -> tuple[tuple[str, str], ...]:
        """Return the settings with which a user connects, see `schemas.settings.KafkaSettings`."""
        return (
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", str(self.authority)),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", user),
            ("sasl.password", self.passwords[user]),
        )

    def settings(self, port: int) -> KafkaSettings:
        """Return the settings of the admin."""
        return KafkaSettings(f"localhost:{port}", client=self.client(ADMIN))

    def network(self, port: int, controller_port: int) -> str:
        """Return the lines of ``server.properties`` about listeners, logins and rights. They hold passwords."""
        more = "".join(f",{each.name}://{{host}}:{each.port}" for each in self.listeners)
        kinds = "".join(f",{each.name}:SSL" for each in self.listeners)
        password = self.passwords[ADMIN]
        lines = [
            f"listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"
            + more.format(host="127.0.0.1"),
            f"advertised.listeners=SASL_SSL://localhost:{port}" + more.format(host="localhost"),
            "inter.broker.listener.name=SASL_SSL",
            f"listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SASL_PLAINTEXT{kinds}",
            "sasl.enabled.mechanisms=SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
            "sasl.mechanism.controller.protocol=PLAIN",
            "listener.name.controller.sasl.enabled.mechanisms=PLAIN",
            f"listener.name.controller.plain.sasl.jaas.config={_JAAS}.plain.PlainLoginModule required "
            f'username="{ADMIN}" password="{password}" user_{ADMIN}="{password}";',
            f"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={_JAAS}.scram.ScramLoginModule required "
            f'username="{ADMIN}" password="{password}";',
            "listener.name.sasl_ssl.scram-sha-512.connections.max.reauth.ms=600000",
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={self.keystore}",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={self.authority}",
            # A certificate with the name of the admin must not be the admin.
            "ssl.principal.mapping.rules=RULE:^(?:.*,)?CN=([^,]+)(?:,.*)?$/cert-$1/",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            f"super.users={';'.join(f'User:{name}' for name in (ADMIN, *self.super_users))}",
            "allow.everyone.if.no.acl.found=false",
        ]
        for each in self.listeners:
            name = f"listener.name.{each.name.lower()}.ssl"
            lines.append(f"{name}.client.auth={'required' if each.asks_certificate else 'none'}")
            lines += [f"{name}.keystore.type=PEM", f"{name}.keystore.location={each.keystore}"]
        return "\n".join([*lines, *self.lines])

    def format_arguments(self) -> list[str]:
        """Return the arguments of Kafka's storage tool that create the users. They hold passwords."""
        return [
            argument
            for user, password in self.passwords.items()
            for argument in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]")
        ]


def write_arguments(path: Path, arguments: Sequence[str]) -> None:
    """Write a private file of arguments for ``java @FILE``, which hides them from the list of processes."""
    quoted = ('"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in arguments)
    replace_private(path, "\n".join(quoted).encode(), sync=False)

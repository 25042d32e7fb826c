"""Security of a local broker: SCRAM users, with or without TLS, and listeners for clients with certificates."""

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
class Tunnel:
    """Second listener, which advertises another port to its clients: the port of a proxy or tunnel before it."""

    listen_port: int
    advertised_port: int


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
    passwords
        Password of each SCRAM user, the admin among them.
    authority
        PEM file with the certificate of the authority that clients trust, and that signs their certificates.
    keystore
        PEM file with the private key of the broker, and then its certificate, for ``localhost``. None: no TLS.
    super_users
        Principals that may do everything. The others may do what the ACLs allow.
    listeners
        Further listeners.
    lines
        Further lines of ``server.properties``.
    java_options
        Further options of the JVM.
    """

    passwords: Mapping[str, str] = field(repr=False)
    authority: Path | None = None
    keystore: Path | None = None
    super_users: Sequence[str] = ()
    listeners: Sequence[TlsListener] = ()
    lines: Sequence[str] = ()
    java_options: Sequence[str] = ()

    def client(self, user: str) -> tuple[tuple[str, str], ...]:
        """Return the settings with which a user connects, see `schemas.settings.KafkaSettings`."""
        return (
            ("security.protocol", self._protocol),
            *(() if self.authority is None else (("ssl.ca.location", str(self.authority)),)),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", user),
            ("sasl.password", self.passwords[user]),
        )

    def settings(self, port: int, user: str = ADMIN) -> KafkaSettings:
        """Return the settings of a user."""
        return KafkaSettings(f"{self._host}:{port}", client=self.client(user))

    @property
    def _protocol(self) -> str:
        return "SASL_PLAINTEXT" if self.keystore is None else "SASL_SSL"

    @property
    def _host(self) -> str:
        return "127.0.0.1" if self.keystore is None else "localhost"

    def network(self, port: int, controller_port: int, tunnel: Tunnel | None = None) -> str:
        """Return the lines of ``server.properties`` about listeners, logins and rights. They hold passwords."""
        password, protocol = self.passwords[ADMIN], self._protocol
        more = "".join(f",{each.name}://{{host}}:{each.port}" for each in self.listeners)
        kinds = "".join(f",{each.name}:SSL" for each in self.listeners)
        listened, advertised = more.format(host="127.0.0.1"), more.format(host="localhost")
        if tunnel is not None:
            listened += f",TUNNEL://127.0.0.1:{tunnel.listen_port}"
            advertised += f",TUNNEL://{self._host}:{tunnel.advertised_port}"
            kinds += f",TUNNEL:{protocol}"
        listener = f"listener.name.{protocol.lower()}.scram-sha-512"
        lines = [
            f"listeners={protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listened}",
            f"advertised.listeners={protocol}://{self._host}:{port}{advertised}",
            f"inter.broker.listener.name={protocol}",
            f"listener.security.protocol.map={protocol}:{protocol},CONTROLLER:SASL_PLAINTEXT{kinds}",
            "sasl.enabled.mechanisms=SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
            "sasl.mechanism.controller.protocol=PLAIN",
            "listener.name.controller.sasl.enabled.mechanisms=PLAIN",
            f"listener.name.controller.plain.sasl.jaas.config={_JAAS}.plain.PlainLoginModule required "
            f'username="{ADMIN}" password="{password}" user_{ADMIN}="{password}";',
            f"{listener}.sasl.jaas.config={_JAAS}.scram.ScramLoginModule required "
            f'username="{ADMIN}" password="{password}";',
            f"{listener}.connections.max.reauth.ms=600000",
            f"listener.name.tunnel.scram-sha-512.sasl.jaas.config={_JAAS}.scram.ScramLoginModule required;",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            f"super.users={';'.join(f'User:{name}' for name in (ADMIN, *self.super_users))}",
            "allow.everyone.if.no.acl.found=false",
        ]
        if self.keystore is not None:
            lines += [
                "ssl.keystore.type=PEM",
                f"ssl.keystore.location={self.keystore}",
                "ssl.truststore.type=PEM",
                f"ssl.truststore.location={self.authority}",
                # A certificate with the name of the admin must not be the admin.
                "ssl.principal.mapping.rules=RULE:^(?:.*,)?CN=([^,]+)(?:,.*)?$/cert-$1/",
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

"""Keys of a client configuration: allowed, refused with a reason of their own; all others are refused as well."""

from __future__ import annotations

import re

from schemas.connection.properties import Property

#: Keys whose values are paths, relative to the properties file.
PATHS = frozenset(
    {
        "https.ca.location",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.crl.location",
        "ssl.key.location",
        "ssl.keystore.location",
    }
)
#: Paths of files that must not be readable by others.
SECRET_PATHS = frozenset({"ssl.key.location", "ssl.keystore.location"})
#: Keys whose values are PEM text; ``\n`` in it is a line break.
PEM = frozenset({"ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem"})
#: Keys whose values are secret: a file with one of them must not be readable by others.
SECRETS = frozenset(
    {
        "sasl.password",
        "sasl.oauthbearer.client.secret",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
    }
)
ALLOWED = (
    PATHS
    | PEM
    | SECRETS
    | frozenset(
        {
            "bootstrap.servers",
            "client.id",
            "client.rack",
            "sasl.mechanisms",
            "sasl.oauthbearer.client.id",
            "sasl.oauthbearer.extensions",
            "sasl.oauthbearer.method",
            "sasl.oauthbearer.scope",
            "sasl.oauthbearer.token.endpoint.url",
            "sasl.username",
            "security.protocol",
            "ssl.cipher.suites",
        }
    )
)
#: Settings that are on in any case. Each may be named with this value, and with no other.
ALWAYS = {"enable.ssl.certificate.verification": "true", "ssl.endpoint.identification.algorithm": "https"}

#: Tuning that providers write into the files that they hand out. It is passed over: the programs set their own.
PASSED_OVER = frozenset({"acks", "client.dns.lookup", "session.timeout.ms"})

#: Beginnings of keys that are about a schema registry, see `schemas.connection.registry_client`.
REGISTRY_PREFIXES = ("schema.registry.", "basic.auth.", "bearer.auth.")

_NO_KERBEROS = (
    "Kerberos (GSSAPI) is not part of this client, and its settings hold a shell command; use SCRAM, OAUTHBEARER or a "
    "client certificate"
)
_REFUSED = {
    "plugin.library.paths": "it loads a shared library into the process",
    "ssl.engine.location": "it loads a shared library into the process",
    "ssl.providers": "it loads a shared library into the process",
    "enable.sasl.oauthbearer.unsecure.jwt": "anyone can make an unsigned token",
    "sasl.oauthbearer.config": "it is for unsigned tokens, which anyone can make; use sasl.oauthbearer.method=oidc",
    "oauthbearer_token_refresh_cb": "it is a function, which a file cannot hold; use sasl.oauthbearer.method=oidc",
    "debug": "the log of the client can hold secrets",
}
#: Variables that name the file of a secret.
_FILE_VARIABLES = {
    "sasl.password": "INSPECTION_KAFKA_PASSWORD_FILE",
    "ssl.key.password": "INSPECTION_KAFKA_KEY_PASSWORD_FILE",
    "sasl.oauthbearer.client.secret": "INSPECTION_KAFKA_CLIENT_SECRET_FILE",
}
_PLACEHOLDER = re.compile(r"\$\{[\w.-]+:")
_UNKNOWN = (
    "not a setting of the connection; the programs set all others themselves, so remove the line (allowed keys: "
    "docs/security.md)"
)


def check_key(entry: Property) -> None:
    """Refuse a key that is not allowed, and a value that would switch off the proof of the broker.

    Raises
    ------
    SettingsError
        If the line is refused.
    """
    key = entry.key
    if key in _REFUSED:
        raise entry.refusal(_REFUSED[key])
    if key.startswith("sasl.kerberos."):
        raise entry.refusal(_NO_KERBEROS)
    if key in ALWAYS:
        if entry.value.lower() != ALWAYS[key]:
            raise entry.refusal(
                f"with this value any program that takes the broker's place is believed; only {ALWAYS[key]} is allowed"
            )
    elif key not in ALLOWED | PASSED_OVER:
        raise entry.refusal(_UNKNOWN)
    if not entry.value:
        raise entry.refusal("it has no value")
    if key == "sasl.mechanisms" and entry.value.upper() == "GSSAPI":
        raise entry.refusal(_NO_KERBEROS)


def check_text(entry: Property) -> None:
    """Refuse a value that Java's and librdkafka's clients read differently.

    Raises
    ------
    SettingsError
        If it has a backslash, which Java takes for an escape, or a placeholder as ``${file:/run/a.properties:key}``,
        which Java's configuration providers replace.
    """
    if "\\" in entry.value:
        raise entry.refusal(f"it has a backslash, which clients of Kafka read in different ways{_remedy(entry.key)}")
    if _PLACEHOLDER.match(entry.value):
        raise entry.refusal(f"placeholders of Java's configuration providers are not replaced here{_remedy(entry.key)}")


def _remedy(key: str) -> str:
    variable = _FILE_VARIABLES.get(key)
    return f"; put the secret into a file of its own and name the file in {variable}" if variable else ""

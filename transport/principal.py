"""Principal of this process: the user as which Kafka knows it, taken from the client configuration."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import BrokerRefused, SettingsError
from schemas.settings import KafkaSettings
from transport.oauth_tokens import fetch_token

#: Kafka's name for a client without a login.
ANONYMOUS = "ANONYMOUS"
_LOGINS = {"PLAIN": "plain", "SCRAM-SHA-256": "scram", "SCRAM-SHA-512": "scram", "OAUTHBEARER": "token"}


@dataclass(frozen=True, slots=True)
class Principal:
    """User of Kafka, and how Kafka knows it: ``scram``, ``plain``, ``token``, ``certificate``, ``none``."""

    name: str
    login: str


def principal_of(kafka: KafkaSettings) -> Principal:
    """Return the principal of a client configuration.

    A certificate has the name that stands in it (``CN``); the brokers may map it to another one. A token is fetched
    from its server, and names the user in ``sub``.

    Raises
    ------
    BrokerRefused
        If the token server gives no token.
    SettingsError
        If the certificate cannot be read.

    Examples
    --------
    >>> scram = {"security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "ann"}
    >>> principal_of(KafkaSettings(client=tuple(scram.items())))
    Principal(name='ann', login='scram')
    >>> principal_of(KafkaSettings())
    Principal(name='ANONYMOUS', login='none')
    """
    client: Mapping[str, str] = dict(kafka.client)
    protocol = client.get("security.protocol", "PLAINTEXT").upper()
    if protocol.startswith("SASL_"):
        login = _LOGINS.get(client.get("sasl.mechanisms", client.get("sasl.mechanism", "")).upper(), "sasl")
        return Principal(_subject_of_token(kafka) if login == "token" else client.get("sasl.username", ""), login)
    name = _common_name(client) if protocol == "SSL" else None
    return Principal(ANONYMOUS, "none") if name is None else Principal(name, "certificate")


def _subject_of_token(kafka: KafkaSettings) -> str:
    try:
        body = fetch_token(kafka).split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"]
    except OSError as error:
        raise BrokerRefused(kafka.bootstrap_servers, f"no token: {error}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise BrokerRefused(kafka.bootstrap_servers, "the token names no user (sub)") from error
    return str(found)


def _common_name(client: Mapping[str, str]) -> str | None:
    """Return the name in the certificate of the client; None if there is no certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import pkcs12
    from cryptography.x509.oid import NameOID

    try:
        if store := client.get("ssl.keystore.location"):
            password = client.get("ssl.keystore.password")
            content = Path(store).read_bytes()
            certificate = pkcs12.load_key_and_certificates(content, password.encode() if password else None)[1]
        elif "ssl.certificate.pem" in client:
            certificate = x509.load_pem_x509_certificate(client["ssl.certificate.pem"].encode())
        elif "ssl.certificate.location" in client:
            certificate = x509.load_pem_x509_certificate(Path(client["ssl.certificate.location"]).read_bytes())
        else:
            return None
    except (OSError, ValueError) as error:
        raise SettingsError(f"the certificate of the client cannot be read: {error}") from error
    if certificate is None:
        return None
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()

"""Principal of a client configuration: the user as Kafka knows it, never a name that a person types."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12
from cryptography.x509 import load_pem_x509_certificate

from infra.broker.certificates import CertificateAuthority
from schemas import KafkaSettings
from schemas.errors import BrokerRefused, SettingsError
from tests.support.tokens import TokenServer
from transport.principal import Principal, principal_of


def of(**lines: str) -> Principal:
    return principal_of(KafkaSettings(client=tuple((key.replace("_", "."), value) for key, value in lines.items())))


def test_logins() -> None:
    assert of() == Principal("ANONYMOUS", "none")
    assert of(security_protocol="SSL") == Principal("ANONYMOUS", "none")
    plain = {"security_protocol": "SASL_SSL", "sasl_mechanisms": "PLAIN", "sasl_username": "API-KEY"}
    assert of(**plain) == Principal("API-KEY", "plain")
    scram = {"security_protocol": "sasl_plaintext", "sasl_mechanisms": "SCRAM-SHA-512", "sasl_username": "ann"}
    assert of(**scram) == Principal("ann", "scram")


def test_the_name_in_a_certificate(tmp_path: Path) -> None:
    issued = CertificateAuthority("plant-ca").issue("press-1", ())
    ssl = {"security_protocol": "SSL"}
    assert of(**ssl, ssl_certificate_pem=issued.certificate.decode()) == Principal("press-1", "certificate")
    (tmp_path / "client.pem").write_bytes(issued.certificate)
    assert of(**ssl, ssl_certificate_location=str(tmp_path / "client.pem")).name == "press-1"
    key = load_pem_private_key(issued.key, None)
    store = pkcs12.serialize_key_and_certificates(
        b"x", key, load_pem_x509_certificate(issued.certificate), None, BestAvailableEncryption(b"secret")
    )
    (tmp_path / "client.p12").write_bytes(store)
    location = {"ssl_keystore_location": str(tmp_path / "client.p12")}
    assert of(**ssl, **location, ssl_keystore_password="secret").name == "press-1"
    for wrong in ({"ssl_keystore_password": "other"}, {}):
        with pytest.raises(SettingsError, match="certificate of the client"):
            of(**ssl, **location, **wrong)


def test_the_user_of_a_token(tmp_path: Path) -> None:
    tokens = TokenServer(tmp_path, "press-1", "secret")
    with tokens.running():
        lines = {
            "security_protocol": "SASL_SSL",
            "sasl_mechanisms": "OAUTHBEARER",
            "sasl_oauthbearer_client_id": "press-1",
            "sasl_oauthbearer_client_secret": "secret",
            "sasl_oauthbearer_token_endpoint_url": tokens.url,
        }
        assert of(**lines) == Principal("press-1", "token")
    with pytest.raises(BrokerRefused, match="no token"):
        of(**lines)

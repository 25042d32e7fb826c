"""Each form of a certificate or password connects librdkafka, and Python's own TLS for the ends of batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509 import load_pem_x509_certificate

from schemas import KafkaSettings
from schemas.connection.load import load_client_config
from tests.support.secured import LINE, PASSWORDS, TOKEN_SECRET, SecuredBroker
from transport.batch_ends import find_batch_end
from transport.producer import make_producer

pytestmark = pytest.mark.broker

PHRASE = "phr4se of the key"
Lines = dict[str, str]


def secret_file(path: Path, content: bytes) -> Path:
    path.touch(0o600)
    path.write_bytes(content)
    return path


def encrypted_key(secured: SecuredBroker, folder: Path) -> tuple[Lines, dict[str, bytes]]:
    key = load_pem_private_key((secured.folder / "client.key").read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PHRASE.encode()))
    secret_file(folder / "locked.key", locked)
    return secured.mutual(ssl_key_location="locked.key"), {"KEY_PASSWORD": PHRASE.encode()}


def keystore(secured: SecuredBroker, folder: Path) -> tuple[Lines, dict[str, bytes]]:
    key = load_pem_private_key((secured.folder / "client.key").read_bytes(), None)
    certificate = load_pem_x509_certificate((secured.folder / "client.pem").read_bytes())
    packed = pkcs12.serialize_key_and_certificates(
        b"press-1", key, certificate, None, BestAvailableEncryption(PHRASE.encode())
    )
    secret_file(folder / "client.p12", packed)
    lines = secured.mutual()
    del lines["ssl.certificate.location"], lines["ssl.key.location"]
    return {**lines, "ssl.keystore.location": "client.p12"}, {"KEY_PASSWORD": PHRASE.encode() + b"\n"}


def inline(secured: SecuredBroker, folder: Path) -> tuple[Lines, dict[str, bytes]]:
    lines = {key: value for key, value in secured.mutual().items() if not key.endswith("location")}
    for key, name in (("ca", "ca.pem"), ("certificate", "client.pem"), ("key", "client.key")):
        lines[f"ssl.{key}.pem"] = (secured.folder / name).read_text().replace("\n", "\\n")
    return lines, {}


def password_file(secured: SecuredBroker, folder: Path) -> tuple[Lines, dict[str, bytes]]:
    lines = secured.properties()
    del lines["sasl.password"]
    return lines, {"PASSWORD": PASSWORDS[LINE].encode() + b"\n"}


def plain_in_the_names_of_java(secured: SecuredBroker, folder: Path) -> tuple[Lines, dict[str, bytes]]:
    lines = secured.properties()
    login = f"username='{LINE}' password='{PASSWORDS[LINE]}'"
    return {
        "bootstrap.servers": lines["bootstrap.servers"],
        "security.protocol": "SASL_SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": lines["ssl.ca.location"],
        "sasl.mechanism": "PLAIN",
        "sasl.jaas.config": f"org.apache.kafka.common.security.plain.PlainLoginModule required {login};",
    }, {}


def token(secured: SecuredBroker, folder: Path) -> tuple[Lines, dict[str, bytes]]:
    lines = secured.with_tokens()
    del lines["sasl.oauthbearer.client.secret"]
    return lines, {"CLIENT_SECRET": TOKEN_SECRET.encode()}


@pytest.mark.parametrize("form", [password_file, encrypted_key, keystore, inline, plain_in_the_names_of_java, token])
def test_a_form_connects(
    secured: SecuredBroker,
    tmp_path: Path,
    unique: str,
    form: Callable[[SecuredBroker, Path], tuple[Lines, dict[str, bytes]]],
) -> None:
    lines, secrets = form(secured, tmp_path)
    file = secret_file(tmp_path / "client.properties", "".join(f"{k}={v}\n" for k, v in lines.items()).encode())
    env = {"INSPECTION_KAFKA_CONFIG": str(file)}
    for name, content in secrets.items():
        env[f"INSPECTION_KAFKA_{name}_FILE"] = str(secret_file(tmp_path / name, content))
    client = load_client_config(env)
    kafka = KafkaSettings(client.pop("bootstrap.servers"), unique, client=tuple(client.items()))
    secured.create_topics(unique)
    producer = make_producer(kafka, {"linger.ms": 200})
    for number in range(3):
        producer.produce(kafka.decisions, bytes([number]), partition=0)
    assert producer.flush(20) == 0
    assert [find_batch_end(kafka, kafka.decisions, 0, offset) for offset in range(3)] == [3, 3, 3]

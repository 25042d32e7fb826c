"""Client configuration of a secured Kafka: one line for each refusal, with file, line and key, and never a secret."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from schemas.connection.client_keys import ALLOWED, PATHS
from schemas.connection.load import load_client_config
from schemas.errors import SettingsError
from schemas.settings import KafkaSettings
from transport.clients import client_config

SECRET = "pa55-word;of=the#plant"
Load = Callable[..., dict[str, str]]
SCRAM = ("security.protocol=SASL_SSL", "sasl.mechanism=SCRAM-SHA-512", "sasl.username=press-1")
TOKENS = (
    "security.protocol=SASL_SSL",
    "sasl.mechanisms=OAUTHBEARER",
    "sasl.oauthbearer.method=oidc",
    "sasl.oauthbearer.client.id=press-1",
)
KEY_FILE = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
MODULES = "org.apache.kafka.common.security"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load lines, with files of the folder beside them."""
    for name in ("ca.pem", "client.pem", "client.key", "client.p12"):
        (tmp_path / name).write_text(KEY_FILE)
        (tmp_path / name).chmod(0o600)

    def load(*lines: str, mode: int = 0o600, **variables: str) -> dict[str, str]:
        path = tmp_path / "client.properties"
        path.write_text("\n".join(lines))
        path.chmod(mode)
        env = {"INSPECTION_KAFKA_CONFIG": str(path)}
        for name, content in variables.items():
            file = tmp_path / name
            file.write_text(content)
            file.chmod(0o600)
            env[f"INSPECTION_KAFKA_{name.upper()}_FILE"] = str(file)
        return load_client_config(env)

    return load


def test_without_variables_nothing_changes() -> None:
    assert load_client_config({}) == {}
    assert client_config(KafkaSettings()) == {"bootstrap.servers": "127.0.0.1:9092", "log_level": 0}


def test_names_of_librdkafka(load: Load) -> None:
    found = load(
        "# The plant's cluster.",
        "bootstrap.servers = k1:9093,k2:9093",
        "",
        "security.protocol=sasl_ssl",
        "sasl.mechanisms=SCRAM-SHA-256",
        "sasl.username=press-1",
        f"sasl.password={SECRET}",
        "ssl.ca.location=ca.pem",
        "enable.ssl.certificate.verification=true",
        "ssl.endpoint.identification.algorithm=https",
    )
    folder = Path(found["ssl.ca.location"]).parent
    assert found == {
        "bootstrap.servers": "k1:9093,k2:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "SCRAM-SHA-256",
        "sasl.username": "press-1",
        "sasl.password": SECRET,
        "ssl.ca.location": str(folder / "ca.pem"),
    }
    assert folder.is_absolute()


@pytest.mark.parametrize("sign", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_a_line_feed_or_a_carriage_return_ends_a_line(load: Load, sign: str) -> None:
    found = load(*SCRAM, f"sasl.password=one{sign}two\r", "client.id=press-1")
    assert (found["sasl.password"], found["client.id"]) == (f"one{sign}two", "press-1")


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize(("module", "mechanism"), [("plain.Plain", "PLAIN"), ("scram.Scram", "SCRAM-SHA-512")])
def test_names_of_java(load: Load, quote: str, module: str, mechanism: str) -> None:
    found = load(
        "security.protocol=SASL_SSL",
        f"sasl.mechanism={mechanism}",
        f"sasl.jaas.config={MODULES}.{module}LoginModule required \\",
        f"  username={quote}press-1{quote} password={quote}{SECRET}{quote};",
        "ssl.truststore.type=PEM",
        "ssl.truststore.location=ca.pem",
        "ssl.keystore.type=PEM",
        "ssl.keystore.location=client.pem",
    )
    assert (found["sasl.username"], found["sasl.password"]) == ("press-1", SECRET)
    assert found["ssl.certificate.location"] == found["ssl.key.location"]
    assert {Path(found[key]).name for key in PATHS & set(found)} == {"ca.pem", "client.pem"}
    assert not [key for key in found if "store" in key or "jaas" in key]


def test_pem_text_of_both_names(load: Load) -> None:
    text = KEY_FILE.strip().replace("\n", "\\n")
    ours = load("security.protocol=SSL", f"ssl.ca.pem={text}", f"ssl.certificate.pem={text}", f"ssl.key.pem={text}")
    java = load(
        "security.protocol=SSL",
        f"ssl.truststore.certificates={text}",
        f"ssl.keystore.certificate.chain={text}",
        f"ssl.keystore.key={text}",
        "ssl.truststore.type=PEM",
        "ssl.keystore.type=PEM",
    )
    assert ours == java
    assert ours["ssl.key.pem"] == KEY_FILE.strip()


def test_tuning_of_providers_is_passed_over(load: Load) -> None:
    """The lines that Confluent Cloud hands out for librdkafka, and for Java's clients."""
    login = "PlainLoginModule required username='KEY' password='word';"
    common = ("bootstrap.servers=pkc-1.eu.cloud:9092", "security.protocol=SASL_SSL", "session.timeout.ms=45000")
    ours = load(*common, "sasl.mechanisms=PLAIN", "sasl.username=KEY", "sasl.password=word", "client.id=press-1")
    java = load(
        *common,
        f"sasl.jaas.config={MODULES}.plain.{login}",
        "sasl.mechanism=PLAIN",
        "client.dns.lookup=use_all_dns_ips",
        "acks=all",
        "client.id=press-1",
    )
    assert ours == java
    assert ours == {
        "bootstrap.servers": "pkc-1.eu.cloud:9092",
        "client.id": "press-1",
        "sasl.mechanisms": "PLAIN",
        "sasl.password": "word",
        "sasl.username": "KEY",
        "security.protocol": "SASL_SSL",
    }


def test_secrets_from_files_of_their_own(load: Load) -> None:
    assert load(*SCRAM, mode=0o644, password=f"{SECRET}\n")["sasl.password"] == SECRET
    assert load(*SCRAM, password=f" {SECRET}\n\n")["sasl.password"] == f" {SECRET}\n"
    keys = ("security.protocol=SSL", "ssl.certificate.location=client.pem", "ssl.key.location=client.key")
    assert load(*keys, key_password="phrase")["ssl.key.password"] == "phrase"
    store = ("security.protocol=SSL", "ssl.keystore.location=client.p12", "ssl.keystore.type=PKCS12")
    assert load(*store, key_password="phrase\r\n")["ssl.keystore.password"] == "phrase"
    tokens = load(*TOKENS, "sasl.oauthbearer.token.endpoint.url=https://sso.plant/token", client_secret=SECRET)
    assert tokens["sasl.oauthbearer.client.secret"] == SECRET


@pytest.mark.parametrize(
    "begin", ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED"]
)
@pytest.mark.parametrize("key", ["ssl.key.location", "ssl.key.pem"])
def test_a_key_with_a_pass_phrase_needs_it(load: Load, tmp_path: Path, begin: str, key: str) -> None:
    (tmp_path / "client.key").write_text(f"{begin}\nMIIB\n")
    value = "client.key" if key == "ssl.key.location" else f"{begin}\nMIIB".replace("\n", "\\n")
    lines = ("security.protocol=SSL", "ssl.certificate.location=client.pem", f"{key}={value}")
    with pytest.raises(
        SettingsError, match=r"line 3 .*pass phrase; INSPECTION_KAFKA_KEY_PASSWORD_FILE may name a file"
    ):
        load(*lines)
    assert load(*lines, key_password="phrase")["ssl.key.password"] == "phrase"


VERIFIES = "any program that takes the broker's place is believed"
REFUSED = {
    "unknown key": (["linger.ms=5"], 1, "linger.ms", "not a setting of the connection"),
    "shared library": (["plugin.library.paths=/tmp/x.so"], 1, "plugin.library.paths", "loads a shared library"),
    "engine": (["ssl.engine.location=/tmp/x.so"], 1, "ssl.engine.location", "loads a shared library"),
    "providers": (["ssl.providers=legacy"], 1, "ssl.providers", "loads a shared library"),
    "kerberos": (["", "sasl.kerberos.kinit.cmd=id"], 2, "sasl.kerberos.kinit.cmd", "Kerberos"),
    "GSSAPI": (["sasl.mechanism=GSSAPI"], 1, "sasl.mechanisms", "Kerberos"),
    "unsigned tokens": (
        ["enable.sasl.oauthbearer.unsecure.jwt=true"], 1, "enable.sasl.oauthbearer.unsecure.jwt", "unsigned token",
    ),
    "no verification": (
        ["enable.ssl.certificate.verification=false"], 1, "enable.ssl.certificate.verification", VERIFIES,
    ),
    "no host name": (
        ["ssl.endpoint.identification.algorithm=none"], 1, "ssl.endpoint.identification.algorithm", VERIFIES,
    ),
    "no host name, as in Java": (
        ["ssl.endpoint.identification.algorithm="], 1, "ssl.endpoint.identification.algorithm", VERIFIES,
    ),
    "PLAIN without TLS": (
        ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.username=u", f"sasl.password={SECRET}"],
        2, "sasl.mechanisms", "PLAIN without TLS",
    ),
    "token without TLS": (
        ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=OAUTHBEARER"], 2, "sasl.mechanisms", "without TLS",
    ),
    "login without SASL": (["sasl.username=u"], 1, "sasl.username", "security.protocol=SASL_SSL"),
    "certificate without TLS": (["ssl.ca.location=ca.pem"], 1, "ssl.ca.location", "security.protocol=SSL"),
    "protocol": (["security.protocol=TLS"], 1, "security.protocol", "choose from PLAINTEXT, SSL"),
    "mechanism": (["security.protocol=SASL_SSL", "sasl.mechanism=NTLM"], 2, "sasl.mechanisms", "choose one of PLAIN"),
    "no mechanism": (["security.protocol=SASL_SSL"], 1, "security.protocol", "sasl.mechanisms is missing"),
    "no password": ([*SCRAM], 2, "sasl.mechanisms", "INSPECTION_KAFKA_PASSWORD_FILE"),
    "twice": (["client.id=a", "client.id=b"], 2, "client.id", "in line 1 already"),
    "twice, both names": (["sasl.mechanism=PLAIN", "sasl.mechanisms=PLAIN"], 2, "sasl.mechanisms", "in line 1 already"),
    "no value": (["client.id="], 1, "client.id", "no value"),
    "backslash": ([*SCRAM, "sasl.password=a\\\\b"], 4, "sasl.password", "INSPECTION_KAFKA_PASSWORD_FILE"),
    "placeholder": (
        [*SCRAM, "sasl.password=${file:/run/a.properties:p}"], 4, "sasl.password", "INSPECTION_KAFKA_PASSWORD_FILE",
    ),
    "placeholder in JAAS": (
        [
            *SCRAM[:2],
            "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
            'username="u" password="${env:P}";',
        ],
        3, "sasl.password", "are not replaced here",
    ),
    "missing file": (["security.protocol=SSL", "ssl.ca.location=no.pem"], 2, "ssl.ca.location", "No such file"),
    "certificate alone": (
        ["security.protocol=SSL", "ssl.certificate.location=client.pem"],
        2, "ssl.certificate.location", "ssl.key.location is missing",
    ),
    "JKS by its type": (
        ["ssl.truststore.type=JKS", "ssl.truststore.location=trust.jks"], 2, "ssl.truststore.location", "keytool",
    ),
    "JKS, Java's default": (["ssl.truststore.location=trust.jks"], 1, "ssl.truststore.location", "keytool"),
    "JKS keystore": (
        ["ssl.keystore.type=JKS", "ssl.keystore.location=key.jks"], 2, "ssl.keystore.location", "-deststoretype PKCS12",
    ),
    "other module": (
        [f"sasl.jaas.config={MODULES}.oauthbearer.OAuthBearerLoginModule required clientId='a';"],
        1, "sasl.jaas.config", "only PlainLoginModule and ScramLoginModule",
    ),
    "token server in the clear": (
        [*TOKENS, "sasl.oauthbearer.client.secret=x", "sasl.oauthbearer.token.endpoint.url=http://sso.plant/token"],
        6, "sasl.oauthbearer.token.endpoint.url", "https://",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_file_line_and_key(load: Load, tmp_path: Path, name: str) -> None:
    lines, number, key, why = REFUSED[name]
    with pytest.raises(SettingsError) as caught:
        load(*lines)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/client.properties, line {number} ({key}): ")
    assert why in text
    assert "\n" not in text


@pytest.mark.parametrize("line", ["MIIBVgIBADANBgkqhkiG9w0BAQEFAASCAUAwggE8AgEAAkEA=", "no-key-value", "PASSW0RD=x"])
def test_a_line_that_lost_its_place_is_not_shown(load: Load, line: str) -> None:
    with pytest.raises(SettingsError, match=r"line 1 \(a key that is not shown\)") as caught:
        load(line)
    assert line[:8] not in str(caught.value)


def test_a_keystore_of_java_is_known_by_its_content(load: Load, tmp_path: Path) -> None:
    (tmp_path / "client.p12").write_bytes(b"\xfe\xed\xfe\xed" + bytes(40))
    with pytest.raises(SettingsError, match=r"line 2 \(ssl.keystore.location\): a Java keystore"):
        load("security.protocol=SSL", "ssl.keystore.location=client.p12")


def test_a_secret_in_file_and_variable_is_refused(load: Load) -> None:
    with pytest.raises(SettingsError, match="the same secret is in the file that INSPECTION_KAFKA_PASSWORD_FILE"):
        load(*SCRAM, f"sasl.password={SECRET}", password=SECRET)
    with pytest.raises(SettingsError, match=r"INSPECTION_KAFKA_PASSWORD_FILE gives sasl.password, and it needs"):
        load("security.protocol=SSL", password=SECRET)
    with pytest.raises(SettingsError, match="INSPECTION_KAFKA_CONFIG, the file that the secret belongs to, is not"):
        load_client_config({"INSPECTION_KAFKA_PASSWORD_FILE": "/dev/null"})


def test_files_that_others_can_read_or_write_are_refused(load: Load, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"line 4 \(sasl.password\): the file holds a secret, and others can read"):
        load(*SCRAM, f"sasl.password={SECRET}", mode=0o604)
    with pytest.raises(SettingsError, match="others can write it"):
        load("security.protocol=SSL", mode=0o602)
    assert load(*SCRAM, f"sasl.password={SECRET}", mode=0o640)
    keys = ("security.protocol=SSL", "ssl.certificate.location=client.pem", "ssl.key.location=client.key")
    (tmp_path / "client.key").chmod(0o644)
    with pytest.raises(SettingsError, match=r"line 3 \(ssl.key.location\).*client.key: others can read it"):
        load(*keys)
    env = {"INSPECTION_KAFKA_CONFIG": str(tmp_path / "client.properties")}
    load(*SCRAM, password=SECRET)
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(SettingsError, match=r"INSPECTION_KAFKA_PASSWORD_FILE=.*others can read it"):
        load_client_config({**env, "INSPECTION_KAFKA_PASSWORD_FILE": str(tmp_path / "password")})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="not a regular file"):
        load_client_config({"INSPECTION_KAFKA_CONFIG": str(tmp_path / "pipe")})


def test_a_link_is_followed_as_kubernetes_makes_them(load: Load, tmp_path: Path) -> None:
    load(*SCRAM, f"sasl.password={SECRET}")
    (tmp_path / "..data").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "..data" / "client.properties")
    assert load_client_config({"INSPECTION_KAFKA_CONFIG": str(tmp_path / "link")})["sasl.password"] == SECRET


def test_librdkafka_knows_each_allowed_key() -> None:
    for key in sorted(ALLOWED - PATHS):
        if not key.endswith(".pem"):
            value = {"security.protocol": "SSL", "sasl.mechanisms": "PLAIN"}.get(key, "x=y" if "ext" in key else "ALL")
            Consumer({"group.id": "x", "log_level": 0, key: "oidc" if key.endswith("method") else value})


def test_settings_carry_the_configuration_and_do_not_show_it(load: Load, tmp_path: Path) -> None:
    load(*SCRAM, "bootstrap.servers=kafka.plant:9093", f"sasl.password={SECRET}")
    env = {"INSPECTION_KAFKA_CONFIG": str(tmp_path / "client.properties")}
    kafka = KafkaSettings.from_env(env)
    assert kafka.bootstrap_servers == "kafka.plant:9093"
    assert KafkaSettings.from_env({**env, "INSPECTION_BOOTSTRAP_SERVERS": "k:1"}).bootstrap_servers == "k:1"
    assert client_config(kafka)["sasl.password"] == SECRET
    # A child process gets the settings as JSON.
    child = KafkaSettings(**json.loads(json.dumps(dataclasses.asdict(kafka))))
    assert child == kafka
    assert hash(child) == hash(kafka)
    assert dataclasses.replace(kafka, prefix="plant7").client == kafka.client
    assert SECRET not in repr(kafka) + repr([kafka]) + f"{kafka}"

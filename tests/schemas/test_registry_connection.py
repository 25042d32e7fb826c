"""Connection to a schema registry: settings, refused settings, and a server that asks for a login over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.broker.certificates import CertificateAuthority
from schemas import Codec, KafkaSettings
from schemas.connection.registry_client import load_registry_client
from schemas.errors import RegistryError, RegistrySilent, SettingsError
from schemas.records import Frame
from schemas.registry import RegistryIds
from schemas.registry_cache import RegistryIdMap, read_ids, write_ids
from tests.support.schema_registry import basic, guard

SECRET = "r3gistry-pass-of-the-suite"
URL = "https://registry.plant/apis/ccompat/v7"
Load = Callable[..., dict[str, str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a file, and load it."""

    def load(text: str, mode: int = 0o600, **env: str) -> dict[str, str]:
        path = tmp_path / "registry.properties"
        path.touch(0o600)
        path.write_text(text)
        path.chmod(mode)
        return load_registry_client({"INSPECTION_SCHEMA_REGISTRY_CONFIG": str(path), **env})

    return load


def secret_file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text(text)
    return str(path)


def test_names_of_both_clients(load: Load, tmp_path: Path) -> None:
    for name in ("ca.pem", "both.pem"):
        (tmp_path / name).touch(0o600)
    found = load(
        f"schema.registry.url={URL}\nschema.registry.basic.auth.credentials.source=USER_INFO\n"
        f"schema.registry.basic.auth.user.info=me:{SECRET}\nschema.registry.ssl.truststore.type=PEM\n"
        "schema.registry.ssl.truststore.location=ca.pem\nschema.registry.ssl.keystore.type=PEM\n"
        "schema.registry.ssl.keystore.location=both.pem\n"
    )
    assert found == {
        "url": URL,
        "basic.auth.user.info": f"me:{SECRET}",
        "ssl.ca.location": str(tmp_path / "ca.pem"),
        "ssl.certificate.location": str(tmp_path / "both.pem"),
        "ssl.key.location": str(tmp_path / "both.pem"),
    }
    assert load(f"url={URL}\nbearer.auth.token={SECRET}\n")["bearer.auth.token"] == SECRET


def test_secrets_from_files_and_the_address_from_the_variable(load: Load, tmp_path: Path) -> None:
    env = {"INSPECTION_SCHEMA_REGISTRY_TOKEN_FILE": secret_file(tmp_path, SECRET + "\n")}
    address = {"INSPECTION_SCHEMA_REGISTRY_URL": URL}
    assert load_registry_client({**env, **address}) == {"url": URL, "bearer.auth.token": SECRET}
    assert load("url=https://other.plant", **address)["url"] == URL


def test_settings_carry_the_login_and_do_not_show_it(load: Load, tmp_path: Path) -> None:
    path = secret_file(tmp_path, f"me:{SECRET}")
    found = KafkaSettings.from_env(
        {"INSPECTION_SCHEMA_REGISTRY_URL": URL, "INSPECTION_SCHEMA_REGISTRY_USER_FILE": path}, "k:9092"
    )
    assert found.schema_registry_url == URL
    assert dict(found.registry_client) == {"basic.auth.user.info": f"me:{SECRET}"}
    assert SECRET not in repr(found)


def test_one_file_for_kafka_and_its_registry(tmp_path: Path) -> None:
    """As Confluent Cloud hands it out for Java's clients, word for word but for the names."""
    path = tmp_path / "java.config"
    path.touch(0o600)
    path.write_text(
        "# Required connection configs for Kafka producer, consumer, and admin\n"
        "bootstrap.servers=pkc-1.eu-central-1.aws.confluent.cloud:9092\nsecurity.protocol=SASL_SSL\n"
        "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule   required username='KEY'   "
        f"password='{SECRET}';\nsasl.mechanism=PLAIN\n"
        "# Required for correctness in Apache Kafka clients prior to 2.6\nclient.dns.lookup=use_all_dns_ips\n"
        "# Best practice for higher availability in Apache Kafka clients prior to 3.0\nsession.timeout.ms=45000\n"
        "# Best practice for Kafka producer to prevent data loss\nacks=all\n"
        "# Required connection configs for Confluent Cloud Schema Registry\n"
        "schema.registry.url=https://psrc-1.eu-central-1.aws.confluent.cloud\n"
        f"basic.auth.credentials.source=USER_INFO\nbasic.auth.user.info=SRKEY:{SECRET}\n"
    )
    found = KafkaSettings.from_env({"INSPECTION_KAFKA_CONFIG": str(path)})
    assert found.bootstrap_servers == "pkc-1.eu-central-1.aws.confluent.cloud:9092"
    assert found.client == (
        ("security.protocol", "SASL_SSL"), ("sasl.username", "KEY"), ("sasl.password", SECRET),
        ("sasl.mechanisms", "PLAIN"),
    )  # fmt: skip
    assert found.schema_registry_url == "https://psrc-1.eu-central-1.aws.confluent.cloud"
    assert found.registry_client == (("basic.auth.user.info", f"SRKEY:{SECRET}"),)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="others can read it"):
        KafkaSettings.from_env({"INSPECTION_KAFKA_CONFIG": str(path)})


REFUSED = {
    "unknown": (f"url={URL}\nssl.engine=x", "line 2 (ssl.engine): not a setting of the registry"),
    "no TLS": (f"url=http://registry.plant\nbasic.auth.user.info=me:{SECRET}", "would be shown to the network"),
    "second address": (f"url={URL},http://b.plant\nbearer.auth.token={SECRET}", "would be shown to the network"),
    "login in the address": (f"url=http://me:{SECRET}@registry.plant", "would be shown to the network"),
    "login in the second address": (f"url={URL},http://me:{SECRET}@b.plant", "would be shown to the network"),
    "user named as this machine": (
        f"url=http://localhost:1@b.plant\nbasic.auth.user.info=me:{SECRET}", "would be shown to the network",
    ),
    "host that begins as this machine": (
        f"url=http://localhost.plant\nbearer.auth.token={SECRET}", "would be shown to the network",
    ),
    "certificate without TLS": ("url=http://127.0.0.1:1\nssl.ca.location=ca.pem", "has to begin with https://"),
    "no address": (f"bearer.auth.token={SECRET}", "the address of the registry is missing"),
    "two logins": (f"url={URL}\nbearer.auth.token={SECRET}\nbasic.auth.user.info=a:b", "keep one of the two"),
    "no password": (f"url={URL}\nbasic.auth.user.info={SECRET}", "user:password"),
    "verification": (f"url={URL}\nssl.endpoint.identification.algorithm=none", "only https"),
    "other source": (f"url={URL}\nbearer.auth.credentials.source=OAUTHBEARER", "only STATIC_TOKEN"),
    "token missing": (f"url={URL}\nbearer.auth.logical.cluster=lsrc-1", "bearer.auth.token is missing"),
    "twice": (f"url={URL}\nschema.registry.url={URL}", "in line 1 already"),
    "empty": ("url=", "no value"),
    "garbage": (f"\x00{SECRET}", "not key=value"),
    "no file": (f"url={URL}\nssl.ca.location=none.pem", "No such file"),
    "key alone": (f"url={URL}\nssl.key.location=k", "ssl.certificate.location is missing"),
    "JKS": (f"url={URL}\nssl.truststore.type=JKS\nssl.truststore.location=t.jks", "keytool"),
    "backslash": (f"url={URL}\nbearer.auth.token=a\\b{SECRET}", "backslash"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_one_line_without_secrets(load: Load, name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(SettingsError) as caught:
        load(text)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_registry_of_this_machine_gets_logins_in_the_clear(load: Load) -> None:
    for url in ("http://127.0.0.1:8081", "http://localhost", "HTTP://[::1]:8081/", f"http://me:{SECRET}@127.0.0.1:1"):
        assert load(f"url={url}\nbasic.auth.user.info=me:{SECRET}")["url"] == url


@pytest.mark.parametrize("key", ["ssl.key.location", "ssl.certificate.location"])
def test_a_key_with_a_pass_phrase_needs_it(load: Load, tmp_path: Path, key: str) -> None:
    """The client of the registry would ask the terminal, and wait for ever."""
    for name in ("c.pem", "both.pem"):
        (tmp_path / name).touch(0o600)
    (tmp_path / "both.pem").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    certificate = "c.pem" if key == "ssl.key.location" else "both.pem"
    text = f"url={URL}\nssl.certificate.location={certificate}\n"
    text += "ssl.key.location=both.pem\n" if key == "ssl.key.location" else ""
    with pytest.raises(
        SettingsError, match=r"pass phrase; INSPECTION_SCHEMA_REGISTRY_KEY_PASSWORD_FILE may name a file"
    ):
        load(text)


def test_files_that_others_can_read_are_refused(load: Load, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="others can read it"):
        load(f"url={URL}\nbearer.auth.token={SECRET}\n", 0o644)
    assert load(f"url={URL}\n", 0o644) == {"url": URL}
    path = secret_file(tmp_path, SECRET)
    Path(path).chmod(0o644)
    with pytest.raises(SettingsError, match="others can read it"):
        load(f"url={URL}\n", INSPECTION_SCHEMA_REGISTRY_TOKEN_FILE=path)


def test_a_secret_in_two_places_is_refused(load: Load, tmp_path: Path) -> None:
    path = secret_file(tmp_path, SECRET)
    with pytest.raises(SettingsError, match="keep one of the two"):
        load(f"url={URL}\nbearer.auth.token=t\n", INSPECTION_SCHEMA_REGISTRY_TOKEN_FILE=path)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Folder with the certificates of a registry and its clients, and the server's context, which asks for them."""
    folder = tmp_path_factory.mktemp("registry")
    authority, stranger = CertificateAuthority("plant-ca"), CertificateAuthority("plant-ca")
    server, client = authority.issue("registry", ["localhost"]), authority.issue("press-1", [])
    for name, content in (
        ("ca.pem", authority.certificate), ("other-ca.pem", stranger.certificate),
        ("server.pem", server.key + server.certificate), ("client.pem", client.certificate), ("client.key", client.key),
    ):  # fmt: skip
        (folder / name).touch(0o600)
        (folder / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return folder, context


@pytest.mark.parametrize(
    ("lines", "login", "kind", "reason"),
    [
        # A guard with nothing behind it answers 503 to those whom it knows.
        ("ssl.ca.location=ca.pem\nssl.certificate.location=client.pem\nssl.key.location=client.key\n"
         f"basic.auth.user.info=me:{SECRET}", basic("me", SECRET), RegistrySilent, "503"),
        ("ssl.ca.location=ca.pem\nssl.certificate.location=client.pem\nssl.key.location=client.key\n"
         f"bearer.auth.token={SECRET}", f"Bearer {SECRET}", RegistrySilent, "503"),
        ("ssl.ca.location=ca.pem\nssl.certificate.location=client.pem\nssl.key.location=client.key\n"
         f"basic.auth.user.info=me:{SECRET}x", basic("me", SECRET), RegistryError, "refuses the login (HTTP 401)"),
        ("ssl.ca.location=other-ca.pem\nssl.certificate.location=client.pem\nssl.key.location=client.key",
         "", RegistrySilent, "CERTIFICATE_VERIFY_FAILED"),
        ("ssl.ca.location=ca.pem", "", RegistrySilent, ""),
        ("ssl.ca.location=ca.pem\nssl.certificate.location=client.pem\nssl.key.location=other-ca.pem",
         "", RegistryError, ""),
    ],
    ids=["password", "token", "wrong password", "unknown authority", "no certificate", "no key in the file"],
)  # fmt: skip
def test_a_registry_that_asks_for_a_login(
    tls: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    lines: str,
    login: str,
    kind: type[RegistryError],
    reason: str,
) -> None:
    folder, context = tls
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with guard(None, login, context) as server:
        path = folder / "registry.properties"
        path.touch(0o600)
        path.write_text(f"url={server.url}\n{lines}\n")
        kafka = KafkaSettings.from_env({"INSPECTION_SCHEMA_REGISTRY_CONFIG": str(path)}, "k:9092")
        with pytest.raises(RegistryError) as caught:
            Codec.from_settings(kafka)
    assert type(caught.value) is kind
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_ids_on_disk_stand_in_for_a_silent_registry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    topics = {Frame: ["p.frames"]}
    given = RegistryIds("mock://kept", topics)
    url = "http://127.0.0.1:9"
    with pytest.raises(RegistrySilent):
        RegistryIds(url, topics)
    write_ids(url, topics, RegistryIdMap(given.schema_ids, {(Frame, "p.frames"): given.id_for(Frame, "p.frames")}))
    found = RegistryIds(url, topics)
    assert found.schema_ids == given.schema_ids
    assert found.id_for(Frame, "p.frames") == given.id_for(Frame, "p.frames")
    assert "the ids that it gave before are used" in caplog.text
    # Those of other topics, and those of another registry, are not.
    for other, names in ((url, {Frame: ["q.frames"]}), ("http://127.0.0.1:10", topics)):
        with pytest.raises(RegistrySilent):
            RegistryIds(other, names)


@pytest.mark.parametrize("garbage", ["", "[]", "{}", "[" * 100_000, "\x00",
                                     '{"schema_ids": {"1": "zz"}, "own": {}}', '{"schema_ids": '
                                     '{"1": "00"}, "own": {"p.frames": 1}}'])  # fmt: skip
def test_ids_that_cannot_be_read_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, garbage: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    topics = {Frame: ["p.frames"]}
    write_ids("http://a", topics, RegistryIdMap({}, {}))
    [path] = tmp_path.rglob("*.json")
    assert path.stat().st_mode & 0o077 == 0
    path.write_text(garbage)
    assert read_ids("http://a", topics) is None

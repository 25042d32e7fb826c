"""Errors of a secured broker are told apart, soon, and each command ends with its own status and one line."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AclOperation, ResourceType

from infra.broker import LocalBroker
from infra.broker.ports import free_port
from infra.broker.security import Tunnel
from infra.demo.processes import inspection_command
from infra.doctor import examine
from schemas import KafkaSettings
from schemas.errors import (
    BrokerRefused,
    BrokerUnavailable,
    BrokerUntrusted,
    NotAuthorised,
    SettingsError,
    TopicMissing,
)
from tests.support.secured import PASSWORDS, STRANGER, SecuredBroker
from transport.admin import list_topics, require_topics
from transport.broker_cause import FirstError, broker_error
from transport.producer import make_producer
from transport.topic_ranges import watermarks
from transport.topic_setup import apply

pytestmark = pytest.mark.broker

#: Longest time, in seconds, until a command has said what is wrong.
PATIENCE_S = 10.0


def without_certificate(secured: SecuredBroker) -> dict[str, str]:
    return {key: value for key, value in secured.mutual().items() if key.split(".")[1] not in ("certificate", "key")}


def strange(secured: SecuredBroker) -> dict[str, str]:
    files = {f"ssl_{name}_location": str(secured.folder / f"other-ca.{end}") for name, end in PAIR}
    return secured.mutual(**files)


PAIR = (("certificate", "pem"), ("key", "key"))
CASES: dict[str, tuple[Callable[[SecuredBroker], dict[str, str]], type[Exception], str]] = {
    "wrong password": (lambda s: s.properties(sasl_password="wr0ng-pass"), BrokerRefused, "invalid credentials"),
    "unknown user": (lambda s: s.properties(sasl_username="nobody"), BrokerRefused, "invalid credentials"),
    "mechanism off": (lambda s: s.properties(sasl_mechanisms="SCRAM-SHA-256"), BrokerRefused, "supported mechanisms"),
    "wrong client secret": (
        lambda s: s.with_tokens(sasl_oauthbearer_client_secret="wr0ng-pass"), BrokerRefused, "invalid_client",
    ),
    "token server away": (
        lambda s: s.with_tokens(sasl_oauthbearer_token_endpoint_url="http://127.0.0.1:9/token"),
        BrokerRefused,
        "acquire SASL OAUTHBEARER token",
    ),
    "no client certificate": (without_certificate, BrokerRefused, "certificate"),
    "client certificate of another authority": (strange, BrokerRefused, "certificate"),
    "unknown authority": (
        lambda s: s.properties(ssl_ca_location=str(s.folder / "strange-ca.pem")),
        BrokerUntrusted,
        "its authority is unknown",
    ),
    "other host name": (
        lambda s: s.mutual(bootstrap_servers=s.listener("OTHER")),
        BrokerUntrusted,
        "another host name",
    ),
    "client without TLS": (
        lambda s: {"bootstrap.servers": s.broker.bootstrap_servers},
        BrokerUnavailable,
        "the port speaks TLS, and the client does not: set INSPECTION_KAFKA_CONFIG",
    ),
    "client without login": (
        lambda s: s.mutual(bootstrap_servers=s.broker.bootstrap_servers),
        BrokerUnavailable,
        "security.protocol may be another one",
    ),
    "nothing listens": (
        lambda s: s.properties(bootstrap_servers="localhost:9"), BrokerUnavailable, "Connection refused",
    ),
    "unknown host": (
        lambda s: s.properties(bootstrap_servers="kafka.invalid:9"), BrokerUnavailable, "Failed to resolve",
    ),
    "key of another certificate": (
        lambda s: s.mutual(ssl_key_location=str(s.folder / "other-ca.key")), SettingsError, "key values mismatch",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_cause_is_told(secured: SecuredBroker, name: str) -> None:
    lines, kind, text = CASES[name]
    kafka = secured.settings("inspection", lines(secured))
    with pytest.raises(kind, match=text) as caught:
        list_topics(kafka)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    assert not [password for password in (*PASSWORDS.values(), "wr0ng-pass") if password in message]


@pytest.mark.long
@pytest.mark.alone
def test_each_cause_is_told_soon(secured: SecuredBroker) -> None:
    for name, (lines, kind, _) in CASES.items():
        begin_s = time.monotonic()
        with pytest.raises(kind):
            list_topics(secured.settings("inspection", lines(secured)))
        assert time.monotonic() - begin_s < PATIENCE_S, name


def test_tls_on_a_port_without_it(broker: LocalBroker, secured: SecuredBroker) -> None:
    kafka = secured.settings("inspection", secured.properties(bootstrap_servers=broker.bootstrap_servers))
    with pytest.raises(BrokerUnavailable, match="the port speaks no TLS") as caught:
        list_topics(kafka)
    assert type(caught.value) is BrokerUnavailable


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_a_broker_that_is_silent(secured: SecuredBroker, protocol: str) -> None:
    """Its kernel takes connections for it, as for a process that was stopped; nobody ends them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        lines = secured.properties(bootstrap_servers=f"127.0.0.1:{server.getsockname()[1]}", security_protocol=protocol)
        lines = lines if protocol == "SASL_SSL" else {key: value for key, value in lines.items() if key[:4] != "ssl."}
        with pytest.raises(BrokerUnavailable, match="the broker is silent: it may stand still") as caught:
            list_topics(secured.settings("inspection", lines), 2.0)
    assert "security.protocol" not in str(caught.value)


@pytest.mark.long
def test_a_broker_that_announces_an_address_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.topic_ranges._TIMEOUT_S", 2.0)
    listen_port = free_port()
    with LocalBroker(tmp_path, port=0, tunnel=Tunnel(listen_port, 9)) as broker:
        apply(KafkaSettings(broker.bootstrap_servers))
        kafka = KafkaSettings(f"127.0.0.1:{listen_port}", client=(("client.id", "press-1"),))
        with pytest.raises(BrokerUnavailable, match="a broker may announce an address that cannot be reached"):
            watermarks(kafka, kafka.frames)


@pytest.mark.parametrize(
    ("broker", "announced"),
    [
        ("127.0.0.1:9/1", True),
        ("sasl_ssl://press.example:9094/12", True),
        ("kafka-1:9092/1", False),
        ("kafka-2:9092/bootstrap", False),
        ("", False),
    ],
)
def test_an_address_that_only_the_cluster_has_named(broker: str, announced: bool) -> None:
    kafka = KafkaSettings("kafka-1:9092, kafka-2:9092")
    first = FirstError()
    first(KafkaError(KafkaError._TRANSPORT, f"{broker}: Connect to ipv4#10.0.0.1 failed: Connection refused"))
    text = str(broker_error(kafka, "no answer", first))
    assert ("a broker may announce an address that cannot be reached" in text) is announced


@pytest.mark.long  # it waits for the end of the certificate
def test_an_expired_certificate_of_the_broker(secured: SecuredBroker) -> None:
    time.sleep(max(0.0, secured.expires_at_s + 1 - time.time()))
    with pytest.raises(BrokerUntrusted, match="it has expired"):
        list_topics(secured.settings("inspection", secured.mutual(bootstrap_servers=secured.listener("EXPIRED"))))


def test_a_topic_without_a_right_is_not_a_missing_one(secured: SecuredBroker, unique: str) -> None:
    secured.create_topics(unique)
    stranger = secured.settings(unique, secured.properties(STRANGER))
    for name in (stranger.frames, "no-such-topic"):  # Kafka does not say which of them exists
        with pytest.raises(NotAuthorised, match=f"may not DESCRIBE the topic {name}"):
            require_topics(stranger, [name])
    with pytest.raises(TopicMissing):
        require_topics(secured.settings(unique), ["no-such-topic"])


#: Commands that need Kafka. Those that run until a signal end too: nobody corrects a password meanwhile.
COMMANDS = (
    "topics show", "topics apply", "worker", "watch", "actuate", "archive --to FOLDER", "audit", "quality", "review",
    "drift list", "dead-letters list", "replay --last 5", "label press.top.60a24181e4000.00000012 --truth good",
)  # fmt: skip


def run(command: str, env: dict[str, str], prefix: str, folder: Path) -> tuple[int, str, float]:
    """Run a command; return its status, its one line with an error, and its time in seconds."""
    arguments = command.replace("FOLDER", str(folder / "a")).split()
    begin_s = time.monotonic()
    done = subprocess.run(
        inspection_command(*arguments), capture_output=True, text=True, timeout=60, check=False,
        env={**env, "INSPECTION_PREFIX": prefix, "INSPECTION_STATE_DIR": str(folder)},
    )  # fmt: skip
    took_s = time.monotonic() - begin_s
    assert "Traceback" not in done.stderr
    assert not [password for password in (*PASSWORDS.values(), "wr0ng-pass") if password in done.stderr + done.stdout]
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return done.returncode, line, took_s


def refused_login(command: str, secured: SecuredBroker, folder: Path, prefix: str) -> float:
    """Run a command with a wrong password; return its time in seconds."""
    env = secured.environment(folder / "c.properties", secured.properties(sasl_password="wr0ng-pass"))
    status, line, took_s = run(command, env, prefix, folder)
    assert status == 77
    assert "refuses the login (SASL authentication error" in line
    return took_s


@pytest.mark.parametrize("command", ["worker", "audit"])
def test_a_command_ends_with_one_line_and_a_status(
    secured: SecuredBroker, tmp_path: Path, unique: str, command: str
) -> None:
    refused_login(command, secured, tmp_path, unique)


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_ends_soon(secured: SecuredBroker, tmp_path: Path, unique: str, command: str) -> None:
    assert refused_login(command, secured, tmp_path, unique) < PATIENCE_S


DESCRIBE, READ, WRITE = AclOperation.DESCRIBE, AclOperation.READ, AclOperation.WRITE
LABEL = "label press.top.60a24181e4000.00000012 --truth good --by me"
#: Rights on topics -> command and missing right.
RIGHTS: dict[str, tuple[tuple[AclOperation, ...], str, str]] = {
    "a gate that may not read": ((DESCRIBE,), "actuate", "READ the topic PREFIX.decisions"),
    "a worker that may not read": ((DESCRIBE,), "worker", "READ the topic PREFIX.frames"),
    "a worker that may not write": ((READ,), "worker", "WRITE the topic PREFIX.decisions"),
    "a worker without its group": ((READ, WRITE), "worker --processes 2", "READ the group inspection-workers"),
    "a watch that may not write": ((READ,), "watch", "WRITE the topic PREFIX.drift"),
    "a camera that may not write": ((READ,), "produce --camera synthetic", "WRITE the topic PREFIX.frames"),
    "a person who may not label": ((READ,), LABEL, "WRITE the topic PREFIX.labels"),
    "an audit that may not read": ((DESCRIBE,), "audit", "READ the topic PREFIX.frames"),
}


#: The other cases are long tests.
QUICK = ("a worker that may not write", "a person who may not label")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.long) for name in RIGHTS]
)
def test_a_missing_right_is_named(secured: SecuredBroker, tmp_path: Path, unique: str, name: str) -> None:
    operations, command, missing = RIGHTS[name]
    secured.create_topics(unique)
    produce_one(secured.settings(unique))
    secured.allow(*((ResourceType.TOPIC, unique, operation) for operation in operations))
    env = secured.environment(tmp_path / "c.properties", secured.properties(STRANGER))
    status, line, _ = run(command, env, unique, tmp_path)
    assert status == 78
    assert f"the user may not {missing.replace('PREFIX', unique)}; allow" in line


def produce_one(kafka: KafkaSettings) -> None:
    producer = make_producer(kafka, {})
    producer.produce(kafka.frames, b"x")
    assert producer.flush(10) == 0


@pytest.mark.parametrize(
    ("lines", "check", "text"),
    [
        (lambda s: s.properties(bootstrap_servers="localhost:9"), "broker", "network: no Kafka broker answers"),
        (lambda s: s.properties(ssl_ca_location=str(s.folder / "strange-ca.pem")), "broker", "TLS: the certificate"),
        (lambda s: s.properties(sasl_password="wr0ng-pass"), "broker", "login: Kafka at"),
        (lambda s: s.properties(STRANGER), "topics", "rights: the user may not DESCRIBE the topic"),
        (lambda s: s.properties(), "topics", "missing: "),
    ],
)
def test_the_doctor_says_which_part_is_wrong(
    secured: SecuredBroker, unique: str, lines: Callable[[SecuredBroker], dict[str, str]], check: str, text: str
) -> None:
    secured.allow()
    checks = {each.name: each for each in examine(secured.settings(unique, lines(secured)))}
    assert checks[check].status == "fail"
    assert checks[check].detail.startswith(text)
    assert checks[check].remedy

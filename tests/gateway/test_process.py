"""`inspection gateway` as a process: its end, TLS, and a Kafka with rights."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from infra.broker.certificates import CertificateAuthority
from schemas import KafkaSettings
from schemas.errors import NotAuthorised
from tests.support.answering import answering_worker
from tests.support.gateways import GatewayProcess, make_image, running_gateway
from tests.support.secured import STRANGER, SecuredBroker

pytestmark = pytest.mark.broker


def test_sigterm_ends_a_gateway_that_prints_its_counts(line: KafkaSettings, tmp_path: Path, image: bytes) -> None:
    with answering_worker(line), GatewayProcess(line, tmp_path / "log", "--instance", "one", "--json") as process:
        process.await_ready()
        assert process.inspect(image).status == 200
        (row,) = json.loads(process.stop())["cameras"]
        assert process.process.returncode == 0
    assert (row["name"], row["captured"], row["published"]) == ("http/local--one--0", 1, 1)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_gateway_over_tls(line: KafkaSettings, tmp_path: Path, image: bytes) -> None:
    authority = CertificateAuthority("plant-ca")
    issued = authority.issue("gateway", ["127.0.0.1"])
    files = {name: tmp_path / f"{name}.pem" for name in ("tls_certificate", "tls_key")}
    files["tls_certificate"].write_bytes(issued.certificate)
    files["tls_key"].touch(0o600)
    files["tls_key"].write_bytes(issued.key)
    trusting = ssl.create_default_context(cadata=authority.certificate.decode())
    with answering_worker(line), running_gateway(line, context=trusting, **files) as gateway:
        address = urlsplit(gateway.url)
        assert address.scheme == "https"
        connection = http.client.HTTPSConnection(address.netloc, timeout=60, context=trusting)
        connection.request("POST", "/v1/inspections", image, {"Content-Type": "image/png", "Prefer": "wait=60"})
        assert json.loads(connection.getresponse().read())["action"] == "ACCEPT"
        connection.close()
        with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"200" not in plain.recv(1024)


def test_a_gateway_has_a_principal_of_its_own(
    secured: SecuredBroker, unique: str, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """WRITE on frames and READ on decisions are enough; a missing right is named at the start.

    Without the rights on the topic of keys, a key holds in this gateway.
    """
    secured.create_topics(unique)
    kafka = secured.settings(unique, secured.properties(STRANGER))
    rights = [
        (ResourceType.TOPIC, kafka.frames, AclOperation.WRITE),
        (ResourceType.GROUP, "unused-", AclOperation.DESCRIBE),
        (ResourceType.GROUP, "inspection-reader", AclOperation.DESCRIBE),
    ]
    secured.allow(*rights)
    with pytest.raises(NotAuthorised, match=r"decisions; allow \w+ on it"), running_gateway(kafka):
        pass
    secured.allow(*rights, (ResourceType.TOPIC, kafka.decisions, AclOperation.READ))
    with answering_worker(secured.settings(unique)), running_gateway(kafka) as gateway:
        assert gateway.inspect(image).status == 200
        first, again = (gateway.inspect(image, Idempotency_Key="k") for _ in range(2))
        assert (first.status, again.status, first.json) == (200, 200, again.json)
        other = gateway.inspect(make_image(7), Idempotency_Key="k")
        assert (other.status, other.json["type"].rpartition(":")[2]) == (422, "key-reused")
    assert "idempotency keys hold in this gateway only, other gateways do not know them: the user may" in caplog.text


def test_a_right_that_is_withdrawn_is_named(secured: SecuredBroker, unique: str, image: bytes) -> None:
    secured.create_topics(unique)
    kafka = secured.settings(unique, secured.properties(STRANGER))
    read = [
        *((ResourceType.TOPIC, name, AclOperation.READ) for name in (kafka.decisions, kafka.http_keys)),
        *((ResourceType.GROUP, name, AclOperation.DESCRIBE) for name in ("unused-", "inspection-reader")),
    ]
    write = [(ResourceType.TOPIC, name, AclOperation.WRITE) for name in (kafka.frames, kafka.http_keys)]
    secured.allow(*read, *write)
    with running_gateway(kafka) as gateway:
        secured.allow(*read)
        for headers, what in (({}, "accept the frame"), ({"Idempotency_Key": "k"}, "take the key")):
            answer = gateway.inspect(image, **headers)
            assert (answer.status, answer.json["title"]) == (503, "Kafka is unreachable, or refuses the request")
            assert what in answer.json["detail"]
            assert answer.json["detail"].endswith(": Broker: Topic authorization failed")


def test_without_its_packages_the_command_names_the_extra() -> None:
    code = "import sys; sys.modules['starlette'] = None; from infra.cli.root import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "gateway"], env={**os.environ}, capture_output=True, text=True, check=False,
        timeout=120, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.returncode, "streaming-inspection[gateway]" in done.stderr) == (1, True)

"""A whole line with a real schema registry, Apicurio, behind a login and TLS; and without it once the ids are known."""

from __future__ import annotations

import io
import json
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import fastavro
import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from infra.broker.certificates import CertificateAuthority
from schemas import KafkaSettings
from tests.support.programs import PATIENCE_S, Programs
from tests.support.schema_registry import Apicurio, basic, guard

pytestmark = [pytest.mark.broker, pytest.mark.long]

PASSWORD = "r3gistry-pass-of-the-suite"
FRAMES = 30


@pytest.fixture
def apicurio(tmp_path: Path, repository: Path) -> Iterator[Apicurio]:
    """A registry that runs."""
    found = Apicurio(tmp_path, repository / "infra/locks/apicurio.lock")
    found.start()
    yield found
    found.kill()


def server_context(folder: Path) -> ssl.SSLContext:
    """Return the TLS of a registry, whose authority is in ``ca.pem``."""
    authority = CertificateAuthority("plant-ca")
    issued = authority.issue("registry", ["localhost"])
    (folder / "ca.pem").write_bytes(authority.certificate)
    (folder / "server.pem").touch(0o600)
    (folder / "server.pem").write_bytes(issued.key + issued.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def await_decided(programs: Programs, count: int) -> None:
    """Wait until so many frames have been published and decided."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        total = json.loads(programs.run("audit", "--json"))["total"]
        if (total["frames"], total["decided"]) == (count, count):
            return
        assert time.monotonic() < until_s, (total, programs.log("worker"))
        time.sleep(0.2)


def values(kafka: KafkaSettings, topic: str) -> list[bytes]:
    """Return the values of all messages in a topic."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": f"{topic}-test"})
    found: list[bytes] = []
    for number in consumer.list_topics(topic, timeout=20).topics[topic].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
        consumer.assign([TopicPartition(topic, number, low)])
        while len(found) < high - low:
            message = consumer.poll(PATIENCE_S)
            assert message is not None
            found.append(message.value())
        if found:
            break
    consumer.close()
    return found


def test_a_line_with_a_registry_and_then_without_it(
    apicurio: Apicurio, programs: Programs, line: KafkaSettings, tmp_path: Path
) -> None:
    archive, properties = tmp_path / "archive", tmp_path / "registry.properties"
    programs.connect("", {"bootstrap.servers": line.bootstrap_servers})
    programs.variables[""] |= {
        "INSPECTION_SCHEMA_REGISTRY_CONFIG": str(properties), "XDG_STATE_HOME": str(tmp_path / "user-state"),
    }  # fmt: skip
    with guard(apicurio.port, basic("press", PASSWORD), server_context(tmp_path)) as server:
        properties.touch(0o600)
        properties.write_text(
            f"schema.registry.url={server.url}\nssl.ca.location=ca.pem\nbasic.auth.user.info=press:{PASSWORD}\n"
        )
        programs.worker(processes=2)
        programs.serve("watch")
        programs.gate("--json", belt_ms=5_000)
        programs.start("archive", "--to", str(archive))
        programs.publish(FRAMES)
        await_decided(programs, FRAMES)
        # Any reader finds the schema of a message by its id.
        for topic in (line.frames, line.decisions):
            value = values(line, topic)[0]
            assert value[0] == 0
            number = int.from_bytes(value[1:5], "big")
            with urllib.request.urlopen(f"{apicurio.url}/schemas/ids/{number}", timeout=20) as answer:
                schema = json.loads(json.load(answer)["schema"])
            record = fastavro.schemaless_reader(io.BytesIO(value[5:]), fastavro.parse_schema(schema), None)
            assert record["frame_id"]
        assert server.passed > 0
        # The registry goes away in mid-flow, for programs that run, and for those that start.
        apicurio.kill()
        programs.publish(FRAMES)
        await_decided(programs, 2 * FRAMES)
        programs.stop("worker")
        programs.worker()
        assert "the ids that it gave before are used" in programs.log("worker")
        programs.publish(FRAMES)
        await_decided(programs, 3 * FRAMES)
        # A busy machine is too slow for some parts, and the gate then leaves them out: see its counts below.
        frame = programs.await_acts(1)[0]["part_key"]
        programs.run("label", frame, "--truth", "good", "--by", "ann")
        for command in (
            ("quality", "--json"),
            ("review", "--json"),
            ("drift", "list", "--json"),
            ("dead-letters", "list", "--json"),
            ("replay", "--last", "10", "--tolerate-differences", "--json"),
        ):
            programs.run(*command)
        # A machine that has never seen the registry says so.
        other = programs.call("audit", XDG_STATE_HOME=str(tmp_path / "new-machine"))
        assert (other.returncode, other.stderr.count("\n")) == (1, 1), other.stderr
        assert "it is not in order (HTTP 502)" in other.stderr
    # On a busy machine a gate stands still for a moment and is right to reject; so what it has read counts.
    programs.stop("actuate")
    read = programs.report("actuate")["consumer"]
    assert read["undecodable"] == 0, read
    assert read["delivered"] + read["duplicates"] + read["skipped_old"] >= 3 * FRAMES, read
    for name in ("archive", "watch", "worker"):
        programs.stop(name)
    assert any(archive.rglob("*.avro"))
    shown = programs.logs()
    for process in psutil.process_iter():
        try:
            shown += " ".join(process.cmdline())
        except psutil.Error:
            continue
    assert PASSWORD not in shown + other.stderr


def test_the_registry_listens_on_loopback_only(apicurio: Apicurio) -> None:
    addresses = {each.laddr.ip for each in psutil.Process(apicurio.pid).net_connections() if each.status == "LISTEN"}
    assert addresses
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1"}

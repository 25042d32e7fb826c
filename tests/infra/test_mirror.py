"""The real MirrorMaker between a secured line and a centre: every answer arrives, and commands there read them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, ResourceType

from infra.broker import LocalBroker
from schemas import DeadLetter, KafkaSettings, Verdict
from schemas.codec import encode
from tests.support.mirror_maker import MirrorMaker
from tests.support.programs import Programs
from tests.support.quality_lines import EPOCH_US, decision
from tests.support.quality_records import make_label
from tests.support.secured import PASSWORDS, STRANGER, SecuredBroker
from transport.admin import list_topics
from transport.clients import client_config

pytestmark = [pytest.mark.broker, pytest.mark.long]

PATIENCE_S = 300.0
#: Beyond the default of a producer of Java, 1 MiB.
LARGE = 3 * 1024 * 1024


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[LocalBroker]:
    """A second Kafka, without topics."""
    with LocalBroker(tmp_path / "centre", port=0, heap_mib=256) as running:
        yield running


def publish(kafka: KafkaSettings, topic: str, values: list[bytes]) -> None:
    """Publish records as a user with all rights."""
    large = {"message.max.bytes": 2 * LARGE}
    producer = Producer({**client_config(kafka), "enable.idempotence": True, **large})
    for value in values:
        producer.produce(topic, value, b"s/c", timestamp=EPOCH_US // 1000)
    assert producer.flush(60) == 0


def await_audit(mirror: MirrorMaker, centre: Programs, frames: int) -> dict[str, int]:
    """Wait until the centre has a decision on so many frames, and return the total of its audit."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        mirror.check()
        done = centre.call("audit", "--without-frames", "--json")
        total: dict[str, int] = json.loads(done.stdout)["total"] if done.stdout else {}
        if total.get("frames") == frames:
            assert done.returncode == 0, done.stderr
            return total
        assert time.monotonic() < until_s, (total, done.stderr, mirror.log[-3000:])
        time.sleep(1)


def test_answers_go_to_the_centre_and_images_stay(
    secured: SecuredBroker, centre: LocalBroker, programs: Programs, tmp_path: Path, unique: str, repository: Path
) -> None:
    line = secured.settings(unique)
    secured.create_topics(unique)
    # The mirror's user may read at the line, and nothing else; not even the frames.
    names = [f"{unique}.{name}" for name in ("decisions", "labels", "drift", "dead-letters")]
    rights = (AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)
    secured.allow(*((ResourceType.TOPIC, name, right) for name in names for right in rights))
    secured.environment(tmp_path / "line.properties", secured.properties(STRANGER))
    (tmp_path / "centre.properties").write_text(f"bootstrap.servers={centre.bootstrap_servers}\n")
    files = [f"--{name}={tmp_path / name}.properties" for name in ("line", "centre")]
    options = ["--line-name", "hall1", "--copies", "1"]
    config = tmp_path / "mirror.properties"
    config.write_text(programs.run("topics", "mirror-config", *files, *options))
    mirror = MirrorMaker(tmp_path, repository / "infra/locks/mirror.lock", config)
    at_centre = Programs(tmp_path, f"hall1.{unique}")
    at_centre.connect("", {"bootstrap.servers": centre.bootstrap_servers})
    try:
        publish(line, line.decisions, [encode(decision(number)) for number in range(200)])
        publish(line, line.labels, [encode(make_label(number, Verdict.OK)) for number in range(40)])
        publish(line, line.frames, [b"images stay"])
        large = DeadLetter(
            source_topic=line.frames, source_partition=0, source_offset=0, kind="unreadable-image", reason="",
            failed_at_us=EPOCH_US, worker="w", value=b"x" * LARGE,
        )  # fmt: skip
        publish(line, line.dead_letters, [encode(large)])
        mirror.start()
        await_audit(mirror, at_centre, 200)
        # Killed in mid-flow: what came meanwhile arrives afterwards.
        publish(line, line.decisions, [encode(decision(number)) for number in range(200, 400)])
        mirror.kill()
        publish(line, line.decisions, [encode(decision(number)) for number in range(400, 500)])
        # It goes on with a certificate in place of the password: its key comes by reference too.
        secured.environment(tmp_path / "line.properties", secured.mutual())
        config.write_text(programs.run("topics", "mirror-config", *files, *options))
        assert "hall1.ssl.keystore.key = ${directory:" in config.read_text()
        mirror.start()
        total = await_audit(mirror, at_centre, 500)
        assert (total["decided"], total["gaps"], total["conflicts"], total["unaccounted"]) == (500, 0, 0, 0)
        [quality] = json.loads(at_centre.run("quality", "--json"))["figures"]
        assert (quality["camera"], quality["parts"], quality["labelled"]) == ("s/c", 500, 40), quality
        until_s = time.monotonic() + PATIENCE_S
        while len(letters := json.loads(at_centre.run("dead-letters", "list", "--json"))["dead_letters"]) < 1:
            mirror.check()
            assert time.monotonic() < until_s, mirror.log[-3000:]
        assert letters[0]["kind"] == "unreadable-image"
        topics = [name for name in list_topics(KafkaSettings(centre.bootstrap_servers)) if name.startswith("hall1.")]
        assert sorted(topics) == sorted(f"hall1.{name}" for name in names)
        assert [name for name in list_topics(line) if "hall1" in name or "mm2" in name] == []
        shown = config.read_text() + mirror.log
        for process in psutil.process_iter():
            try:
                shown += " ".join(process.cmdline())
            except psutil.Error:
                continue
        assert PASSWORDS[STRANGER] not in shown
        assert "PRIVATE KEY" not in shown
    finally:
        mirror.kill()

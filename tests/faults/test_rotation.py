"""Rotation of passwords and certificates while a line runs: no frame is lost, and the old ones are refused."""

from __future__ import annotations

import shutil
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from infra.broker.certificates import CertificateAuthority, IssuedKey
from operations.audit.counts import total
from operations.audit.topics import audit_topics
from operations.key_entries import entry_of, publish_entries, revocation_entry
from operations.signing_keys import make_key_files
from replay.past.source import Source
from schemas import Decision, KafkaSettings, ResultState
from schemas.codec import decode
from schemas.errors import BrokerRefused
from schemas.private_files import replace_private
from schemas.roles import Principals
from tests.support.faults import await_progress
from tests.support.programs import PATIENCE_S, Programs
from tests.support.secured import SecuredBroker, make_secured_broker
from transport.acl_setup import apply_acls
from transport.admin import list_topics
from transport.clients import make_admin, make_consumer
from transport.producer import make_producer
from transport.public_keys import SignerRole
from transport.range_reader import read_topic
from transport.signatures import SIGNATURE_HEADER, parse_signature
from transport.topic_ranges import watermarks

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.long]

#: The broker asks for the password of an open connection again after this time.
REAUTH_MS = 5_000
OLD, NEW = "o1d-pass-of-the-suite-", "n3w-pass-of-the-suite-"
ROLES = ("camera", "worker", "gate")
FPS, FRAMES = 10, 300


def check_accounts(kafka: KafkaSettings, programs: Programs, frames: int) -> None:
    """Nothing was lost: each frame has its decision, and the gate has followed each."""
    counts = total(audit_topics(Source(kafka)).cameras())
    assert (counts.frames, counts.decided, counts.unaccounted, counts.conflicts) == (frames, frames, 0, 0), counts
    acts = programs.acts()
    assert len(acts) == len({act["part_key"] for act in acts}) == frames
    assert {act["why"] for act in acts} == {"decided"}


def await_refusal(kafka: KafkaSettings) -> float:
    """Wait until a new client is refused; return the seconds."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < PATIENCE_S:
        try:
            list_topics(kafka)
        except BrokerRefused:
            return time.monotonic() - began_s
        time.sleep(0.1)
    raise AssertionError("it is still believed")


def test_a_new_password(
    programs: Programs, tmp_path_factory: pytest.TempPathFactory, unique: str, fault_row: Callable[..., None]
) -> None:
    listener = "listener.name.sasl_ssl.scram-sha-512"
    secured = make_secured_broker(
        tmp_path_factory.mktemp("secured"), f"{listener}.connections.max.reauth.ms={REAUTH_MS}"
    )
    with secured.broker:
        admin = secured.settings(unique)
        secured.create_topics(unique)
        users = {role: f"{unique}-{role}" for role in ROLES}
        for role, user in users.items():
            secured.add_user(user, OLD + role)
            programs.connect(role, secured.lines_of(user, OLD + role))
        apply_acls(admin, Principals({role: (user,) for role, user in users.items()}, {"worker": unique}))
        programs.worker()
        programs.gate()
        old = secured.settings(unique, secured.lines_of(users["gate"], OLD + "gate"))
        refused: list[KafkaError] = []
        stale = make_consumer(old, {"group.id": "unused-stale", "error_cb": refused.append})
        stale.list_topics(timeout=30)
        camera = programs.camera(FRAMES, FPS)
        await_progress(admin)
        for role, user in users.items():
            secured.add_user(user, NEW + role)
            programs.connect(role, secured.lines_of(user, NEW + role))
        began_s = time.monotonic()
        while not any(error.code() == KafkaError._AUTHENTICATION for error in refused):
            assert time.monotonic() - began_s < PATIENCE_S
            stale.poll(0.1)
        refused_s = time.monotonic() - began_s
        stale.close()
        with pytest.raises(BrokerRefused):
            list_topics(old)
        assert camera.wait(PATIENCE_S) == 0, programs.logs()[-4000:]
        programs.await_acts(FRAMES)
        programs.stop("actuate")
        check_accounts(admin, programs, FRAMES)
        assert programs.logs().count("a new password for") >= len(ROLES)
        for password in (OLD, NEW):
            assert password not in programs.logs()
        fault_row("rotation of passwords", frames=FRAMES, lost=0, open_connection_refused_s=refused_s)


def reload(secured: SecuredBroker, name: str, path: Path) -> None:
    """Have the listener SSL read a file again: a path that stays the same is enough."""
    setting = ConfigEntry(f"listener.name.ssl.{name}", str(path), incremental_operation=AlterConfigOpType.SET)
    admin = make_admin(secured.security.settings(secured.port), 20_000)
    node = next(iter(admin.list_topics(timeout=20).brokers))
    resource = ConfigResource(ConfigResource.Type.BROKER, str(node), incremental_configs=[setting])
    for changed in admin.incremental_alter_configs([resource]).values():
        changed.result(20)


def shown_certificate(secured: SecuredBroker) -> str:
    host, _, port = secured.listener("SSL").rpartition(":")
    return ssl.get_server_certificate((host, int(port)))


def test_new_certificates(
    programs: Programs, tmp_path_factory: pytest.TempPathFactory, unique: str, fault_row: Callable[..., None]
) -> None:
    """A new authority, a new certificate of the broker, and new ones of the programs, one after the other."""
    folder = tmp_path_factory.mktemp("secured")
    trust, keystore = folder / "trust.pem", folder / "listener.pem"
    listener = "listener.name.ssl.ssl"
    secured = make_secured_broker(
        folder, f"{listener}.truststore.type=PEM", f"{listener}.truststore.location={trust}",
        f"{listener}.keystore.location={keystore}",
    )  # fmt: skip
    replace_private(trust, (folder / "ca.pem").read_bytes())
    replace_private(keystore, (folder / "broker.pem").read_bytes())
    next_authority = CertificateAuthority("plant-ca-2")
    old_ca, both = (folder / "ca.pem").read_bytes(), folder / "both-ca.pem"
    both.write_bytes(old_ca + next_authority.certificate)

    def write(name: str, issued: IssuedKey) -> dict[str, str]:
        replace_private(folder / f"{name}.pem", issued.certificate)
        replace_private(folder / f"{name}.key", issued.key)
        return lines(name)

    def lines(name: str) -> dict[str, str]:
        files = {"ssl.certificate.location": folder / f"{name}.pem", "ssl.key.location": folder / f"{name}.key"}
        return {**secured.mutual(), "ssl.ca.location": str(both), **{key: str(path) for key, path in files.items()}}

    with secured.broker:
        admin = secured.settings(unique)
        secured.create_topics(unique)
        for role in ROLES:
            programs.connect(role, lines("client"))
        programs.worker()
        programs.gate()
        camera = programs.camera(FRAMES, FPS)
        await_progress(admin)
        # 1. The broker believes both authorities. 2. It shows a new certificate. 3. Each program starts with a new one.
        replace_private(trust, both.read_bytes())
        reload(secured, "ssl.truststore.location", trust)
        before = shown_certificate(secured)
        issued = next_authority.issue("broker", ["localhost", "127.0.0.1"])
        replace_private(keystore, issued.key + issued.certificate)
        reload(secured, "ssl.keystore.location", keystore)
        end_s = time.monotonic() + PATIENCE_S
        while shown_certificate(secured) == before:
            assert time.monotonic() < end_s
            time.sleep(0.1)
        fresh = write("fresh", next_authority.issue("press-1", []))
        for role in ROLES:
            programs.connect(role, fresh)
        programs.worker()
        programs.stop("worker")
        assert camera.wait(PATIENCE_S) == 0, programs.logs()[-4000:]
        programs.await_acts(FRAMES)
        programs.stop("actuate")
        programs.gate()
        camera = programs.camera(FRAMES, FPS)
        # 4. The old authority goes: its certificates are refused.
        replace_private(trust, next_authority.certificate)
        reload(secured, "ssl.truststore.location", trust)
        refused_s = await_refusal(secured.settings(unique, lines("client")))
        assert watermarks(secured.settings(unique, fresh), f"{unique}.frames")
        assert camera.wait(PATIENCE_S) == 0, programs.logs()[-4000:]
        programs.await_acts(2 * FRAMES)
        programs.stop("actuate")
        check_accounts(admin, programs, 2 * FRAMES)
        fault_row("rotation of certificates", frames=2 * FRAMES, lost=0, old_refused_s=refused_s)


def signed_by(kafka: KafkaSettings, topic: str) -> list[str]:
    """Return the ids of the keys that have signed the messages of a topic."""
    headers = [parse_signature(each.headers.get(SIGNATURE_HEADER, b"")) for each in read_topic(kafka, topic)]
    return ["" if found is None else found.key_id for found in headers]


def test_a_new_signing_key(
    programs: Programs, line: KafkaSettings, tmp_path: Path, fault_row: Callable[..., None]
) -> None:
    """The new public key goes to the readers, then the camera gets the new private one, then the old one is revoked."""
    trust = tmp_path / "trust"
    roles = {"old": SignerRole.CAMERA, "new": SignerRole.CAMERA, "worker": SignerRole.WORKER}
    made = {name: make_key_files(tmp_path / "made", name, role, ("*/*",)) for name, role in roles.items()}
    trust.mkdir()
    for name in ("old", "worker"):
        shutil.copy(made[name].public, trust)
    key = tmp_path / "camera.key"
    replace_private(key, made["old"].private.read_bytes())
    programs.variables = {
        "camera": {"INSPECTION_SIGNING_KEY": str(key)},
        "worker": {"INSPECTION_SIGNING_KEY": str(made["worker"].private), "INSPECTION_TRUST": str(trust)},
        "gate": {"INSPECTION_TRUST": str(trust)},
    }
    programs.connect("", {"bootstrap.servers": line.bootstrap_servers})
    programs.worker()
    programs.gate()
    camera = programs.camera(FRAMES, FPS)
    await_progress(line)
    shutil.copy(made["new"].public, trust)
    end_s = time.monotonic() + PATIENCE_S
    while f"{trust}: 3 keys" not in programs.logs():
        assert time.monotonic() < end_s, programs.logs()[-4000:]
        time.sleep(0.1)
    replace_private(key, made["new"].private.read_bytes())
    while made["new"].key_id not in signed_by(line, line.frames):
        assert time.monotonic() < end_s, programs.logs()[-4000:]
        time.sleep(0.5)
    assert camera.wait(PATIENCE_S) == 0, programs.logs()[-4000:]
    programs.await_acts(FRAMES)
    (trust / "revoked").mkdir()
    (trust / "old.yaml").rename(trust / "revoked" / "old.yaml")
    check_accounts(line, programs, FRAMES)
    assert set(signed_by(line, line.frames)) == {made["old"].key_id, made["new"].key_id}
    assert set(signed_by(line, line.decisions)) == {made["worker"].key_id}
    while "2 keys, 1 revoked" not in programs.logs():
        # The folder is looked at when a message comes.
        producer = make_producer(replace(line, signing_key=str(made["old"].private)), {})
        first = next(iter(read_topic(line, line.frames)))
        producer.produce(line.frames, first.value, first.key)
        assert producer.flush(30) == 0
        assert time.monotonic() < end_s, programs.logs()[-4000:]
        time.sleep(0.5)
    while not any(state is ResultState.FAILED for state in states(line)):
        producer.produce(line.frames, first.value, first.key)
        producer.flush(30)
        assert time.monotonic() < end_s + PATIENCE_S, programs.logs()[-4000:]
        time.sleep(0.5)
    programs.stop("actuate")
    fault_row("rotation of a signing key", frames=FRAMES, lost=0)


def test_keys_that_only_the_topic_has(
    programs: Programs, line: KafkaSettings, tmp_path: Path, fault_row: Callable[..., None]
) -> None:
    """The readers start with the key of the authority alone; those of camera and worker come by the topic."""
    trust = tmp_path / "trust"
    roles = {"site": SignerRole.AUTHORITY, "camera": SignerRole.CAMERA, "worker": SignerRole.WORKER}
    made = {name: make_key_files(tmp_path / "made", name, role, ("*/*",)) for name, role in roles.items()}
    trust.mkdir()
    shutil.copy(made["site"].public, trust)
    reader = {"INSPECTION_TRUST": str(trust), "INSPECTION_TRUST_TOPIC": "1"}
    programs.variables = {
        "camera": {"INSPECTION_SIGNING_KEY": str(made["camera"].private)},
        "worker": {"INSPECTION_SIGNING_KEY": str(made["worker"].private), **reader},
        "gate": reader,
    }
    programs.connect("", {"bootstrap.servers": line.bootstrap_servers})
    authority = replace(line, signing_key=str(made["site"].private))
    publish_entries(authority, [entry_of(made["camera"].public)])
    programs.worker()
    programs.gate()
    publish_entries(authority, [entry_of(made["worker"].public)])
    end_s = time.monotonic() + PATIENCE_S
    while programs.logs().count(f"{line.signing_keys}: 2 keys, 0 revoked") < 2:
        assert time.monotonic() < end_s, programs.logs()[-4000:]
        time.sleep(0.1)
    camera = programs.camera(FRAMES, FPS)
    assert camera.wait(PATIENCE_S) == 0, programs.logs()[-4000:]
    programs.await_acts(FRAMES)
    check_accounts(line, programs, FRAMES)
    assert set(signed_by(line, line.decisions)) == {made["worker"].key_id}
    publish_entries(authority, [revocation_entry(made["camera"].key_id)])
    first = next(iter(read_topic(line, line.frames)))
    producer = make_producer(replace(line, signing_key=str(made["camera"].private)), {})
    end_s = time.monotonic() + PATIENCE_S
    while not any(state is ResultState.FAILED for state in states(line)):
        producer.produce(line.frames, first.value, first.key)
        assert producer.flush(30) == 0
        assert time.monotonic() < end_s, programs.logs()[-4000:]
        time.sleep(0.5)
    assert "revoked-key" in programs.logs()
    programs.stop("actuate")
    fault_row("keys by the topic", frames=FRAMES, lost=0)


def states(kafka: KafkaSettings) -> list[ResultState]:
    return [decode(each.value, Decision).result_state for each in read_topic(kafka, kafka.decisions)]

"""Keys that a real topic spreads: believed within seconds if an authority has signed them, and revoked for good."""

from __future__ import annotations

import dataclasses
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from infra.broker import LocalBroker
from infra.cli.root import app
from operations import make_label, publish_labels
from operations.key_entries import entry_of
from schemas import KafkaSettings
from schemas.topics import SIGNING_KEYS
from tests.support.programs import Programs
from tests.support.trust_folders import Keys
from transport.belief import Belief, make_belief
from transport.key_follower import KeyFollower
from transport.producer import make_producer
from transport.public_keys import SignatureFault, SignerRole
from transport.signatures import SIGNATURE_HEADER, SigningKey, key_id_of
from transport.signing_key import read_signing_key
from transport.topic_setup import apply
from transport.trust import Trust

pytestmark = pytest.mark.broker

CAMERA, WORKER, OPERATOR, AUTHORITY = SignerRole
PATIENCE_S = 60.0
FRAME = ("press/top", "press.frames", b"press/top", b"a frame")


@dataclasses.dataclass(frozen=True)
class Signed:
    """Private key of a name, and its id."""

    keys: Keys
    name: str

    @property
    def key(self) -> SigningKey:
        return read_signing_key(self.keys.private(self.name))

    @property
    def key_id(self) -> str:
        return key_id_of(self.key.public)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Folder with an authority and a worker, and beside it the keys of a camera and of a stranger."""
    found = Keys(tmp_path)
    found.make("site", AUTHORITY)
    found.make("w", WORKER)
    found.make_apart("top", CAMERA, "press/top")
    found.make_apart("stranger", AUTHORITY)
    return found


@pytest.fixture
def believing(keys: Keys, line: KafkaSettings) -> Iterator[Callable[[], Belief]]:
    """Make readers of the folder and the topic."""
    made: list[Belief] = []

    def make() -> Belief:
        found = make_belief(keys.trust, None, line=line)
        assert found is not None
        found.open()
        made.append(found)
        return found

    yield make
    for each in made:
        each.close()


def refusal(belief: Belief, key: SigningKey) -> SignatureFault | None:
    """Return why a frame of a camera is not used."""
    return belief.refusal(CAMERA, *FRAME, {SIGNATURE_HEADER: key.sign(*FRAME[1:])})


def wait_for(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def send(line: KafkaSettings, signer: Path | None, *entries: tuple[bytes | None, bytes | None]) -> None:
    producer = make_producer(dataclasses.replace(line, signing_key=None if signer is None else str(signer)), {})
    for key, value in entries:
        producer.produce(line.signing_keys, value, key)
    assert producer.flush(PATIENCE_S) == 0


def test_a_camera_whose_key_came_by_the_topic(
    keys: Keys, line: KafkaSettings, believing: Callable[[], Belief], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    here = ("--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["keys", *arguments, *here])
        assert done.exit_code == 0, done.output + str(done.exception)
        return done.output

    top, registry = Signed(keys, "top"), CollectorRegistry()
    belief = believing()
    belief.add_metrics(registry)
    cameras = partial(registry.get_sample_value, "inspection_signing_keys", {"role": "camera"})
    refused = partial(registry.get_sample_value, "inspection_key_topic_refused_entries", {"why": "unsigned"})
    assert (cameras(), refused()) == (0, None)
    assert refusal(belief, top.key) is SignatureFault.UNKNOWN_KEY
    # Neither an entry without an authority of the folder, nor invented keys, change anything.
    entry = entry_of(keys.public("top"))
    send(line, keys.private("stranger"), (entry.key, entry.value))
    send(line, keys.private("top"), (entry.key, entry.value))
    send(line, None, *((b"%016x" % number, entry.value) for number in range(500)), (entry.key, None))
    late = believing()
    assert [refusal(each, top.key) for each in (belief, late)] == [SignatureFault.UNKNOWN_KEY] * 2

    monkeypatch.setenv("INSPECTION_SIGNING_KEY", str(keys.private("site")))
    assert top.key_id in run("publish", str(keys.public("top")), "--trust", str(keys.trust))
    wait_for(lambda: refusal(belief, top.key) is None)
    assert (cameras(), refused()) == (1, 500)
    wait_for(lambda: registry.get_sample_value("inspection_key_topic_connected") == 1)
    assert f"{top.key_id}  {top.key_id}: camera for press/top, by the topic\n" in run(
        "show", str(keys.trust), "--topic"
    )
    # What was believed is not taken back by what is not believed.
    send(line, keys.private("stranger"), (entry.key, b"garbage"), (b"revoked/" + entry.key, b"garbage"))
    send(line, None, (entry.key, None))

    assert top.key_id in run("revoke", top.key_id, "--trust", str(keys.trust))
    wait_for(lambda: refusal(belief, top.key) is SignatureFault.REVOKED_KEY)
    assert cameras() == 0
    run("publish", str(keys.public("top")))
    after = believing()
    assert [refusal(each, top.key) for each in (belief, after)] == [SignatureFault.REVOKED_KEY] * 2
    named = [record.message for record in caplog.records if "is not used: unsigned" in record.message]
    assert 1 <= len(named) <= 4  # each reader and command names it once


def test_a_topic_that_comes_later_and_an_authority_that_comes_later(
    keys: Keys, broker: LocalBroker, unique: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is believed meanwhile; the reader says so once, and tries again."""
    monkeypatch.setattr("transport.trust._INTERVAL_S", 0.1)
    line = KafkaSettings(broker.bootstrap_servers, unique)
    trust = Trust(keys.trust)
    follower = KeyFollower(line, trust, retry_s=0.1)
    own = set(trust.keys.by_id)
    top, side = Signed(keys, "top"), keys.make_apart("side", CAMERA, "press/side")
    try:
        follower.open()
        time.sleep(0.5)
        assert not follower.has_read
        assert set(trust.keys.by_id) == own
        assert sum("trying again for those of the topic" in record.message for record in caplog.records) == 1
        apply(line, [SIGNING_KEYS])
        entries = [entry_of(keys.public(name)) for name in ("top", "side")]
        send(line, keys.private("site"), (entries[0].key, entries[0].value))
        wait_for(lambda: top.key_id in trust.keys.by_id)
        send(line, keys.private("stranger"), (entries[1].key, entries[1].value))
        wait_for(lambda: follower.faults.get(SignatureFault.UNKNOWN_KEY, 0) > 0)
        assert set(trust.keys.by_id) == {*own, top.key_id}
        keys.public("stranger").rename(keys.trust / "stranger.yaml")
        wait_for(lambda: key_id_of(side.public) in trust.keys.by_id)
        keys.revoke("site")
        wait_for(lambda: top.key_id not in trust.keys.by_id)
        assert key_id_of(side.public) in trust.keys.by_id
    finally:
        follower.close()


def test_commands_that_cannot_work(keys: Keys, line: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    here = ("--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix)

    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["keys", *arguments, *here])
        assert done.exit_code == 1, done.output
        assert "\n" not in str(done.exception)
        return str(done.exception)

    top, trust = str(keys.public("top")), ("--trust", str(keys.trust))
    assert "INSPECTION_SIGNING_KEY names no file" in refused("publish", top)
    monkeypatch.setenv("INSPECTION_SIGNING_KEY", str(keys.private("stranger")))
    assert "is no authority there" in refused("publish", top, *trust)
    monkeypatch.setenv("INSPECTION_SIGNING_KEY", str(keys.private("site")))
    assert "believed in a trust folder only" in refused("publish", str(keys.public("stranger")))
    assert "No such file" in refused("publish", str(keys.folder / "none.yaml"))
    assert "public_key and role" in refused("publish", str(keys.private("top")))
    assert "16 hexadecimal digits" in refused("revoke", "top")
    assert "is an authority" in refused("revoke", Signed(keys, "site").key_id, *trust)
    here = ("--bootstrap-servers", line.bootstrap_servers, "--prefix", f"{line.prefix}.none")
    assert "inspection topics apply" in refused("publish", top, *trust)


@pytest.mark.long
def test_worker_gate_and_watch_serve_the_metrics(keys: Keys, line: KafkaSettings, programs: Programs) -> None:
    variables = {"INSPECTION_TRUST": str(keys.trust), "INSPECTION_TRUST_TOPIC": "1"}
    programs.variables = {"": variables}
    programs.connect("", {"bootstrap.servers": line.bootstrap_servers})
    entry = entry_of(keys.public("top"))
    send(line, keys.private("site"), (entry.key, entry.value))
    send(line, None, (entry.key, entry.value))
    worker = programs.worker()
    programs.gate("--http-port", "0")
    gate = re.findall(r"(http://\S+)/metrics", programs.log("actuate"))[0]
    watch = programs.serve("watch", "--group", f"{line.prefix}-watch")
    for address in (worker, gate, watch):
        wait_for(lambda address=address: sample(address, "inspection_key_topic_connected") == 1)
        assert sample(address, "inspection_signing_keys", role="camera") == 1
        assert sample(address, "inspection_key_topic_refused_entries", why="unsigned") == 1
    publish_labels(line, [make_label("bad", frame_id="press.top.1.00000001", labelled_by="x", labelled_at_us=1)])
    wait_for(lambda: sample(watch, "inspection_watch_signature_faults_total", why="unsigned") == 1)


def sample(address: str, name: str, **labels: str) -> float:
    """Return a metric of a program; a worker's have further labels."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [each for family in families for each in family.samples if each.name == name]
    found = [each.value for each in samples if labels.items() <= each.labels.items()]
    assert len(found) <= 1
    return found[0] if found else 0.0

"""A line whose Kafka others may write to: forged and repeated frames and decisions fail safe."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from operations.signing_keys import make_key_files
from schemas import Action, Codec, Decision, Frame, KafkaSettings, ResultState, Verdict
from schemas.codec import decode
from schemas.records import DeadLetter
from schemas.replay_headers import RETRY_HEADER
from tests.support.line_users import LineUsers
from tests.support.programs import PATIENCE_S, Programs
from tests.support.worker_frames import make_frame
from transport.producer import make_producer
from transport.public_keys import SignerRole
from transport.range_reader import read_topic
from transport.signatures import SIGNATURE_HEADER

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.long]

KEYS = {
    "cam1": (SignerRole.CAMERA, "demo/cam1"),
    "cam2": (SignerRole.CAMERA, "demo/cam2"),
    "late": (SignerRole.CAMERA, "demo/cam3"),
    "worker": (SignerRole.WORKER, "*/*"),
    "ann": (SignerRole.OPERATOR, "*/*"),
}


@dataclasses.dataclass(frozen=True)
class ForgedLine:
    """Line, its programs, and the private keys of those who hold one; "" holds none."""

    programs: Programs
    users: LineUsers
    keys: dict[str, str | None]
    trust: Path

    @property
    def kafka(self) -> KafkaSettings:
        """Settings of a reader."""
        return self.users.reviewer

    def writer(self, holder: str, topic: str) -> KafkaSettings:
        """Return the settings of somebody who may write to a topic, with the key of a holder."""
        user = self.users.worker if topic == self.users.worker.decisions else self.users.camera
        return dataclasses.replace(user, signing_key=self.keys[holder])

    def send(self, holder: str, record: Frame | Decision, **headers: bytes) -> None:
        """Publish a record as the holder of a key."""
        topic = self.kafka.frames if isinstance(record, Frame) else self.kafka.decisions
        self.send_bytes(holder, topic, record.key.encode(), Codec().encode(record), headers)

    def send_bytes(self, holder: str, topic: str, key: bytes, value: bytes, headers: dict[str, bytes]) -> None:
        producer = make_producer(self.writer(holder, topic), {})
        producer.produce(topic, value, key, headers=list(headers.items()))
        assert producer.flush(PATIENCE_S) == 0

    def decision(self, frame: Frame, count: int = 1) -> Decision:
        """Wait until a frame has so many decisions; return the newest."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            found = [decode(each.value, Decision) for each in read_topic(self.kafka, self.kafka.decisions)]
            found = [each for each in found if each.frame_id == frame.frame_id]
            if len(found) >= count:
                return found[-1]
            assert time.monotonic() < until_s, self.programs.logs()[-4000:]
            time.sleep(0.2)

    def act(self, frame: Frame) -> dict[str, object]:
        """Wait until the gate has acted on a part."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            found = [each for each in self.programs.acts() if each["part_key"] == frame.frame_id]
            if found:
                return found[0]
            assert time.monotonic() < until_s, self.programs.logs()[-4000:]
            time.sleep(0.2)

    def letters(self) -> dict[str, tuple[str, str]]:
        """Return id and kind of each dead letter, by frame."""
        return {
            letter.frame_id or "": (f"{each.partition}-{each.offset}", letter.kind)
            for each in read_topic(self.kafka, self.kafka.dead_letters)
            for letter in [decode(each.value, DeadLetter)]
        }


@pytest.fixture
def forged(programs: Programs, users: LineUsers, tmp_path: Path) -> ForgedLine:
    trust, keys = tmp_path / "trust", dict[str, str | None]({"": None})
    trust.mkdir()
    for name, (role, cameras) in KEYS.items():
        made = make_key_files(tmp_path / "keys", name, role, (cameras,))
        keys[name] = str(made.private)
        if name != "late":
            shutil.copy(made.public, trust)
    believes = {"INSPECTION_TRUST": str(trust)}
    programs.variables = {
        "worker": {"INSPECTION_SIGNING_KEY": str(keys["worker"]), **believes},
        "gate": believes,
        "operator": {"INSPECTION_SIGNING_KEY": str(keys["ann"])},
    }
    for role, kafka in (("worker", users.worker), ("gate", users.gate), ("operator", users.operator)):
        programs.connect(role, {"bootstrap.servers": kafka.bootstrap_servers, **dict(kafka.client)})
    return ForgedLine(programs, users, keys, trust)


def test_forged_and_repeated_records_fail_safe(forged: ForgedLine, fault_row: Callable[..., None]) -> None:
    programs, kafka = forged.programs, forged.kafka
    programs.worker()
    programs.gate("--json", belt_ms=8_000)
    real = make_frame(1)
    forged.send("cam1", real)
    assert forged.decision(real).result_state is ResultState.COMPLETED
    assert forged.act(real)["why"] == "decided"

    # A frame that nobody has signed, or another camera: FAILED, a dead letter, REJECT.
    for number, holder in ((2, ""), (3, "cam2"), (4, "worker"), (5, "late")):
        frame = make_frame(number, "cam3" if holder == "late" else "cam1")
        if holder == "late":
            frame = dataclasses.replace(frame, deadline_ms=1_500)
        forged.send(holder, frame)
        decision = forged.decision(frame)
        assert (decision.result_state, decision.action) == (ResultState.FAILED, Action.REJECT), holder
        assert forged.letters()[frame.frame_id][1] == "untrusted"
        assert forged.act(frame)["action"] == "REJECT"
    late = frame

    # Decisions that no worker has signed, while no worker runs: the part gets the fail-safe.
    programs.stop("worker")
    alone = make_frame(6)
    forged.send("cam1", alone)
    true = forged.decision(real)
    accept = dataclasses.replace(
        true, frame_id=alone.frame_id, sequence=alone.sequence, captured_at_us=alone.captured_at_us,
        deadline_at_us=alone.deadline_at_us, action=Action.ACCEPT, verdict=Verdict.OK, decision_id="f" * 32,
    )  # fmt: skip
    [message] = [each for each in read_topic(kafka, kafka.decisions) if decode(each.value, Decision) == true]
    for holder in ("", "cam1", "ann"):
        forged.send(holder, accept)
    stolen = {SIGNATURE_HEADER: message.headers[SIGNATURE_HEADER]}
    forged.send_bytes("", kafka.decisions, accept.key.encode(), Codec().encode(accept), stolen)
    # A signed decision that is published again, as it was.
    assert message.key is not None
    assert message.value is not None
    forged.send_bytes("", kafka.decisions, message.key, message.value, message.headers)
    assert forged.act(alone)["why"] == "failsafe-missing"
    assert forged.act(alone)["action"] == "REJECT"
    programs.stop("actuate")
    assert programs.report("actuate")["consumer"]["untrusted"] == 4
    programs.gate("--json", belt_ms=8_000)
    forged.send_bytes("", kafka.decisions, message.key, message.value, message.headers)

    # A header that claims a retry frees no frame of its deadline, unless an operator has signed it.
    programs.worker()
    forged.decision(alone)
    letter_id = forged.letters()[late.frame_id][0]
    shutil.copy(programs.folder / "keys" / "late.yaml", forged.trust)
    count, until_s = 1, time.monotonic() + PATIENCE_S
    while forged.decision(late, count).result_state is ResultState.FAILED:  # until the worker believes the key
        assert time.monotonic() < until_s
        forged.send("late", late)
        count += 1
    assert forged.decision(late, count).result_state is ResultState.ABORTED
    forged.send("late", late)
    forged.send_bytes(
        "", kafka.frames, late.key.encode(), Codec().encode(late),
        {**signature_of(forged.writer("late", kafka.frames), late), RETRY_HEADER: letter_id.encode()},
    )  # fmt: skip
    count += 2
    assert forged.decision(late, count).result_state is ResultState.ABORTED
    programs.run("dead-letters", "retry", letter_id)
    assert forged.decision(late, count + 1).result_state is ResultState.COMPLETED
    programs.stop("actuate")
    parts = [act["part_key"] for act in programs.acts()]
    assert parts.count(real.frame_id) == parts.count(alone.frame_id) == 1
    fault_row(f"forged records{forged.users.kind}", forged=10, accepted=0)


def signature_of(holder: KafkaSettings, frame: Frame) -> dict[str, bytes]:
    """Return the header with which the holder of a key signs a frame."""
    signer = make_producer(holder, {}).signer
    assert signer is not None
    [(name, value)] = signer.headers(holder.frames, frame.key.encode(), Codec().encode(frame), [])
    assert isinstance(value, bytes)
    return {name: value}

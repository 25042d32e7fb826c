"""Gates that believe signed decisions and acknowledgements only, on a real Kafka."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from actuators import DecisionConsumer
from actuators.drift_watch import DriftWatch
from operations.signing_keys import make_key_files
from schemas import Action, Codec, Decision, DriftEvent, EpisodeState, KafkaSettings, Verdict
from tests.support.drifting_gates import event as make_event
from tests.support.gate_records import make_decision, now_us
from transport.belief import Belief, make_belief
from transport.producer import make_producer
from transport.public_keys import SignerRole

pytestmark = pytest.mark.broker

PATIENCE_S = 60.0


@pytest.fixture
def signed(line: KafkaSettings, tmp_path: Path) -> dict[str, KafkaSettings]:
    """Settings with the key of each role; "" signs nothing. The public keys are in the folder trust."""
    found = {"": line}
    for role in SignerRole:
        made = make_key_files(tmp_path, role.value, role, ("*/*",))
        (tmp_path / "trust").mkdir(exist_ok=True)
        shutil.copy(made.public, tmp_path / "trust")
        found[role.value] = dataclasses.replace(line, signing_key=str(made.private))
    return found


@pytest.fixture
def belief(signed: dict[str, KafkaSettings], tmp_path: Path) -> Belief:
    found = make_belief(tmp_path / "trust", None)
    assert found is not None
    return found


def send(kafka: KafkaSettings, *records: Decision | DriftEvent) -> None:
    producer = make_producer(kafka, {})
    for record in records:
        topic = kafka.decisions if isinstance(record, Decision) else kafka.drift
        producer.produce(topic, Codec().encode(record), record.key)
    assert producer.flush(PATIENCE_S) == 0


def wait_for(is_so: Callable[[], bool], meanwhile: Callable[[], object] = lambda: time.sleep(0.05)) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until_s
        meanwhile()


def test_a_forged_decision_is_not_used_and_hides_nothing(
    signed: dict[str, KafkaSettings], belief: Belief, tmp_path: Path
) -> None:
    """The forgeries come first, with the id and the answer of the real decision, and with another answer."""
    real = make_decision("p1", Action.REJECT, captured_at_us=now_us())
    accept = dataclasses.replace(real, action=Action.ACCEPT, verdict=Verdict.OK)
    delivered: list[Decision] = []
    with DecisionConsumer(signed[""], belief=belief, state_dir=tmp_path / "state") as consumer:
        for role in ("", "camera", "operator"):
            send(signed[role], real, accept)
        send(signed["worker"], real)
        wait_for(lambda: consumer.counts.delivered >= 1, lambda: delivered.append(consumer.poll(0.1)))  # type: ignore[arg-type]
        assert [each for each in delivered if each is not None] == [real]
        send(signed["worker"], real)  # a signed decision that is sent again
        wait_for(lambda: consumer.counts.duplicates == 1, lambda: consumer.poll(0.1))
        assert (consumer.counts.untrusted, consumer.counts.delivered) == (6, 1)
        old = dataclasses.replace(real, captured_at_us=now_us() - 3_600_000_000, frame_id="old")
        send(signed["worker"], old)  # ... or much later
        wait_for(lambda: consumer.counts.skipped_old == 1, lambda: consumer.poll(0.1))
    # After a restart nothing that was consumed comes again.
    with DecisionConsumer(signed[""], belief=belief, state_dir=tmp_path / "state") as consumer:
        send(signed["worker"], dataclasses.replace(real, frame_id="next"))
        wait_for(lambda: consumer.counts.delivered == 1, lambda: consumer.poll(0.1))
        assert consumer.counts.duplicates == 0


def test_only_an_operator_acknowledges_an_episode(signed: dict[str, KafkaSettings], belief: Belief) -> None:
    opened = make_event()
    acknowledged = dataclasses.replace(opened, event_id="a", state=EpisodeState.ACKNOWLEDGED, acknowledged_by="ann")
    send(signed[""], opened)
    watch = DriftWatch(signed[""], belief=belief)
    watch.open()
    try:
        wait_for(lambda: watch.stats.open_episodes == 1)
        for role in ("", "camera", "worker"):
            send(signed[role], dataclasses.replace(acknowledged, event_id=f"a{role}"))
        wait_for(lambda: watch.stats.refused == 3)
        assert watch.stats.open_episodes == 1
        send(signed["operator"], acknowledged)
        wait_for(lambda: watch.stats.open_episodes == 0)
    finally:
        watch.close()

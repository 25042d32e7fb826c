"""Decisions that a gateway keeps: those of keys on a busy line, and those of two groups of workers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from confluent_kafka import Producer

from gateway.answer_index import AnswerIndex
from gateway.answer_reader import DecisionReader
from gateway.clients import Clients
from gateway.identity import keyed_frame_id
from gateway.line import GatewayLine
from gateway.own_claims import OwnClaims
from gateway.problems import Problem
from gateway.settings import GatewaySettings
from producers.stats import PublisherMetrics
from schemas import Action, Codec, Decision, Frame, KafkaSettings, ResultState, Verdict
from schemas.clock import ManualClock, SystemClock
from tests.support.answering import answering_worker
from tests.support.audited_lines import decision, frame
from tests.support.gateways import running_gateway, wait_until

SHED = {
    "verdict": Verdict.NOT_DECIDABLE, "action": Action.REJECT, "result_state": ResultState.ABORTED, "reason": "shed",
}  # fmt: skip
KEYED = keyed_frame_id("press-7", "http", "k", "e3" * 32)


def _index(kept: int = 10) -> tuple[AnswerIndex, Codec]:
    codec = Codec()
    return AnswerIndex(lambda value: codec.decode(value, Decision), 600.0, kept, 1 << 20, lambda: 0.0), codec


def _made(frame_id: str, **changes: Any) -> Decision:
    return decision(frame(0), **{"frame_id": frame_id, "part_id": "P-1", **changes})


def test_the_decision_on_a_key_outlives_those_of_busy_cameras() -> None:
    index, codec = _index(kept=10)
    for frame_id in (KEYED, *(f"press.top.1.{number:08}" for number in range(40))):
        made = _made(frame_id)
        assert index.add(made, codec.encode(made))
    assert index.get(KEYED) is not None
    assert len(index) == 11
    assert "press.top.1.00000029" not in index
    assert index.of_part("P-1", 3)[-1].frame_id == "press.top.1.00000039"


@pytest.mark.parametrize(
    ("first", "then", "state"),
    [
        (SHED, {}, ResultState.COMPLETED),
        ({}, SHED, ResultState.COMPLETED),
        (SHED, {"is_late": True}, ResultState.ABORTED),
        ({**SHED, "result_state": ResultState.FAILED}, {}, ResultState.FAILED),
    ],
)
def test_an_inspection_in_time_counts_before_a_shed_frame(
    first: dict[str, Any], then: dict[str, Any], state: ResultState
) -> None:
    index, codec = _index()
    for changes in (first, then):
        made = _made(KEYED, **changes)
        index.add(made, codec.encode(made))
    found = index.get(KEYED)
    assert found is not None
    assert found.result_state is state
    assert len(index) == len(index.of_part("P-1", 9)) == 1


@pytest.mark.broker
def test_of_two_groups_the_one_that_inspects_is_the_answer(line: KafkaSettings, image: bytes) -> None:
    """The other group has just been started again, and sheds what it finds."""
    is_shed = threading.Event()
    late: list[str] = []

    def inspects(found: Frame) -> dict[str, Any]:
        is_shed.wait(20)
        late.append(found.frame_id)
        return {}

    def sheds(found: Frame) -> dict[str, Any]:
        return SHED

    with running_gateway(line, instance="pair") as gateway:
        with answering_worker(line, group="first") as one, answering_worker(line, group="second") as other:
            assert gateway.inspect(image).status == 200
            wait_until(lambda: one and other)
        with answering_worker(line, sheds, "first") as shed, answering_worker(line, inspects, "second"):
            threading.Timer(1.0, is_shed.set).start()
            answer = gateway.inspect(image, Prefer="wait=20")
            assert (answer.status, len(shed), len(late)) == (200, 1, 1)
        with answering_worker(line, sheds, "first"), answering_worker(line, lambda _: None, "second"):
            assert gateway.inspect(image, Prefer="wait=1").json["decision"]["result_state"] == "ABORTED"
            pending = gateway.inspect(image, "?deadline_ms=20000", Prefer="respond-async, wait=1")
            assert pending.status == 202
            assert gateway.ask("GET", f"{pending.headers['location']}?wait=1").status == 202


class _AheadClock(SystemClock):
    """Clock of a gateway that is an hour ahead of the workers."""

    def utc_us(self) -> int:
        return super().utc_us() + 3_600_000_000


@pytest.mark.broker
def test_a_gateway_whose_clock_is_ahead_keeps_the_decisions_of_now(line: KafkaSettings) -> None:
    came: list[Decision] = []
    reader = DecisionReader(line, GatewaySettings(), came.append, _AheadClock())
    reader.open()
    try:
        wait_until(lambda: reader.is_ready)
        made = _made(KEYED, decided_at_us=SystemClock().utc_us())
        producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
        producer.produce(line.decisions, Codec().encode(made))
        assert producer.flush(10) == 0
        wait_until(lambda: bool(came))
        assert reader.index.get(KEYED) == made
    finally:
        reader.close()


class _BehindClock(SystemClock):
    """Clock of a gateway that is an hour behind the broker."""

    def utc_us(self) -> int:
        return super().utc_us() - 3_600_000_000


@pytest.mark.broker
@pytest.mark.parametrize("clock", [_AheadClock(), _BehindClock()], ids=["ahead", "behind"])
def test_a_gateway_that_starts_with_a_wrong_clock_knows_the_last_minutes(
    line: KafkaSettings, image: bytes, clock: SystemClock, caplog: pytest.LogCaptureFixture
) -> None:
    with answering_worker(line), running_gateway(line) as gateway:
        made = gateway.inspect(image, Idempotency_Key="k").json
    found = GatewayLine(line, GatewaySettings(), Clients(), PublisherMetrics(), clock)
    try:
        wait_until(lambda: found.blocker is None)
        known = found.known(made["frame_id"])
        assert known is not None
        assert known.decision_id == made["decision_id"]
        assert found.claims.has(made["frame_id"])
        with pytest.raises(Problem, match="another image"):
            found.claims.is_taken(made["frame_id"].rpartition(".")[0] + ".another")
    finally:
        found.close()
    assert "this machine's clock and the broker's differ by 36" in caplog.text


def test_a_key_outlives_a_clock_that_is_set_forward() -> None:
    clock = ManualClock(utc_us=10**15)
    claims = OwnClaims(GatewaySettings(), clock)
    other = keyed_frame_id("press-7", "http", "another", "e3" * 32)
    assert asyncio.run(claims.take(KEYED, 0.5, 1.0))
    clock.jump_utc(3600)
    assert asyncio.run(claims.take(other, 0.5, 1.0))
    assert claims.has(KEYED)
    with pytest.raises(Problem, match="key"):
        claims.is_taken(keyed_frame_id("press-7", "http", "k", "aa" * 32))

"""One idempotency key at two gateways that do not know each other: one image has the key, and one frame has it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuators.known_ids import KnownIds
from gateway.claims import Claim, ClaimTable, decode_claim
from gateway.identity import keyed_frame_id
from gateway.own_claims import OwnClaims
from gateway.problems import Problem
from gateway.settings import GatewaySettings
from infra.demo.processes import WorkerProcess
from operations.audit.counts import total
from operations.audit.topics import audit_topics
from replay.past.source import Source
from schemas import Frame, KafkaSettings
from schemas.clock import SystemClock
from schemas.topics import FRAMES
from tests.support.answering import answering_worker
from tests.support.gateways import PATIENCE_S, Answer, GatewayProcess, ask, make_image, running_gateway, wait_until
from tests.support.topics import read_decisions, set_config
from transport.producer import make_producer


def problem_name(answer: Answer) -> str:
    return str(answer.json["type"]).rpartition(":")[2]


@pytest.mark.long
@pytest.mark.broker
def test_a_key_has_one_answer(line: KafkaSettings, tmp_path: Path) -> None:
    """Ask at two gateways at the same moment, with one image and with two."""
    one_image = [make_image(0), make_image(0)]
    two_images = [make_image(1), make_image(2)]
    rounds = 20
    with (
        WorkerProcess(line, model=None, group=line.prefix, log=tmp_path / "worker.log") as worker,
        running_gateway(line, instance="a") as one,
        running_gateway(line, instance="b") as two,
        ThreadPoolExecutor(2) as pool,
    ):
        worker.await_ready()
        at_once = threading.Barrier(2, timeout=PATIENCE_S)

        def send(gateway: Any, image: bytes, key: str) -> Answer:
            at_once.wait()
            return gateway.inspect(image, Idempotency_Key=key)

        for number in range(rounds):
            same = [*pool.map(send, (one, two), one_image, [f"same-{number}"] * 2)]
            assert [answer.status for answer in same] == [200, 200]
            assert same[0].json == same[1].json
            other = [*pool.map(send, (one, two), two_images, [f"other-{number}"] * 2)]
            assert Counter(answer.status for answer in other) == {200: 1, 422: 1}, [answer.json for answer in other]
            assert [problem_name(answer) for answer in other if answer.status == 422] == ["key-reused"]
    ids = KnownIds()
    assert not any(ids.record(decision, None) for decision in read_decisions(line, 2 * rounds))
    counts = audit_topics(Source(line)).cameras().values()
    assert sum(each.conflicts + each.unaccounted for each in counts) == 0
    assert sum(each.frames + each.repeated_frames for each in counts) == 2 * rounds


def frames_of(kafka: KafkaSettings) -> int:
    """Return the number of frames on the topic; check that each has one answer."""
    counts = total(audit_topics(Source(kafka)).cameras())
    assert (counts.conflicts, counts.unaccounted, counts.repeated_frames) == (0, 0, 0)
    return counts.frames


@pytest.mark.long
@pytest.mark.broker
def test_a_key_stays_when_its_gateway_is_killed(
    line: KafkaSettings, tmp_path: Path, image: bytes, other_image: bytes
) -> None:
    release = threading.Event()

    def answering(frame: Frame) -> dict[str, Any] | None:
        release.wait(PATIENCE_S)
        return {}

    asynchronous = {"Content_Type": "image/png", "Prefer": "respond-async", "Idempotency_Key": "k"}
    waiting = {**asynchronous, "Prefer": "wait=60"}

    def inspect(gateway: GatewayProcess, sent: bytes, headers: dict[str, str]) -> Answer:
        return ask(gateway.url, "POST", "/v1/inspections", sent, **headers)

    with answering_worker(line, answering) as frames:
        with GatewayProcess(line, tmp_path / "one.log", "--instance", "one") as one:
            one.await_ready()
            taken = inspect(one, image, asynchronous)
            assert taken.status == 202
            wait_until(lambda: frames)
            one.process.kill()
        with (
            GatewayProcess(line, tmp_path / "two.log", "--instance", "two") as two,
            GatewayProcess(line, tmp_path / "again.log", "--instance", "one") as again,
        ):
            for gateway in (two, again):
                gateway.await_ready()
                refused = inspect(gateway, other_image, waiting)
                assert (refused.status, problem_name(refused)) == (422, "key-reused")
                pending = inspect(gateway, image, asynchronous)
                assert (pending.status, pending.json) == (202, taken.json)
                assert ask(gateway.url, "GET", taken.headers["location"]).status == 202
            release.set()
            answers = [inspect(gateway, image, waiting) for gateway in (two, again)]
            assert [answer.status for answer in answers] == [200, 200]
            assert answers[0].json == answers[1].json
            assert len(frames) == 1
    assert frames_of(line) == 1


@pytest.mark.broker
def test_a_key_whose_gateway_published_no_frame_is_taken_over(
    line: KafkaSettings, image: bytes, other_image: bytes
) -> None:
    """Leave a claim as a gateway does that is killed before it publishes the frame, and garbage beside it."""
    dead = Claim("dead-0", keyed_frame_id("local", "http", "k", sha256(image).hexdigest()), 0.2)
    producer = make_producer(line, {})
    for value in (b"", b"{}", b"\xff", None, dead.encode()):
        producer.produce(line.http_keys, value, dead.key.encode())
    assert producer.flush(60) == 0
    with (
        answering_worker(line) as frames,
        running_gateway(line, instance="a") as one,
        running_gateway(line, instance="b") as two,
        ThreadPoolExecutor(2) as pool,
    ):
        assert problem_name(one.inspect(other_image, Idempotency_Key="k")) == "key-reused"
        asked = [pool.submit(gateway.inspect, image, Idempotency_Key="k") for gateway in (one, two)]
        answers = [each.result() for each in asked]
        assert [answer.status for answer in answers] == [200, 200]
        assert answers[0].json == answers[1].json
        assert len(frames) == 1
    assert frames_of(line) == 1


@pytest.mark.broker
def test_a_key_whose_frame_is_not_taken_is_free(line: KafkaSettings, image: bytes, other_image: bytes) -> None:
    """Let Kafka refuse a frame after the claim: the next image may have the key."""
    with answering_worker(line) as frames, running_gateway(line) as gateway:
        set_config(line, line.frames, max_message_bytes="100")
        refused = gateway.inspect(image, Idempotency_Key="k")
        assert problem_name(refused) in ("broker-away", "too-large"), refused.json
        set_config(line, line.frames, max_message_bytes=str(FRAMES.max_message_bytes))
        wait_until(lambda: gateway.inspect(other_image, Idempotency_Key="k").status == 200)
        assert len(frames) == 1


def test_a_claim_that_came_a_moment_ago_is_not_replaced() -> None:
    """Another gateway claims a key between the look at it and the claim of this one."""
    own, other = (f"http-key.press.k.{name}" for name in "ab")
    claims = OwnClaims(GatewaySettings(), SystemClock())
    assert not claims.is_taken(own)
    claims.table.add(Claim("b-0", own, 30.0), 0, SystemClock().monotonic_s())
    assert not asyncio.run(claims.take(own, 1.0, 0.0))
    with pytest.raises(Problem, match="another image"):
        asyncio.run(claims.take(other, 1.0, 0.0))
    assert claims.overdue_s(own) > SystemClock().monotonic_s()
    assert claims.has(own)


NAMES = st.sampled_from("abc")
CLAIMS = st.builds(
    Claim,
    claim_id=NAMES,
    frame_id=NAMES.map(lambda name: f"http-key.press.k.{name}"),
    due_s=st.just(0.5),
    replaces=st.none() | NAMES,
    is_release=st.booleans(),
)


@given(st.lists(st.tuples(CLAIMS, st.integers(0, 100)), max_size=20))
def test_a_message_that_is_read_again_changes_nothing(log: list[tuple[Claim, int]]) -> None:
    once, twice = ClaimTable(200.0, 10), ClaimTable(200.0, 10)
    for claim, at_us in log:
        once.add(claim, at_us, 0.0)
        for _ in range(2 if claim.claim_id != claim.replaces else 1):
            twice.add(claim, at_us, 0.0)
    assert twice.standing("http-key.press.k") == once.standing("http-key.press.k")


@given(st.binary(max_size=60) | st.dictionaries(st.sampled_from(Claim.__slots__), st.text() | st.floats() | st.none()))
def test_any_message_is_a_claim_or_none(values: Any) -> None:
    found = decode_claim(values if isinstance(values, bytes) else json.dumps(values).encode())
    assert found is None or found == decode_claim(found.encode())

"""Answers to all that a line may do with a frame, and to lines that do nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest

from gateway.identity import keyed_frame_id
from schemas import Action, Frame, KafkaSettings, ResultState, Verdict
from tests.support.answering import answering_worker
from tests.support.gateways import PATIENCE_S, Answer, make_image, running_gateway, wait_until

REJECTED = {"verdict": Verdict.NOT_DECIDABLE, "action": Action.REJECT}


def problem(answer: Answer) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status, answer.json["type"].removeprefix("urn:streaming-inspection:problem:")


@pytest.mark.parametrize(
    ("changes", "status", "name"),
    [
        ({**REJECTED, "result_state": ResultState.ABORTED, "reason": "shed"}, 504, "deadline-exceeded"),
        ({"is_late": True}, 504, "deadline-exceeded"),
        (
            {**REJECTED, "result_state": ResultState.FAILED, "reason": "image-too-large: 9 pixels"},
            422,
            "image-unreadable",
        ),
        ({**REJECTED, "result_state": ResultState.FAILED, "reason": "inspection-error: x"}, 502, "inspection-failed"),
    ],
    ids=["shed", "late", "too large", "failed"],
)
def test_what_is_no_verdict_in_time_is_no_success(
    line: KafkaSettings, image: bytes, changes: dict[str, Any], status: int, name: str
) -> None:
    with answering_worker(line, lambda frame: changes), running_gateway(line) as gateway:
        answer = gateway.inspect(image)
    assert problem(answer) == (status, name)
    assert answer.json["decision"]["frame_id"] == answer.json["instance"]


def test_without_an_answer_the_request_ends_after_its_wait(line: KafkaSettings, image: bytes) -> None:
    with answering_worker(line, lambda frame: None) as frames, running_gateway(line) as gateway:
        began_s = time.monotonic()
        answer = gateway.inspect(image, Prefer="wait=0.5")
        assert time.monotonic() - began_s >= 0.5
        assert problem(answer) == (504, "deadline-exceeded")
        assert "decision" not in answer.json
        wait_until(lambda: frames)
        assert frames[0].deadline_ms == 500
        pending = gateway.ask("GET", answer.headers["location"])
        assert (pending.status, pending.json["status"]) == (202, "pending")
        assert problem(gateway.ask("GET", "/v1/inspections/press.top.1.00000000?wait=0.1")) == (
            404,
            "unknown-inspection",
        )


def test_a_request_that_does_not_wait_is_pending_until_its_decision(line: KafkaSettings, image: bytes) -> None:
    release = threading.Event()

    def answering(frame: Frame) -> dict[str, Any] | None:
        release.wait(PATIENCE_S)
        return {}

    with answering_worker(line, answering), running_gateway(line) as gateway:
        pending = gateway.inspect(image, Prefer="respond-async")
        path = pending.headers["location"]
        again = gateway.ask("GET", path)
        assert (pending.status, pending.json["status"]) == (again.status, again.json["status"]) == (202, "pending")
        assert again.json["frame_id"] == pending.json["frame_id"]
        release.set()
        fetched = gateway.ask("GET", f"{path}?wait=30")
        assert (fetched.status, fetched.json["frame_id"]) == (200, pending.json["frame_id"])
        assert gateway.ask("GET", path).json == fetched.json


def test_while_no_worker_answers_requests_are_refused_at_once(line: KafkaSettings, image: bytes) -> None:
    answers = threading.Event()

    def answering(frame: Frame) -> dict[str, Any] | None:
        return {} if answers.is_set() else None

    with answering_worker(line, answering) as frames, running_gateway(line, worker_silent_s=0.3) as gateway:
        assert problem(gateway.inspect(image, Prefer="wait=0.6")) == (504, "deadline-exceeded")
        refused: list[Answer] = []
        wait_until(lambda: refused.append(gateway.inspect(image, Prefer="wait=0.2")) or refused[-1].status == 503)
        assert problem(refused[-1]) == (503, "no-worker")
        assert refused[-1].headers["retry-after"] == "1"
        seen = len(frames)
        answers.set()
        # One request a second is let through, so it is found out that a worker answers again.
        wait_until(lambda: gateway.inspect(image).status == 200)
        assert gateway.inspect(image).status == 200
        assert len(frames) > seen


def test_requests_beyond_the_bound_are_refused(line: KafkaSettings) -> None:
    release = threading.Event()

    def answering(frame: Frame) -> dict[str, Any] | None:
        release.wait(60)
        return {}

    with answering_worker(line, answering), running_gateway(line, waiting=2) as gateway, ThreadPoolExecutor(2) as pool:
        held = [pool.submit(gateway.inspect, make_image(number)) for number in range(2)]
        wait_until(lambda: b"inspection_gateway_waiting 2.0" in gateway.ask("GET", "/metrics").data)
        answer = gateway.inspect(make_image(2))
        assert problem(answer) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        release.set()
        assert [each.result().status for each in held] == [200, 200]
        assert gateway.inspect(make_image(3)).status == 200


def test_a_key_in_progress_and_its_retry(line: KafkaSettings, image: bytes) -> None:
    release = threading.Event()

    def answering(frame: Frame) -> dict[str, Any] | None:
        release.wait(60)
        return {}

    with answering_worker(line, answering) as frames, running_gateway(line) as gateway, ThreadPoolExecutor(1) as pool:
        first = pool.submit(gateway.inspect, image, Idempotency_Key="k", Prefer="wait=8")
        wait_until(lambda: frames)
        assert problem(gateway.inspect(image, Idempotency_Key="k")) == (409, "key-in-progress")
        assert problem(first.result()) == (504, "deadline-exceeded")
        retried = pool.submit(gateway.inspect, image, Idempotency_Key="k")
        wait_until(lambda: b"inspection_gateway_waiting 1.0" in gateway.ask("GET", "/metrics").data)
        release.set()
        assert retried.result().status == 200
        assert [frame.frame_id for frame in frames] == [keyed_frame_id("local", "http", "k", sha256(image).hexdigest())]


def test_a_key_holds_over_gateways_and_restarts(line: KafkaSettings, image: bytes, other_image: bytes) -> None:
    with answering_worker(line) as frames:
        with running_gateway(line, instance="a") as gateway, running_gateway(line, instance="b") as other:
            first = gateway.inspect(image, Idempotency_Key="k")
            found = other.ask("GET", f"{first.headers['location']}?wait=60")
            assert found.json == first.json
            assert other.inspect(image, Idempotency_Key="k").json == first.json
        with running_gateway(line, instance="c") as gateway:
            again = gateway.inspect(image, Idempotency_Key="k")
            assert (again.json, again.headers["idempotency-replayed"]) == (first.json, "true")
            assert problem(gateway.inspect(other_image, Idempotency_Key="k")) == (422, "key-reused")
            assert gateway.inspect(other_image, "?station=pack", Idempotency_Key="k").status == 200
        assert len(frames) == 2


def test_an_answer_about_another_image_is_never_passed_on(
    line: KafkaSettings, image: bytes, other_image: bytes
) -> None:
    with (
        answering_worker(line, lambda frame: {"image_sha256": "0" * 64}),
        running_gateway(line) as gateway,
    ):
        assert problem(gateway.inspect(image, Idempotency_Key="k")) == (422, "key-reused")


def test_a_stop_answers_what_is_at_hand(line: KafkaSettings, image: bytes) -> None:
    release = threading.Event()

    def answering(frame: Frame) -> dict[str, Any] | None:
        release.wait(60)
        return {}

    with answering_worker(line, answering) as frames, ThreadPoolExecutor(1) as pool:
        with running_gateway(line, stop_s=60) as gateway:
            held = pool.submit(gateway.inspect, image)
            wait_until(lambda: frames)
            gateway.stop.set()
            release.set()
        assert held.result().status == 200


def test_a_stop_ends_what_has_no_answer(line: KafkaSettings, image: bytes) -> None:
    with answering_worker(line, lambda frame: None) as frames, ThreadPoolExecutor(1) as pool:
        with running_gateway(line, stop_s=0.2) as gateway:
            held = pool.submit(gateway.inspect, image)
            wait_until(lambda: frames)
        assert problem(held.result()) == (503, "draining")


def test_a_simulated_decision_and_one_of_a_challenger_are_no_answers(line: KafkaSettings, image: bytes) -> None:
    for changes in ({"is_simulated": True}, {"model_stage": "challenger"}):
        with answering_worker(line, lambda frame, changes=changes: changes), running_gateway(line) as gateway:
            assert problem(gateway.inspect(image, Prefer="wait=0.5")) == (504, "deadline-exceeded")

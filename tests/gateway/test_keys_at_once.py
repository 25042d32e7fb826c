"""One key twice at the same moment: at two gateways that do not know each other, and at two processes."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway.identity import keyed_frame_id
from operations.audit.counts import total
from operations.audit.topics import audit_topics
from replay.past.source import Source
from schemas import Frame, KafkaSettings
from tests.support.answering import answering_worker
from tests.support.gateways import PATIENCE_S, GatewayProcess, ask, make_image, running_gateway, wait_until


def problem_name(answer: Any) -> str:
    return str(answer.json["type"]).rpartition(":")[2]


def test_gateways_that_do_not_know_each_other_have_one_answer(
    line: KafkaSettings, image: bytes, other_image: bytes
) -> None:
    release = threading.Event()

    def answering(frame: Frame) -> dict[str, Any] | None:
        release.wait(PATIENCE_S)
        return {}

    with (
        answering_worker(line, answering) as frames,
        running_gateway(line, instance="a") as one,
        running_gateway(line, instance="b") as two,
        ThreadPoolExecutor(2) as pool,
    ):
        asked = [pool.submit(gateway.inspect, image, Idempotency_Key="k") for gateway in (one, two)]
        for gateway in (one, two):
            wait_until(lambda gateway=gateway: b"inspection_gateway_waiting 1.0" in gateway.ask("GET", "/metrics").data)
        for gateway in (one, two):
            # Before the decision each gateway knows the frame, and refuses another image.
            path = f"/v1/inspections/{keyed_frame_id('local', 'http', 'k', sha256(image).hexdigest())}"
            assert gateway.ask("GET", path).status == 202
            assert problem_name(gateway.inspect(other_image, Idempotency_Key="k")) == "key-reused"
        release.set()
        first, second = (each.result() for each in asked)
        assert (first.status, second.status) == (200, 200)
        assert first.json == second.json
        replayed = [answer.headers.get("idempotency-replayed") for answer in (first, second)]
        assert sorted(replayed, key=str) == [None, "true"]
        for gateway in (one, two):
            assert gateway.inspect(image, Idempotency_Key="k").json == first.json
            assert problem_name(gateway.inspect(other_image, Idempotency_Key="k")) == "key-reused"
        assert len(frames) == 1
    counts = total(audit_topics(Source(line)).cameras())
    assert (counts.frames, counts.decided, counts.conflicts, counts.unaccounted) == (1, 1, 0, 0)


@pytest.mark.long
@pytest.mark.broker
def test_of_two_images_at_two_processes_one_has_the_key(line: KafkaSettings, tmp_path: Path) -> None:
    images = [make_image(number) for number in range(2)]
    options = ["--processes", "2", "--instance", "duo"]
    keys = [f"part-{number}" for number in range(40)]
    with answering_worker(line) as frames, GatewayProcess(line, tmp_path / "log", *options) as gateway:
        wait_until(lambda: all(ask(gateway.url, "GET", "/ready").status == 200 for _ in range(10)))
        headers = {"Content-Type": "image/png", "Prefer": "wait=60"}
        at_once = threading.Barrier(2, timeout=PATIENCE_S)

        def send(sent: bytes) -> list[int]:
            found = []
            for key in keys:
                at_once.wait()
                found.append(ask(gateway.url, "POST", "/v1/inspections", sent, **headers, Idempotency_Key=key).status)
            return found

        with ThreadPoolExecutor(2) as pool:
            pairs = list(zip(*pool.map(send, images), strict=True))
        assert Counter(tuple(sorted(pair)) for pair in pairs) == {(200, 422): len(keys)}
        assert len(frames) == len(keys)
    counts = total(audit_topics(Source(line)).cameras())
    assert (counts.conflicts, counts.unaccounted) == (0, 0)


@pytest.mark.broker
def test_the_image_that_wins_the_key_is_never_refused_for_good(line: KafkaSettings) -> None:
    images = [make_image(number) for number in range(2)]
    with answering_worker(line), running_gateway(line, instance="many") as gateway, ThreadPoolExecutor(8) as pool:
        for number in range(10):

            def send(place: int, key: str = f"part-{number}") -> tuple[int, int]:
                return place % 2, gateway.inspect(images[place % 2], Idempotency_Key=key).status

            statuses: dict[int, set[int]] = {0: set(), 1: set()}
            for image, status in pool.map(send, range(8)):
                statuses[image].add(status)
            [winner] = [image for image, seen in statuses.items() if 200 in seen]
            assert statuses[winner] <= {200, 409}, statuses
            assert statuses[1 - winner] <= {409, 422}, statuses

"""Labels and questions about parts while Kafka does not answer: each gets its 503 within a bound of its own."""

from __future__ import annotations

import json
import signal
import threading
import time

import pytest

from tests.support.faults import OwnBroker
from tests.support.gateways import Answer, RunningGateway, running_gateway, wait_until

pytestmark = pytest.mark.broker

#: Longest time of a label, see docs/gateway.md, and what a busy machine may add.
BOUND_S, BUSY_S = 15.0, 5.0
LABEL = json.dumps({"truth": "good", "part_id": "P-1", "station": "http", "camera_id": "top"})


def labels_at_once(gateway: RunningGateway, number: int) -> list[tuple[Answer, float]]:
    """Send labels at the same moment; return the answers, and the time that each took, in seconds."""
    found: list[tuple[Answer, float]] = []

    def send() -> None:
        began_s = time.monotonic()
        answer = gateway.ask("POST", "/v1/labels", LABEL, Content_Type="application/json")
        found.append((answer, time.monotonic() - began_s))

    threads = [threading.Thread(target=send) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_each_label_ends_within_its_own_bound(own_broker: OwnBroker) -> None:
    with running_gateway(own_broker.kafka) as gateway:
        assert {answer.status for answer, _ in labels_at_once(gateway, 12)} == {201}
        own_broker.signal(signal.SIGSTOP)
        try:
            answers = labels_at_once(gateway, 8)
            assert {answer.status for answer, _ in answers} == {503}
            assert max(took_s for _, took_s in answers) < BOUND_S + BUSY_S
            wait_until(lambda: gateway.ask("GET", "/ready").status == 503)
            asked = gateway.ask("GET", "/v1/decisions?part_id=P-1")
            assert (asked.status, asked.json["type"].rpartition(":")[2]) == (503, "broker-away")
            ((answer, took_s),) = labels_at_once(gateway, 1)
            assert (answer.status, took_s < 2) == (503, True)
        finally:
            own_broker.signal(signal.SIGCONT)
        wait_until(lambda: gateway.ask("GET", "/ready").status == 200)
        assert {answer.status for answer, _ in labels_at_once(gateway, 2)} == {201}

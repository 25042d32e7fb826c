"""Rights that a gateway loses while it runs: it takes no frame that it could not answer, and names the right."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from tests.support.answering import answering_worker
from tests.support.gateways import running_gateway, wait_until
from tests.support.secured import STRANGER, SecuredBroker

pytestmark = pytest.mark.broker


def test_without_the_right_to_read_decisions_no_frame_is_taken(
    secured: SecuredBroker, unique: str, image: bytes
) -> None:
    secured.create_topics(unique)
    kafka = secured.settings(unique, secured.properties(STRANGER))
    rights = [
        (ResourceType.TOPIC, kafka.frames, AclOperation.WRITE),
        (ResourceType.GROUP, "unused-", AclOperation.DESCRIBE),
        (ResourceType.GROUP, "inspection-reader", AclOperation.DESCRIBE),
    ]
    rights += [(ResourceType.TOPIC, kafka.http_keys, AclOperation.WRITE)]
    reading = (ResourceType.TOPIC, kafka.decisions, AclOperation.READ)
    keys = (ResourceType.TOPIC, kafka.http_keys, AclOperation.READ)
    secured.allow(*rights, reading, keys)
    with answering_worker(secured.settings(unique)) as frames, running_gateway(kafka) as gateway:
        assert gateway.inspect(image, "?part_id=P-1").status == 200
        secured.allow(*rights)
        wait_until(lambda: gateway.ask("GET", "/ready").status != 200)
        taken = len(frames)
        refused = gateway.inspect(image, "?part_id=P-2")
        assert (refused.status, refused.json["type"].rpartition(":")[2]) == (503, "broker-away")
        assert f"may not READ the topic {kafka.decisions}" in refused.json["detail"]
        assert gateway.ask("GET", "/v1/decisions?part_id=P-1").status == 503
        assert len(frames) == taken
        secured.allow(*rights, reading)
        # Without the right to read the keys, requests without a key are served. Each may meet a broker that is silent
        # for a moment: the clients ask it for the topic again.
        wait_until(lambda: gateway.inspect(image, "?part_id=P-3").status == 200)
        reason = f"may not READ the topic {kafka.http_keys}"
        wait_until(lambda: reason in gateway.inspect(image, Idempotency_Key="k").json.get("detail", ""))
        refused = gateway.inspect(image, Idempotency_Key="k")
        assert (refused.status, refused.json["type"].rpartition(":")[2]) == (503, "broker-away")

"""A new password reaches a consumer that waits."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition

from transport.credentials import Consumer

#: Nobody listens there.
NOWHERE = {"bootstrap.servers": "127.0.0.1:9", "group.id": "g", "log_level": 0}
LOGIN = {
    "security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "line",
    "sasl.password": "old",
}  # fmt: skip


class Watched(Consumer):
    """Consumer that tells when it has set a login."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.has_set = threading.Event()

    def set_sasl_credentials(self, *login: str) -> None:
        super().set_sasl_credentials(*login)
        self.has_set.set()


@pytest.mark.parametrize("timeout_s", [0.1, 5.0])
def test_offsets_that_nobody_has_take_no_longer_than_allowed(timeout_s: float) -> None:
    consumer = Consumer({**NOWHERE, **LOGIN})
    began_s = time.monotonic()
    with pytest.raises(KafkaException):
        consumer.committed([TopicPartition("frames", 0)], timeout_s)
    assert timeout_s - 0.05 < time.monotonic() - began_s < timeout_s + 2  # librdkafka rounds to milliseconds
    consumer.close()


def test_a_password_is_set_while_committed_offsets_are_waited_for() -> None:
    consumer = Watched({**NOWHERE, **LOGIN})

    def wait() -> None:
        with pytest.raises(KafkaException):
            consumer.committed([TopicPartition("frames", 0)], 8)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    consumer.log_in_with("line", "new")
    assert consumer.has_set.wait(5)
    assert thread.is_alive(), "it was set after the wait"
    thread.join()
    consumer.close()

"""A Kafka that lives in this process, for what needs a client but no broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka import Producer

from schemas.settings import KafkaSettings


@dataclass
class MockKafka:
    """librdkafka's mock cluster; it is gone when stopped, as a broker is that dies."""

    settings: KafkaSettings
    _client: Producer | None

    def stop(self) -> None:
        self._client = None


@pytest.fixture
def mock_kafka() -> Iterator[Callable[..., MockKafka]]:
    made: list[MockKafka] = []

    def make(round_trip_ms: int = 0) -> MockKafka:
        client = Producer(
            {
                "bootstrap.servers": "unused",
                "test.mock.num.brokers": 1,
                "test.mock.broker.rtt": round_trip_ms,
                "log_level": 0,
            }
        )
        client.list_topics("inspection.frames", timeout=5)  # asking for it creates it
        (broker,) = client.list_topics(timeout=5).brokers.values()
        made.append(MockKafka(KafkaSettings(f"{broker.host}:{broker.port}"), client))
        return made[-1]

    yield make
    for mock in made:
        mock.stop()

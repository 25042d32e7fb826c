"""Clients of Kafka on a machine whose wall clock is set back, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from schemas import KafkaSettings
from tests.support.wall_clock import WallClock
from transport.clients import make_consumer
from transport.producer import make_producer

#: A wait that has grown ends after an hour.
_BACK_S, _PATIENCE_S = -3600.0, 60.0
_CALL_S = 0.2


def _calls(kafka: KafkaSettings, config: dict[str, object]) -> dict[str, Callable[[], object]]:
    """Return calls that wait for a message, or an answer, that never comes."""
    consumer = make_consumer(kafka, {**config, "group.id": kafka.drift})
    consumer.assign([TopicPartition(kafka.drift, 0)])
    producer = make_producer(kafka, config)
    producer.produce(f"{kafka.drift}.missing", b"nobody takes it")
    return {
        "Consumer.poll": lambda: consumer.poll(_CALL_S),
        "Consumer.consume": lambda: consumer.consume(10, _CALL_S),
        "Producer.poll": lambda: producer.poll(_CALL_S),
        "Producer.flush": lambda: producer.flush(_CALL_S),
    }


def wait_for_ever(bootstrap_servers: str, prefix: str, what: str) -> None:
    """Call a client again and again, and print the number of its statistics after each call."""
    statistics: list[str] = []
    config = {"statistics.interval.ms": 100, "stats_cb": statistics.append}
    call = _calls(KafkaSettings(bootstrap_servers, prefix=prefix), config)[what]
    while True:
        call()
        sys.stdout.write(f"{len(statistics)}\n")
        sys.stdout.flush()


@pytest.mark.broker
@pytest.mark.parametrize("what", ["Consumer.poll", "Consumer.consume", "Producer.poll", "Producer.flush"])
def test_the_caller_and_the_clients_own_thread_go_on(line: KafkaSettings, tmp_path: Path, what: str) -> None:
    clock = WallClock(tmp_path)
    arguments = (line.bootstrap_servers, line.prefix, what)
    code = f"from tests.transport.test_clock_set_back import wait_for_ever; wait_for_ever(*{arguments})"
    environment = {**os.environ, **clock.variables}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True) as child:
        limit = threading.Timer(_PATIENCE_S, child.kill)
        limit.start()
        try:
            assert child.stdout is not None
            counts = map(int, child.stdout)
            assert any(count > 10 for count in counts), "the client does not start"
            clock.move(_BACK_S)
            before = next(counts, sys.maxsize)
            assert any(count > before + 10 for count in counts), "it stands still"
        finally:
            limit.cancel()
            child.kill()

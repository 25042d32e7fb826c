"""Sender whose spool takes no frame: it tries the broker again. A client that a test switches off, no Kafka."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from producers.kafka_sender import KafkaSender
from producers.message import Message, PublishedFrame
from producers.options import CameraIdentity, PublisherOptions
from producers.spool import LazySpool, SpoolOptions, SpoolUnwritable
from producers.stats import PublisherCounters, PublisherMetrics
from schemas.clock import SystemClock
from schemas.settings import KafkaSettings

CAMERA = CameraIdentity("line", "press", "top")


class Client:
    """Stands for the Kafka client: while it is up it acknowledges each frame, else each delivery fails."""

    def __init__(self) -> None:
        self.is_up = True
        self._reports: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def produce(self, *_: Any, on_delivery: Callable[[KafkaError | None, None], object], **__: Any) -> None:
        error = None if self.is_up else KafkaError(KafkaError._MSG_TIMED_OUT)
        with self._lock:
            self._reports.append(lambda: on_delivery(error, None))

    def poll(self, timeout_s: float) -> int:
        with self._lock:
            reports, self._reports = self._reports, []
        for report in reports:
            report()
        time.sleep(0.01)
        return len(reports)

    def purge(self) -> None:
        """Leave the frames as they are: each gets its report anyway."""

    def flush(self, timeout_s: float) -> int:
        return self.poll(timeout_s)


def message(number: int) -> Message:
    frame = PublishedFrame(f"f{number}", CAMERA, number, number, 1, 1, 1000, {})
    return Message(frame, 1, bytes(1000), time.monotonic())


@pytest.mark.parametrize("policy", ["drop-oldest", "block"])
def test_frames_are_published_again_after_an_outage_on_a_full_disk(
    policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Switch the broker off until all deliveries have failed, and on again; the disk never has room."""

    def full(*_: object) -> None:
        raise SpoolUnwritable("the disk is full")

    client = Client()
    monkeypatch.setattr("producers.kafka_sender.make_producer", lambda *_: client)
    monkeypatch.setattr("producers.broker_health._PAUSE_S", 0.1)
    monkeypatch.setattr(LazySpool, "_open", full)
    options = SpoolOptions(directory=tmp_path, unreachable_after_ms=50)
    counters = PublisherCounters("press/top", PublisherMetrics())
    sender = KafkaSender(
        KafkaSettings(), "frames", "press/top", started_at_us=1, options=PublisherOptions(policy=policy),
        counters=counters, clock=SystemClock(), spool=LazySpool(tmp_path / "s.spool", options), spool_options=options,
    )  # fmt: skip
    numbers = iter(range(1_000_000))

    def offer_until(is_so: Callable[[], bool]) -> None:
        until_s = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < until_s, counters.snapshot()
            number = counters.capture(next(numbers))
            sender.offer(message(number))
            time.sleep(0.01)

    try:
        offer_until(lambda: counters.snapshot().published >= 3)
        client.is_up = False
        offer_until(lambda: sender.unreachable)
        client.is_up = True
        before = counters.snapshot().published
        offer_until(lambda: not sender.unreachable and counters.snapshot().published >= before + 3)
    finally:
        sender.close()
    stats = counters.snapshot()
    assert stats.captured == stats.published + stats.dropped + stats.failed + stats.spooled

"""Load with known frames, workers that are restarted, brokers that are broken, and the accounts at the end."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from infra.broker import LocalBroker
from infra.broker.ports import free_port
from infra.broker.secured_start import make_security
from infra.broker.security import Tunnel
from infra.demo.processes import WorkerProcess
from models.datasets.elpv import load_cells
from operations.audit.counts import total
from operations.audit.topics import audit_topics
from producers import CameraIdentity, Capture, FramePublisher, PublisherOptions, PublisherStats
from producers.spool import SpoolOptions
from replay.past.source import Source
from schemas import Action, Decision, KafkaSettings
from schemas.clock import SystemClock
from schemas.codec import decode
from schemas.errors import InspectionError
from schemas.groups import READER
from tests.support.line_users import LineUsers, make_users
from transport.clients import make_consumer
from transport.range_reader import read_topic
from transport.topic_setup import apply

#: `make test-faults` runs everything at length; `make test` a short form of each.
FULL = os.environ.get("INSPECTION_FAULTS") == "full"
#: The short faults run on an open broker, and on a secured one with a user for each program.
SECURED = pytest.param(True, id="secured", marks=pytest.mark.long)
OPEN = pytest.param(False, id="open")
#: Faults that take long run on a secured broker, and on an open one in `make test-faults` only.
SECURED_FIRST = [pytest.param(True, id="secured"), *([OPEN] if FULL else [])]
#: Far above an inspection, far below a fault: what a fault delays is shed.
DEADLINE_MS = 2_000
IDENTITY = CameraIdentity("line-1", "press", "top")


@dataclass(frozen=True)
class Figures:
    """Figures of a scenario; ``captured == decided + dead_lettered + drops`` has been asserted."""

    frames: int
    decided: int
    dead_letters: int
    drops: int
    duplicates: int
    conflicts: int
    accepted: int
    shed: int
    late_accepts: int


class SeededStart(SystemClock):
    """Real time, but for the first look: a camera's start, and with it the ids of its frames, are the seed's."""

    def __init__(self, seed: int) -> None:
        self._start_us: int | None = 1_700_000_000_000_000 + random.Random(seed).randrange(10**12)

    def utc_us(self) -> int:
        start_us, self._start_us = self._start_us, None
        return super().utc_us() if start_us is None else start_us


class Load:
    """Cameras at a steady rate, each frame known, with a deadline; a spool under them.

    Half of the images are sound solar cells, which the model accepts: without an ACCEPT nothing could be accepted late.
    """

    def __init__(
        self, kafka: KafkaSettings, directory: Path, fps: float = 40, cameras: int = 3, deadline_ms: int = DEADLINE_MS
    ) -> None:
        self._kafka = kafka
        self._fps = fps
        self._stop = threading.Event()
        self.captured: set[str] = set()
        cells = load_cells("test")
        chosen = [*[c for c in cells if c.probability == 0][:4], *[c for c in cells if c.probability == 1][:4]]
        images = [cv2.imread(str(cell.path), cv2.IMREAD_GRAYSCALE) for cell in chosen]
        self._images = [cv2.imencode(".jpg", image)[1].tobytes() for image in images]
        options = PublisherOptions(deadline_ms=deadline_ms)
        spool = SpoolOptions(directory=directory, unreachable_after_ms=500)
        self._publishers = [
            FramePublisher(
                kafka, CameraIdentity("line-1", "press", f"cam{n}"), options, clock=SeededStart(n), spool=spool
            )
            for n in range(cameras)
        ]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(1 / self._fps):
            frame = self._publishers[number % len(self._publishers)].publish(Capture(encoded=self._images[number % 8]))
            if frame is not None:
                self.captured.add(frame)
            number += 1

    def end(self) -> list[PublisherStats]:
        """Stop, and wait until Kafka has every frame."""
        self._stop.set()
        self._thread.join()
        left = sum(publisher.flush(60) for publisher in self._publishers)
        stats = [publisher.close() for publisher in self._publishers]
        assert left == 0, stats
        return stats


class Workers:
    """So many workers, restarted when they end, as systemd or Kubernetes would."""

    def __init__(self, kafka: KafkaSettings, directory: Path, client_file: Path | None = None) -> None:
        self._kafka = kafka
        self._directory = directory
        self._client_file = client_file
        self.running: list[WorkerProcess] = []
        self.started = 0

    def start(self) -> WorkerProcess:
        """One more."""
        log = self._directory / f"worker-{self.started}.log"
        self.started += 1
        worker = WorkerProcess(
            self._kafka, model=None, group=self._kafka.prefix, log=log, client_file=self._client_file
        )
        self.running.append(worker)
        return worker

    def kill(self) -> None:
        """The oldest, with SIGKILL."""
        worker = self.running.pop(0)
        os.kill(worker.pid, signal.SIGKILL)
        worker.stop()

    def stop_one(self) -> None:
        """The oldest, gracefully."""
        self.running.pop(0).stop()

    def revive(self) -> int:
        """Start again those that have ended; return their number."""
        ended = [worker for worker in self.running if not worker.alive()]
        for worker in ended:
            self.running.remove(worker)
            worker.stop()
            self.start()
        return len(ended)

    def close(self) -> None:
        """Stop all."""
        for worker in self.running:
            worker.stop()


def settle(
    kafka: KafkaSettings, load: Load, *, tend: Callable[[], object] = lambda: None, timeout_s: float = 90
) -> Figures:
    """End the load, wait until every frame is answered, and close the books."""
    stats = load.end()
    deadline = time.monotonic() + timeout_s
    while True:
        tend()
        cameras = audit_topics(Source(kafka)).cameras()
        counts = total(cameras)
        if (not counts.unaccounted and counts.frames) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    drops = sum(stat.dropped + stat.failed for stat in stats)
    captured = sum(stat.captured for stat in stats)
    assert captured == len(load.captured) + drops
    assert counts.unaccounted == 0, counts
    assert counts.conflicts == counts.unexplained_gaps == 0, counts
    assert counts.frames == len(load.captured), counts
    dead_only = counts.dead_lettered
    assert captured == counts.decided + dead_only + drops, counts
    accepted, late = accepts(kafka)
    assert accepted - late > 0, "nothing was accepted: the oracle has nothing to judge"
    return Figures(
        captured, counts.decided, counts.dead_lettered, drops, counts.duplicates, counts.conflicts, accepted,
        counts.aborted, late,
    )  # fmt: skip


def accepts(kafka: KafkaSettings) -> tuple[int, int]:
    """ACCEPTs, and those decided after their deadline, by the two times and not by the worker's word.

    An inspection that was begun in time and then stopped or starved is no ACCEPT any more when it ends.
    """
    accepted = late = 0
    for message in read_topic(kafka, kafka.decisions):
        decision = decode(message.value, Decision)
        if decision.action is Action.ACCEPT:
            accepted += 1
            if decision.decided_at_us > decision.captured_at_us + DEADLINE_MS * 1000:
                late += 1
    assert late == 0
    return accepted, late


def await_progress(kafka: KafkaSettings, *, tend: Callable[[], object] = lambda: None, timeout_s: float = 60) -> float:
    """Seconds until decisions are made again."""
    began = time.monotonic()
    before = _decisions(kafka)
    while _decisions(kafka) <= before:
        tend()
        if time.monotonic() - began > timeout_s:
            raise AssertionError(f"no decision in {timeout_s} s")
        time.sleep(0.1)
    return time.monotonic() - began


def _decisions(kafka: KafkaSettings) -> int:
    from confluent_kafka import KafkaException, TopicPartition

    consumer = make_consumer(kafka, {"group.id": READER})
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition(kafka.decisions, number), timeout=5)[1] for number in range(6)
        )
    except KafkaException:
        return 0
    finally:
        consumer.close()


class OwnBroker:
    """A broker that a test may freeze and kill, always at the same port.

    With ``is_secured`` it has TLS, and each program a user with the rights of its role.
    """

    def __init__(self, directory: Path, *, is_secured: bool = False, tunnel: Tunnel | None = None) -> None:
        port = free_port()
        security = make_security(directory, tls=True) if is_secured else None
        self._directory = directory
        self._broker = LocalBroker(directory, port, 256, tunnel=tunnel, security=security)
        self._pid: int | None = None
        self.kafka = KafkaSettings(f"127.0.0.1:{port}") if security is None else security.settings(port)
        self.users = LineUsers.same(self.kafka)

    def start(self) -> None:
        # A frozen broker would answer no question about its state for seconds, so `signal` does not ask.
        self._pid = self._broker.start(timeout_s=120).pid
        apply(self.kafka)
        if self.kafka.client and self.users.worker_file is None:
            self.users = make_users(self.kafka, self._directory)

    def signal(self, number: int) -> None:
        if self._pid is None:
            raise InspectionError("the broker does not run")
        os.kill(self._pid, number)

    def stop(self) -> None:
        self._broker.stop()

"""A publisher whose broker is away, silent, slow or new: nothing is lost, all is counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition

from infra.broker import LocalBroker
from infra.broker.ports import free_port
from infra.demo.processes import inspection_command
from producers import CameraIdentity, Capture, FramePublisher, PublisherOptions
from producers.spool import SpoolCounts, SpoolOptions, SpoolUnwritable, read_counts, spool_path
from schemas import Frame, KafkaSettings
from schemas.codec import decode
from transport.topic_setup import apply

pytestmark = [pytest.mark.broker, pytest.mark.faults]

IDENTITY = CameraIdentity("line-1", "press", "top")


class Outage:
    """A broker of its own that is started, frozen and killed."""

    def __init__(self, data_dir: Path) -> None:
        self.port = free_port()
        self.kafka = KafkaSettings(f"127.0.0.1:{self.port}")
        self._broker = LocalBroker(data_dir, self.port, 256)
        self._pid: int | None = None

    def start(self) -> None:
        self._pid = self._broker.start().pid  # a frozen broker would be asked for it in vain, for seconds
        apply(self.kafka)

    def signal(self, number: int) -> None:
        assert self._pid is not None
        os.kill(self._pid, number)

    def stop(self) -> None:
        self._broker.stop()

    def frames(self, wanted: int, timeout_s: float = 20) -> list[Frame]:
        """Everything on the frames topic, once so many different frames are there."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": "reader", "log_level": 0})
        partitions = len(consumer.list_topics(self.kafka.frames, timeout=10).topics[self.kafka.frames].partitions)
        consumer.assign([TopicPartition(self.kafka.frames, p, 0) for p in range(partitions)])
        found: list[Frame] = []
        deadline = time.monotonic() + timeout_s
        while len({frame.frame_id for frame in found}) < wanted and time.monotonic() < deadline:
            found += [decode(m.value(), Frame) for m in consumer.consume(500, 0.2) if m.error() is None]
        found += [decode(m.value(), Frame) for m in consumer.consume(500, 0.5) if m.error() is None]
        consumer.close()
        return found


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[Outage]:
    outage = Outage(tmp_path / "broker")
    yield outage
    outage.stop()


def capture(number: int) -> Capture:
    return Capture(image=np.random.default_rng(number).integers(0, 255, (60, 80), dtype=np.uint8))


def settled(publisher: FramePublisher) -> bool:
    stats = publisher.stats()
    return stats.captured == stats.published + stats.dropped + stats.failed + stats.spooled + stats.pending


@pytest.mark.long
def test_a_line_that_starts_without_a_broker_catches_up_in_order(outage: Outage, tmp_path: Path) -> None:
    spool = SpoolOptions(directory=tmp_path / "spool", unreachable_after_ms=200)
    with FramePublisher(outage.kafka, IDENTITY, spool=spool) as publisher:
        for number in range(150):
            assert publisher.publish(capture(number)) is not None
            time.sleep(0.005)
        stats = publisher.stats()
        assert (stats.published, stats.dropped, stats.failed) == (0, 0, 0)
        assert stats.spooled >= 60
        outage.start()
        assert publisher.flush(30) == 0
        stats = publisher.stats()
        assert (stats.published, stats.spooled, stats.pending) == (150, 0, 0)
    sequences = [frame.sequence for frame in outage.frames(150)]
    assert sorted(set(sequences)) == list(range(150))
    counts = read_counts(spool_path(spool.directory, "inspection", IDENTITY))
    assert (counts.frames, counts.dropped) == (0, 0)
    assert counts.drained == counts.appended


@pytest.mark.long
def test_a_silent_broker_a_killed_one_and_a_closed_publisher(
    outage: Outage, tmp_path: Path, fault_row: Callable[..., None]
) -> None:
    outage.start()
    spool = SpoolOptions(directory=tmp_path / "spool", unreachable_after_ms=300)
    with FramePublisher(outage.kafka, IDENTITY, spool=spool) as publisher:
        for number in range(50):
            publisher.publish(capture(number))
        assert publisher.flush(20) == 0
        outage.signal(signal.SIGSTOP)
        for number in range(50, 150):
            publisher.publish(capture(number))
            time.sleep(0.01)
        assert publisher.stats().spooled >= 50
        assert settled(publisher)
        outage.signal(signal.SIGCONT)
        assert publisher.flush(30) == 0
        assert publisher.stats().published == 150
        outage.signal(signal.SIGKILL)
        for number in range(150, 250):
            publisher.publish(capture(number))
            time.sleep(0.01)
        began = time.monotonic()
        stats = publisher.close()
        assert time.monotonic() - began < 8
    # Closed during the outage: what Kafka has not acknowledged lies on disk, none is given up.
    assert (stats.published, stats.spooled, stats.dropped, stats.failed, stats.pending) == (150, 100, 0, 0, 0)
    outage.start()
    with FramePublisher(outage.kafka, IDENTITY, spool=spool) as publisher:
        publisher.publish(capture(0))
        assert publisher.flush(30) == 0
        stats = publisher.stats()
    assert (stats.captured, stats.published, stats.recovered) == (1, 1, 100)
    frames = outage.frames(251)
    assert len({frame.frame_id for frame in frames}) == 251
    fault_row("spool: broker SIGSTOP, kill -9, publisher closed meanwhile", frames=251, duplicates=len(frames) - 251)
    # What is sent again is the same frame. (Their order is not asked for: a slow first acknowledgement spools some.)
    assert len({(frame.frame_id, frame.sha256) for frame in frames}) == 251


@pytest.mark.long
def test_an_outage_longer_than_the_spool_is_counted(
    outage: Outage, tmp_path: Path, fault_row: Callable[..., None]
) -> None:
    outage.start()
    options = PublisherOptions(encode="png", in_flight_frames=4, hand_over_frames=4)
    spool = SpoolOptions(directory=tmp_path / "spool", unreachable_after_ms=200, max_bytes=1024 * 1024)
    with FramePublisher(outage.kafka, IDENTITY, options, spool=spool) as publisher:
        outage.signal(signal.SIGSTOP)
        for number in range(400):
            publisher.publish(capture(number))
            time.sleep(0.002)
        outage.signal(signal.SIGCONT)
        assert publisher.flush(30) == 0
        stats = publisher.stats()
    assert stats.captured == 400 == stats.published + stats.dropped
    assert stats.dropped_by_reason.keys() == {"spool-full"}
    assert 50 < stats.published < 400
    present = {frame.sequence for frame in outage.frames(stats.published)}
    assert len(present) == stats.published
    assert max(present) == 399
    fault_row("spool: outage longer than it", frames=400, drops=stats.dropped)


@pytest.mark.long
@pytest.mark.parametrize("order", ["live-first", "order-first"])
def test_live_frames_do_not_starve_and_order_is_kept_as_stated(outage: Outage, tmp_path: Path, order: str) -> None:
    spool = SpoolOptions(directory=tmp_path / "spool", unreachable_after_ms=200, order=order)  # type: ignore[arg-type]
    with FramePublisher(outage.kafka, IDENTITY, spool=spool) as publisher:
        for number in range(200):
            publisher.publish(capture(number))
            time.sleep(0.002)
        outage.start()
        for number in range(200, 500):
            publisher.publish(capture(number))
            time.sleep(0.005)
        assert publisher.flush(30) == 0
        assert publisher.stats().published == 500
    sequences = [frame.sequence for frame in outage.frames(500)]
    assert set(sequences) == set(range(500))
    if order == "order-first":
        drained = [n for n in dict.fromkeys(sequences) if n > 100]
        assert drained == sorted(drained)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["outage", "always"])
def test_a_producer_killed_while_it_spools_and_while_it_drains(
    outage: Outage, tmp_path: Path, mode: str, fault_row: Callable[..., None]
) -> None:
    directory = tmp_path / "spool"

    def produce(is_enough: Callable[[], bool], camera: str = "synthetic") -> None:
        arguments = ["produce", "--camera", camera, "--fps", "100", "--station", "press", "--camera-id", "top"]
        arguments += [
            "--spool",
            mode,
            "--spool-dir",
            str(directory),
            "--bootstrap-servers",
            outage.kafka.bootstrap_servers,
        ]
        with subprocess.Popen(inspection_command(*arguments), stderr=subprocess.DEVNULL) as process:
            until = time.monotonic() + 60
            while not is_enough() and time.monotonic() < until:
                time.sleep(0.05)
            process.kill()

    path = spool_path(directory, "inspection", IDENTITY)

    def counts() -> SpoolCounts:
        try:
            return read_counts(path)
        except SpoolUnwritable:  # not made yet
            return SpoolCounts(*[0] * 7)

    produce(lambda: counts().frames > 100)  # while it spools
    spooled = read_counts(path)
    assert spooled.frames > 20
    outage.start()
    produce(lambda: counts().drained > 20)  # while it drains, and publishes live
    done = subprocess.run(
        inspection_command("spool", "drain", "--json", "--spool-dir", str(directory), "--bootstrap-servers",
                           outage.kafka.bootstrap_servers),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    [row] = json.loads(done.stdout)["spools"]
    assert (row["frames"], row["dropped"], row["damaged"]) == (0, 0, 0)
    frames = outage.frames(row["appended"])
    by_start: dict[int, set[int]] = {}
    for frame in frames:
        by_start.setdefault(frame.started_at_us, set()).add(frame.sequence)
    first = by_start[min(by_start)]
    # Of the first run, every frame that was on disk when it was killed, in one piece.
    assert first == set(range(len(first)))
    assert len(first) == spooled.frames
    different = len({frame.frame_id for frame in frames})
    assert different >= row["appended"]
    fault_row(
        f"spool ({mode}): producer kill -9 in spool and drain", frames=different, duplicates=len(frames) - different
    )

"""Every frame is accounted for: with a mock cluster that is slow or dies, and with the real broker."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from prometheus_client import CollectorRegistry

from producers import kafka_sender as sender_module
from producers.bounded_queue import Policy
from producers.camera import Capture
from producers.message import PublishedFrame
from producers.options import CameraIdentity, PublisherOptions
from producers.publisher import FramePublisher
from producers.runner import CameraJob, run_cameras
from producers.stats import PublisherMetrics, PublisherStats
from schemas.codec import decode
from schemas.errors import BrokerUnavailable, SettingsError, TopicMissing
from schemas.ids import frame_id
from schemas.records import Encoding, Frame
from schemas.settings import KafkaSettings
from tests.support.s3 import s3_settings, silent_endpoint

IDENTITY = CameraIdentity("line-1", "press", "top")
NOISE = np.random.default_rng(3).integers(0, 256, (120, 160), np.uint8)


def balanced(stats: PublisherStats) -> bool:
    return stats.pending == 0 and stats.captured == stats.published + stats.dropped + stats.failed


def read_all(settings: KafkaSettings, count: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": settings.bootstrap_servers, "group.id": "reader", "log_level": 0})
    try:
        partitions = consumer.list_topics(settings.frames, timeout=10).topics[settings.frames].partitions
        consumer.assign([TopicPartition(settings.frames, p, 0) for p in partitions])
        messages: list[Message] = []
        deadline = time.monotonic() + 20
        while len(messages) < count and time.monotonic() < deadline:
            messages += consumer.consume(count - len(messages), timeout=0.5)
        return messages
    finally:
        consumer.close()


def test_published_frames_and_metrics(mock_kafka: Callable) -> None:
    registry = CollectorRegistry()
    seen: list[PublishedFrame] = []
    with FramePublisher(
        mock_kafka().settings, IDENTITY, metrics=PublisherMetrics(registry), on_published=seen.append
    ) as publisher:
        ids = [publisher.publish(Capture(image=NOISE)) for _ in range(5)]
        assert publisher.flush(10) == 0
    stats = publisher.stats()
    assert (stats.captured, stats.published) == (5, 5)
    assert [frame.frame_id for frame in seen] == ids
    assert [frame.sequence for frame in seen] == [0, 1, 2, 3, 4]
    assert stats.bytes == sum(frame.size_bytes for frame in seen)
    assert stats.latency_ms_p50 is not None
    sample = {"camera": "press/top"}
    assert registry.get_sample_value("inspection_producer_published_total", sample) == 5
    assert registry.get_sample_value("inspection_producer_latency_seconds_count", sample) == 5


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
def test_slow_broker_drops_are_counted(mock_kafka: Callable, policy: Policy) -> None:
    options = PublisherOptions(policy=policy, hand_over_frames=4, in_flight_frames=2)
    with FramePublisher(mock_kafka(round_trip_ms=100).settings, IDENTITY, options) as publisher:
        for _ in range(60):
            publisher.publish(Capture(image=NOISE))
    stats = publisher.stats()
    assert balanced(stats)
    assert stats.captured == 60
    assert stats.dropped_by_reason["queue-full"] > 20
    assert stats.published >= 4


def test_block_loses_nothing(mock_kafka: Callable) -> None:
    options = PublisherOptions(policy="block", hand_over_frames=1, in_flight_frames=1)
    with FramePublisher(mock_kafka(round_trip_ms=20).settings, IDENTITY, options) as publisher:
        assert all(publisher.publish(Capture(image=NOISE)) for _ in range(20))
    assert publisher.stats().published == 20


def test_broker_that_dies(mock_kafka: Callable) -> None:
    mock = mock_kafka()
    publisher = FramePublisher(mock.settings, IDENTITY, PublisherOptions(hand_over_frames=4, in_flight_frames=4))
    publisher.publish(Capture(image=NOISE))
    assert publisher.flush(10) == 0
    mock.stop()
    for _ in range(20):
        publisher.publish(Capture(image=NOISE))
    assert publisher.flush(0.2) > 0
    stats = publisher.close(timeout_s=0.5)
    assert balanced(stats)
    assert stats.published == 1
    assert stats.failed_by_reason == {"undelivered": 4}
    assert publisher.publish(Capture(image=NOISE)) is None
    assert publisher.close() == publisher.stats()
    assert balanced(publisher.stats())


def test_blocked_camera_is_released_by_close(mock_kafka: Callable) -> None:
    mock = mock_kafka()
    options = PublisherOptions(policy="block", hand_over_frames=1, in_flight_frames=1)
    publisher = FramePublisher(mock.settings, IDENTITY, options)
    mock.stop()
    thread = threading.Thread(target=lambda: [publisher.publish(Capture(image=NOISE)) for _ in range(6)])
    thread.start()
    time.sleep(0.1)
    publisher.close(0.1)
    thread.join(5)
    assert not thread.is_alive()
    assert balanced(publisher.stats())
    assert publisher.stats().captured == 6


def test_frame_over_the_limit_is_a_counted_drop(mock_kafka: Callable, caplog: pytest.LogCaptureFixture) -> None:
    with FramePublisher(mock_kafka().settings, IDENTITY) as publisher:
        assert publisher.publish(Capture(encoded=bytes(18 * 1024 * 1024))) is None
    assert publisher.stats().too_large == 1
    assert balanced(publisher.stats())
    assert "is too large" in caplog.text


@pytest.mark.alone
def test_a_silent_image_store_costs_the_camera_one_short_wait(
    mock_kafka: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    options = PublisherOptions(image_store="s3://images", store_above_bytes=1_000)
    with (
        silent_endpoint() as endpoint,
        s3_settings(endpoint),
        FramePublisher(mock_kafka().settings, IDENTITY, options, metrics=PublisherMetrics(registry)) as publisher,
    ):
        waits_s = []
        for capture in [Capture(image=NOISE)] * 20 + [Capture(encoded=bytes(18 * 1024 * 1024))]:
            began = time.monotonic()
            publisher.publish(capture)
            waits_s.append(time.monotonic() - began)
    stats = publisher.stats()
    assert balanced(stats)
    assert (stats.published, stats.too_large) == (20, 1)  # in the frame where it fits, else a counted drop
    assert waits_s[0] < 5
    assert max(waits_s[1:]) < 0.5, waits_s
    sample = {"camera": "press/top"}
    assert registry.get_sample_value("inspection_producer_image_store_away", sample) == 1
    assert registry.get_sample_value("inspection_producer_image_store_missed_total", sample) == 21
    assert sum("image store" in message for message in caplog.messages) == 1


def test_slots_missed_for_the_image_store_are_counted(mock_kafka: Callable) -> None:
    registry = CollectorRegistry()
    options = PublisherOptions(image_store="s3://images", store_above_bytes=0)
    with (
        silent_endpoint() as endpoint,
        s3_settings(endpoint),
        FramePublisher(mock_kafka().settings, IDENTITY, options, metrics=PublisherMetrics(registry)) as publisher,
    ):
        camera = [Capture(image=NOISE)] * 10
        job = CameraJob("press/top", camera, publisher, fps=10, on_missed=publisher.missed)
        (report,) = run_cameras([job])
    assert publisher.stats().published == report.captured == 10
    assert 15 < report.missed < 60
    counted = registry.get_sample_value("inspection_producer_missed_slots_total", {"camera": "press/top"})
    assert counted == report.missed


def test_what_cannot_be_encoded_fails_and_the_next_goes_on(mock_kafka: Callable) -> None:
    with FramePublisher(mock_kafka().settings, IDENTITY) as publisher:
        assert publisher.publish(Capture(image=np.zeros((1, 70_000), np.uint8))) is None
        assert publisher.publish(Capture(image=NOISE, attributes={"n": 3})) is None  # type: ignore[dict-item]
        assert publisher.publish(Capture(image=NOISE)) is not None
    stats = publisher.stats()
    assert (stats.failed_by_reason, stats.published) == ({"unencodable": 2}, 1)


def test_fatal_client_is_replaced(mock_kafka: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sender_module.make_producer
    made = []

    class Fatal:
        def produce(self, *_: object, **__: object) -> None:
            raise KafkaException(KafkaError(KafkaError._FATAL, "lost its state", True))

        def poll(self, _: float) -> int:
            time.sleep(0.01)
            return 0

        def purge(self) -> None: ...

        def flush(self, _: float) -> int:
            return 0

    def make(*arguments: object) -> object:
        made.append(Fatal() if not made else real(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(sender_module, "make_producer", make)
    with FramePublisher(mock_kafka().settings, IDENTITY) as publisher:
        for _ in range(3):
            publisher.publish(Capture(image=NOISE))
    stats = publisher.stats()
    assert (stats.failed, stats.published, len(made)) == (1, 2, 2)


def test_a_callback_that_raises_stops_nothing(mock_kafka: Callable) -> None:
    def raise_error(_: PublishedFrame) -> None:
        raise RuntimeError("page is gone")

    with FramePublisher(mock_kafka().settings, IDENTITY, on_published=raise_error) as publisher:
        for _ in range(3):
            publisher.publish(Capture(image=NOISE))
    assert publisher.stats().published == 3


def test_no_broker_is_said_at_once() -> None:
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:9"):
        FramePublisher(KafkaSettings("127.0.0.1:9"), IDENTITY)


def test_no_topic_is_said_at_once(mock_kafka: Callable) -> None:
    settings = KafkaSettings(mock_kafka().settings.bootstrap_servers, "elsewhere")
    with pytest.raises(TopicMissing, match=r"elsewhere\.frames"):
        FramePublisher(settings, IDENTITY)


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "x" * 101, "two words"])
def test_names_that_would_make_identities_ambiguous(name: str) -> None:
    with pytest.raises(SettingsError, match="letters, digits"):
        CameraIdentity("line", "station", name)


@pytest.mark.broker
def test_a_text_of_the_barcode_reader_is_no_part_id(line: KafkaSettings) -> None:
    """Check that the frame is published without a part id and counted: the gate then uses the frame."""
    with FramePublisher(line, IDENTITY, PublisherOptions(no_part_ids=("NOREAD",))) as publisher:
        for text in ("NOREAD", "noread\n", "", "P-77\r\x00", None):
            publisher.publish(Capture(encoded=b"scrap", part_id=text))
    frames = [decode(message.value(), Frame) for message in read_all(line, 5)]
    assert [frame.part_id for frame in frames] == [None, None, None, "P-77", None]
    assert publisher.stats().no_part_id == 3


@pytest.mark.broker
def test_real_broker_gives_back_what_was_published(line: KafkaSettings) -> None:
    options = PublisherOptions(deadline_ms=250, lot="L7")
    with FramePublisher(line, IDENTITY, options) as publisher:
        first = publisher.publish(
            Capture(image=NOISE, captured_at_us=1_700_000_000_000_000, part_id="P1", attributes={"label": "OK"})
        )
        second = publisher.publish(Capture(encoded=b"scrap"))
    messages = read_all(line, 2)
    frames = [decode(message.value(), Frame) for message in messages]
    assert [frame.frame_id for frame in frames] == [first, second]
    assert first == frame_id("press", "top", frames[0].started_at_us, 0)
    assert (frames[0].part_id, frames[0].lot, frames[0].deadline_ms) == ("P1", "L7", 250)
    assert (frames[0].captured_at_us, frames[0].attributes) == (1_700_000_000_000_000, {"label": "OK"})
    assert frames[0].encoding is Encoding.JPEG
    assert frames[0].sha256 == hashlib.sha256(frames[0].image or b"").hexdigest()
    assert (frames[1].encoding, frames[1].width, frames[1].image) == (Encoding.OTHER, 0, b"scrap")
    assert {message.key() for message in messages} == {b"press/top"}
    ((name, value),) = messages[0].headers()
    assert name == "traceparent"
    assert value.startswith(b"00-")


@pytest.mark.broker
def test_real_broker_takes_the_largest_frame(line: KafkaSettings) -> None:
    with FramePublisher(line, IDENTITY) as publisher:
        publisher.publish(Capture(encoded=bytes(17 * 1024 * 1024 - 64 * 1024)))
    assert publisher.stats().published == 1


@pytest.mark.broker
def test_real_broker_order_of_two_cameras(line: KafkaSettings) -> None:
    # A broker that has just started takes a second for the first frame: nothing may be dropped meanwhile.
    options = PublisherOptions(policy="block")
    publishers = [FramePublisher(line, CameraIdentity("l", "s", name), options) for name in ("a", "b")]
    endless = [iter(lambda: Capture(image=NOISE), None) for _ in publishers]
    jobs = [CameraJob(p.identity.key, c, p, 200, 100) for p, c in zip(publishers, endless, strict=True)]
    assert all(report.ok for report in run_cameras(jobs))
    assert [publisher.close().published for publisher in publishers] == [100, 100]
    frames = [decode(message.value(), Frame) for message in read_all(line, 200)]
    for name in ("a", "b"):
        assert [frame.sequence for frame in frames if frame.camera_id == name] == list(range(100))

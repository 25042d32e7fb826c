"""Frames topics with their own limits: large images go by reference, a refused clock is reported. Real broker."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import transport.producer
from infra.cli.root import app
from operations import publish_labels
from producers import CameraIdentity, Capture, FramePublisher, PublisherOptions
from producers.frame_limit import FrameLimit
from replay import read_topic
from schemas import Frame, KafkaSettings, Label, Verdict
from schemas.clock import ManualClock
from schemas.codec import decode
from schemas.errors import InvalidRecord
from tests.support.topics import set_config
from transport.image_store import ImageStore
from transport.topic_limits import TopicLimits, topic_limits
from transport.topic_setup import plan

pytestmark = pytest.mark.broker


def capture(seed: int, size: int) -> Capture:
    return Capture(image=np.random.default_rng(seed).integers(0, 255, (size, size), np.uint8))


def test_what_the_topic_does_not_take_goes_by_reference(line: KafkaSettings, tmp_path: Path) -> None:
    set_config(line, line.frames, max_message_bytes="1048588")
    store = (tmp_path / "store").as_uri()
    options = PublisherOptions(encode="png", image_store=store)
    with FramePublisher(line, CameraIdentity("l", "s", "c"), options) as publisher:
        for seed, size in enumerate((1_450, 300)):  # 2.1 MB and 90 kB
            assert publisher.publish(capture(seed, size)) is not None
    assert (publisher.stats().published, publisher.stats().dropped) == (2, 0)
    frames = [decode(message.value, Frame) for message in read_topic(line, line.frames)]
    assert [frame.image is None for frame in frames] == [True, False]
    assert frames[0].reference is not None
    image = ImageStore(store).get(frames[0].reference, frames[0].sha256)
    assert hashlib.sha256(image).hexdigest() == frames[0].sha256


def test_without_a_store_the_line_says_the_cure(line: KafkaSettings, caplog: pytest.LogCaptureFixture) -> None:
    set_config(line, line.frames, max_message_bytes="1048588")
    with FramePublisher(line, CameraIdentity("l", "s", "c"), PublisherOptions(encode="png")) as publisher:
        assert publisher.publish(capture(0, 1_450)) is None
        assert publisher.publish(capture(1, 1_000)) is not None  # 1 MB fits, almost to the byte
    assert (publisher.stats().too_large, publisher.stats().published) == (1, 1)
    for words in ("1048588 bytes (max.message.bytes)", "--image-store"):
        assert words in caplog.text


def test_a_limit_that_a_person_raises_counts_without_a_restart(
    line: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Do what the log advises for an image that is too large."""
    monkeypatch.setattr("producers.frame_limit._ASK_AGAIN_S", 0.1)
    set_config(line, line.frames, max_message_bytes="200000")
    with FramePublisher(line, CameraIdentity("l", "s", "c"), PublisherOptions(encode="png")) as publisher:
        assert publisher.publish(capture(0, 600)) is None
        set_config(line, line.frames, max_message_bytes="1048588")
        until_s = time.monotonic() + 20
        while publisher.publish(capture(0, 600)) is None:
            assert time.monotonic() < until_s
            time.sleep(0.1)
    assert publisher.stats().published == 1


def test_a_limit_is_asked_for_again_if_no_broker_answers_after_a_refusal() -> None:
    clock = ManualClock()
    answers = [TopicLimits(max_message_bytes=1_000), TopicLimits(), TopicLimits(max_message_bytes=2_000)]
    limit = FrameLimit(lambda: answers.pop(0), clock)
    limit.renew()
    limit.cure(has_store=False)
    for known in (1_000, 2_000, 2_000):
        clock.advance(10)
        limit.renew()
        assert limit.message_bytes == known


def test_limits_that_are_not_said_are_none(line: KafkaSettings) -> None:
    assert topic_limits(line, line.frames).max_message_bytes == 17 * 1024 * 1024
    assert topic_limits(line, "no.such.topic") == TopicLimits()
    assert topic_limits(KafkaSettings("127.0.0.1:1"), line.frames, 1.0) == TopicLimits()


def test_the_broker_is_asked_again_after_a_refusal_and_not_more_often() -> None:
    from confluent_kafka import KafkaError

    clock, asked = ManualClock(), []
    limit = FrameLimit(lambda: asked.append(1) or TopicLimits(max_message_bytes=1_000_000 * len(asked)), clock)
    limit.renew()
    limit.renew()
    assert (len(asked), limit.message_bytes) == (1, 1_000_000)
    assert "--image-store" in limit.refused(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), has_store=False)
    limit.renew()
    assert len(asked) == 1
    clock.advance(20)
    limit.renew()
    assert (len(asked), limit.message_bytes) == (2, 2_000_000)


def test_a_limit_that_is_unknown_is_asked_for_again_in_another_thread() -> None:
    clock, answers, threads = ManualClock(), [TopicLimits(), TopicLimits(max_message_bytes=2_000_000)], []
    asked = threading.Semaphore(0)

    def ask() -> TopicLimits:
        threads.append(threading.current_thread())
        asked.release()
        return answers.pop(0)

    limit = FrameLimit(ask, clock)
    for seconds in (0, 5, 5, 100):  # the first try finds no broker, the third is due; once known, never again
        clock.advance(seconds)
        limit.renew_soon()
        for thread in threads:
            thread.join(20)
        if seconds == 0:
            assert asked.acquire(timeout=20)
            threads[0].join(20)
            # With a store, what might not fit goes there meanwhile; without, it is sent.
            assert (limit.takes_image(1_500_000), limit.takes_record(1_500_000)) == (False, True)
        elif seconds == 5 and clock.monotonic_s() >= 10:
            assert asked.acquire(timeout=20)
            threads[1].join(20)
    assert len(threads) == 2
    assert threading.current_thread() not in threads
    assert (limit.message_bytes, limit.takes_image(1_500_000)) == (2_000_000, True)


def test_frames_that_fit_alone_are_not_lost_with_a_batch_that_is_too_large(
    line: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_config(line, line.frames, max_message_bytes="200000")
    monkeypatch.setattr("producers.publisher.FrameLimit.renew", lambda self: None)  # not known at the start
    monkeypatch.setattr("producers.publisher.FrameLimit.renew_soon", lambda self: None)
    options = PublisherOptions(encode="png", hand_over_frames=200)
    with FramePublisher(line, CameraIdentity("l", "s", "c"), options) as publisher:
        offered = [publisher.publish(capture(seed, 200)) for seed in range(60)]  # 40 kB each
        assert publisher.publish(capture(99, 600)) is not None  # 360 kB: never
        assert publisher.flush(40) == 0
    stats = publisher.stats()
    assert None not in offered
    assert (stats.published, stats.dropped, stats.failed) == (60, 1, 0)


@pytest.mark.long
def test_a_clock_that_the_broker_refuses_is_said_and_ends_with_a_status(
    line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The broker takes what it gets within the millisecond, so each frame waits some before it leaves.
    monkeypatch.setattr(transport.producer, "_COMMON", {**transport.producer._COMMON, "linger.ms": 20})
    set_config(line, line.frames, message_timestamp_before_max_ms="0")
    [state] = [each for each in plan(line) if each.name == line.frames]
    assert [each.key for each in state.differences] == ["message.timestamp.before.max.ms"]
    arguments = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix, "--camera", "synthetic"]
    arguments += ["--frames", "5", "--spool-dir", str(tmp_path / "spool")]
    with caplog.at_level(logging.WARNING):
        began_s = time.monotonic()
        result = CliRunner().invoke(app, ["produce", *arguments])
    assert result.exit_code != 0
    assert "5 left in the spool" in result.output
    assert "clock is more than 60 min ahead of the broker's or more than 0 min behind" in str(result.exception)
    assert "set it right" in caplog.text
    assert time.monotonic() - began_s < 60
    # After the topic is corrected, the frames in the spool are sent.
    set_config(line, line.frames, message_timestamp_type="LogAppendTime")
    result = CliRunner().invoke(app, ["produce", *arguments])
    assert "5 of earlier runs sent from the spool" in result.output
    assert result.exit_code == 0


def test_what_no_reader_takes_is_not_written(line: KafkaSettings, caplog: pytest.LogCaptureFixture) -> None:
    with FramePublisher(line, CameraIdentity("l", "s", "c"), PublisherOptions(encode="png")) as publisher:
        large = Capture(image=np.zeros((8, 8), np.uint8), attributes={"note": "n" * 70_000})
        assert publisher.publish(large) is None
    assert publisher.stats().failed_by_reason == {"unencodable": 1}
    assert "names and attributes take" in caplog.text
    label = Label(
        label_id="l1", station="s", camera_id="c", part_id="P-1", truth=Verdict.OK, labelled_at_us=1,
        labelled_by="ada", note="n" * 70_000,
    )  # fmt: skip
    with pytest.raises(InvalidRecord, match="shorten its note"):
        publish_labels(line, [label])

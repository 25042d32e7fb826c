"""Cameras with names from any writer: their number is bounded, in memory, in metrics and in the log."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from monitoring.drift import DriftOptions
from monitoring.drift.concept import EventOrigin
from monitoring.shelf import SETTLES_AFTER, Shelf
from schemas.clock import ManualClock
from schemas.codec import Codec, encode
from schemas.records import Decision, Label, Verdict
from schemas.settings import KafkaSettings
from stream_processors.faust_host.messages import ReceivedMessage
from stream_processors.watch import publisher
from stream_processors.watch.app import _Watching
from stream_processors.watch.camera import UNWATCHED, WatchedCamera
from stream_processors.watch.metrics import WatchMetrics
from stream_processors.watch.notify import Notifier
from stream_processors.watch.publisher import EventPublisher
from stream_processors.watch.settings import WatchSettings
from tests.support.quality_records import make_label
from tests.support.streams import REFERENCE, decision, rows
from tests.support.trust_folders import Keys
from transport.belief import SignaturePolicy, make_belief
from transport.deaths import Deaths
from transport.metric_labels import MOST_NAMES
from transport.public_keys import SignerRole
from transport.range_reader import read_topic
from transport.signatures import SIGNATURE_HEADER

NOW_US = 1_795_000_000_000_000
ROWS = list(rows(300, 1))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def camera(key: str = "press/top", clock: ManualClock | None = None) -> WatchedCamera:
    return WatchedCamera(key, lambda model, product: REFERENCE, DriftOptions(), clock or ManualClock(NOW_US), 24)


def test_a_worker_with_a_clock_of_long_ago_is_watched(caplog: pytest.LogCaptureFixture) -> None:
    """Check that a wrong clock blinds no watch; only what lies in the topic at the start is history."""
    watched = camera(clock=ManualClock(NOW_US + 2 * 86_400_000_000))
    watched.past_ends = {"d": 150}
    for offset, row in enumerate(ROWS):
        watched.decision(decision(offset, row), EventOrigin("d", 0, offset, NOW_US))
    assert (watched.watch.counts["history"], watched.watch.counts["watched"]) == (150, 150)
    assert watched.watch.counts["long-ago"] == 150
    assert watched.unwatched == 0
    assert caplog.text.count("have a time of long ago") == 1


def test_a_flood_of_invented_names_leaves_the_real_ones():
    shelf = Shelf[str](100)
    real = [f"press/cam{number}" for number in range(3)]
    gone = []
    for number in range(20_000):
        gone += shelf.see(f"invented/{number}", "invented")
        gone += shelf.see(real[number % 3], "real")
    assert len(shelf) <= 110
    assert all(shelf.get(name) == "real" for name in real)
    assert {value for _, value in gone} == {"invented"}


def test_a_settled_name_goes_only_for_another_settled_one():
    shelf = Shelf[int](2, spare=lambda value: value == 1)
    for name, value in (("a", 1), ("b", 2), ("c", 3)):
        gone = [one for _ in range(SETTLES_AFTER) for one in shelf.see(name, value)]
    assert gone == [("b", 2)]  # the camera unseen for longest, apart from spared ones
    assert [name for name, _ in shelf.items()] == ["a", "c"]
    shelf.drop("a")
    assert len(shelf) == 1
    assert shelf.get("a") is None


def make_watching(settings: WatchSettings) -> tuple[_Watching, Codec]:
    codec = Codec.from_settings(settings.kafka)
    watching = _Watching(
        settings,
        lambda model, product: REFERENCE,
        WatchMetrics(),
        Notifier(None, logging.getLogger()),
        ManualClock(NOW_US),
        codec,
        EventPublisher(settings.kafka),
        Deaths(None),
        lambda batch: None,
    )
    watching._waiting[0] = {}
    return watching, codec


def test_neither_cameras_with_long_names_nor_lines_about_them_pile_up(caplog: pytest.LogCaptureFixture):
    watching, codec = make_watching(WatchSettings())
    for offset in range(300):
        one = decision(offset, ROWS[0], station=f"{offset}" + "x" * 300_000, decided_at_us=NOW_US)
        for value in (encode(one), b"no decision"):
            message = ReceivedMessage("d", 0, offset, 1.0, None, value, {})
            asyncio.run(watching._take(message, lambda value: codec.decode(value, Decision)))
    assert not list(watching._cameras.items())
    unreadable = watching._metrics.unreadable
    assert unreadable.labels("names-too-long")._value.get() == 300
    assert len(caplog.records) <= 20


def test_what_an_unpublished_event_tears_cannot_be_settled():
    watching, _ = make_watching(WatchSettings())

    async def settle() -> None:
        await watching.settle()
        watching._is_torn = True
        await watching.flush()
        await watching.settle()

    with pytest.raises(RuntimeError, match="an event was not published"):
        asyncio.run(settle())


def test_a_new_camera_is_settled_after_twenty_messages_and_not_before():
    """As Faust hands them over; the state topic has nothing."""
    watching, codec = make_watching(WatchSettings(max_cameras=1))
    offsets = itertools.count()

    def take(station: str, count: int) -> None:
        for offset in itertools.islice(offsets, count):
            one = decision(offset, ROWS[0], station=station, decided_at_us=NOW_US)
            message = ReceivedMessage("d", 0, offset, 1.0, None, encode(one), {})
            asyncio.run(watching._take(message, lambda value: codec.decode(value, Decision)))

    def kept() -> list[str]:
        return [one.key.partition("/")[0] for _, one in watching._cameras.items()]

    take("real", SETTLES_AFTER)
    take("new", SETTLES_AFTER - 1)
    assert kept() == ["real", "new"]
    take("newer", 1)
    assert kept() == ["real", "newer"]
    take("newer", SETTLES_AFTER - 1)
    assert kept() == ["newer"]


@pytest.mark.parametrize(("policy", "used"), [("require", 1), ("warn", 5)])
def test_labels_without_the_signature_of_an_operator(keys: Keys, policy: str, used: int):
    """Give it a label that is signed, and four that are not, or by another role, for another camera, too late."""
    signers = [None, keys.make("w", SignerRole.WORKER), keys.make("side", SignerRole.OPERATOR, "press/side")]
    old, operator = keys.make("old", SignerRole.OPERATOR), keys.make("ann", SignerRole.OPERATOR)
    keys.change("old", "not_after: 2026-01-01T00:00:00Z")
    settings, metrics = WatchSettings(), WatchMetrics()
    codec = Codec.from_settings(settings.kafka)
    fault = metrics.signature_faults
    belief = make_belief(keys.trust, SignaturePolicy(policy), lambda _, why: fault.labels(why).inc())
    watching = _Watching(
        settings,
        lambda model, product: REFERENCE,
        metrics,
        Notifier(None, logging.getLogger()),
        ManualClock(NOW_US),
        codec,
        EventPublisher(settings.kafka),
        Deaths(None),
        lambda batch: None,
        belief,
    )
    watching._waiting[0] = {}
    topic = settings.kafka.labels
    for offset, signer in enumerate([*signers, old, operator]):
        value = encode(make_label(offset, Verdict.OK, station="press", camera_id="top"))
        headers = {} if signer is None else {SIGNATURE_HEADER: signer.sign(topic, b"press/top", value)}
        message = ReceivedMessage(topic, 0, offset, NOW_US / 1e6, b"press/top", value, headers)
        asyncio.run(watching._take(message, lambda value: codec.decode(value, Label)))
    [camera] = [camera for _, camera in watching._cameras.items()]
    assert camera.quality.quality.counts.labels == used
    faults = {
        sample.labels["why"]: sample.value
        for sample in next(iter(fault.collect())).samples
        if sample.name.endswith("_total")
    }
    assert faults == {"unsigned": 1, "wrong-role": 1, "wrong-camera": 1, "key-not-valid-now": 1}


def test_metrics_of_invented_cameras_are_bounded_and_go_with_them():
    metrics = WatchMetrics()
    kept = camera("press/top")
    kept.decision(decision(0, ROWS[0], decided_at_us=NOW_US), EventOrigin("d", 0, 0, NOW_US))
    metrics.show(kept, 10)
    one = camera("x" * 500_000)
    for number in range(2000):
        one.key = f"{number}" + "x" * 200
        metrics.show(one, 10)
    text = generate_latest(metrics.registry)
    assert len(text) < 300_000
    assert b'camera="press/top"' in text
    assert b'camera="other"' in text
    for number in range(2000):
        one.key = f"{number}" + "x" * 200
        metrics.forget(one)
    one.key = "saw/top"
    metrics.show(one, 10)
    text = generate_latest(metrics.registry)
    assert b'camera="saw/top"' in text
    assert b'camera="1xxx' not in text


def test_a_camera_without_a_label_of_its_own_goes_without_the_figures_of_others():
    """Forget one of the cameras that share a label, when there is room for labels again."""
    metrics = WatchMetrics()
    one = camera()
    for number in range(MOST_NAMES + 2):
        one.key = f"cam/{number}"
        metrics.show(one, 10)
    for number in (0, MOST_NAMES):
        one.key = f"cam/{number}"
        metrics.forget(one)
    assert metrics.registry.get_sample_value("inspection_watch_state_bytes", {"camera": "cam/0"}) is None
    assert metrics.registry.get_sample_value("inspection_watch_state_bytes", {"camera": "other"}) == 10


def test_a_camera_that_is_not_watched_is_said(caplog):
    clock = ManualClock(NOW_US)
    watched, metrics = camera(clock=clock), WatchMetrics()
    with caplog.at_level(logging.INFO):
        for number in range(UNWATCHED + 50):
            one = decision(number, ROWS[number], decided_at_us=NOW_US, model_stage="challenger")
            watched.decision(one, EventOrigin("d", 0, number, NOW_US))
    [line] = [record.getMessage() for record in caplog.records]
    assert line == "press/top: the last 100 decisions were not watched for drift: not-champion 100"
    metrics.show(watched, 1)
    assert metrics.about == {"not_watched": {"press/top": 150}}
    watched.decision(decision(1000, ROWS[0], decided_at_us=NOW_US), EventOrigin("d", 0, 1000, NOW_US))
    metrics.show(watched, 1)
    assert (watched.unwatched, metrics.about) == (0, {"not_watched": {}})


def test_resets_of_each_decision_are_said_once_a_minute(caplog):
    watched = camera()
    with caplog.at_level(logging.INFO):
        for number in range(200):
            one = decision(number, ROWS[number], decided_at_us=NOW_US, model_sha256=f"m{number % 3}")
            watched.decision(one, EventOrigin("d", 0, number, NOW_US))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "reset: model" in said[0]
    assert said[1] == "press/top: the last 100 decisions were not watched for drift: after-reset 100"
    assert watched.watch.counts["resets"] == watched.unwatched == 199


def test_a_changeover_alone_is_no_blindness():
    watched = camera()
    unwatched = []
    for number in range(260):
        one = decision(number, ROWS[number], decided_at_us=NOW_US, model_sha256=f"m{number // 100}")
        watched.decision(one, EventOrigin("d", 0, number, NOW_US))
        unwatched.append(watched.unwatched)
    assert max(unwatched) == unwatched[198] == UNWATCHED - 1
    assert unwatched[99] == unwatched[199] == 0


def test_a_warm_up_without_an_end_is_said(caplog):
    options = DriftOptions(warm_up_s=60, warm_up_gap_s=10)
    watched = WatchedCamera("press/top", lambda model, product: REFERENCE, options, ManualClock(NOW_US), 24)
    metrics = WatchMetrics()
    with caplog.at_level(logging.INFO):
        for number in range(120):
            at_us = NOW_US + number * 12_000_000
            one = decision(number, ROWS[number], captured_at_us=at_us, decided_at_us=at_us)
            watched.decision(one, EventOrigin("d", 0, number, at_us))
    metrics.show(watched, 1)
    assert metrics.about == {"not_watched": {"press/top": 120}}
    assert "a warm-up follows another one" in caplog.records[0].getMessage()
    assert caplog.records[0].levelno == logging.WARNING
    assert watched.watch.counts["warm-up-again"] == 119


def test_names_that_are_too_long_are_counted_and_not_kept():
    watched = camera()
    for number, name in enumerate(("part_id", "lot", "frame_id", "recipe_id")):
        one = decision(number, ROWS[0], decided_at_us=NOW_US, **{name: "x" * 100_000})
        watched.decision(one, EventOrigin("d", 0, number, NOW_US))
    watched.decision(
        decision(9, ROWS[0], decided_at_us=NOW_US, attributes={"product": "x" * 100_000}),
        EventOrigin("d", 0, 9, NOW_US),
    )
    watched.label(make_label(1, Verdict.OK, defect="x" * 100_000), EventOrigin("l", 0, 0, NOW_US))
    assert watched.watch.counts["names-too-long"] == 5
    assert watched.watch.counts["label-names-too-long"] == 1
    assert len(watched.snapshot()) < 20_000


def test_a_label_of_the_future_is_counted():
    watched = camera()
    watched.label(make_label(1, Verdict.OK, at=4_102_444_800_000_000), EventOrigin("l", 0, 0, NOW_US, NOW_US - 5))
    assert watched.watch.counts["future-labels"] == 1


def test_two_producers_with_one_name_are_a_fault_that_is_named(caplog) -> None:
    watched = camera()
    for number in range(40):
        one = decision(
            number, ROWS[number], started_at_us=NOW_US - 1000 - number % 2, captured_at_us=NOW_US,
            decided_at_us=NOW_US, frame_id=f"press.top.{number % 2}.{number}",
        )  # fmt: skip
        watched.decision(one, EventOrigin("decisions", 0, number, NOW_US))
    assert watched.watch.counts["watched"] == 20
    assert [record.levelname for record in caplog.records if "two producers" in record.message] == ["WARNING"]


@pytest.mark.broker
def test_a_topic_that_refuses_the_clock_of_the_watch_gets_other_timestamps(
    line: KafkaSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that a watch whose clock is two hours ahead publishes its events and snapshots."""
    monkeypatch.setattr(publisher, "at_ms", lambda clip_s: round((time.time() + 7200 + (clip_s or 0)) * 1000))

    async def send() -> None:
        with EventPublisher(line) as events:
            for topic in (line.drift, line.drift_state):
                await asyncio.gather(*[await events.send(topic, b"press/top", b"%d" % n) for n in range(20)])

    asyncio.run(send())
    for topic in (line.drift, line.drift_state):
        assert {message.value for message in read_topic(line, topic)} == {b"%d" % n for n in range(20)}
        assert f"{topic} does not take the timestamps of this machine's clock" in caplog.text

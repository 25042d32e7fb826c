"""Any bytes in the state topic: refused with a line, or accepted and resumed from. Nothing raises; drift is found."""

from __future__ import annotations

import json
import logging
import random
import struct
import zlib

import pytest
from confluent_kafka import Producer
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from monitoring.bounded_json import parse
from monitoring.drift import CameraWatch, DriftOptions, StateError
from monitoring.drift.adwin_state import checked_adwin_state
from monitoring.drift.concept import EventOrigin
from monitoring.quality.snapshot import pack, unpack
from schemas.clock import ManualClock
from schemas.records import Action, EpisodeState, Verdict
from schemas.settings import KafkaSettings
from stream_processors.watch.camera import WatchedCamera
from stream_processors.watch.state import FoundSnapshots, Snapshot, SnapshotError, read_snapshots
from tests.support.hostile_snapshots import DEEP, ODD, changed, hostile, paths
from tests.support.quality_records import make_label
from tests.support.streams import REFERENCE, decision, rows, unpacked

USUAL, DARK = list(rows(300, 1)), list(rows(40, 2, {"brightness": -4.0}))
NOW_US = 1_000_000_000


ODD_NUMBERS = {
    "<Q": [0, 1, 6, 7, 2**63],
    "<d": [-1.0, 0.0, 1.0, 5e-324, 1e308, float("nan")],
    "<i": [-1, 0, 1, 2**31 - 1],
}


def camera() -> WatchedCamera:
    return WatchedCamera("press/top", lambda model, product: REFERENCE, DriftOptions(), ManualClock(NOW_US), 24)


def feed(watched: WatchedCamera, signals: list[dict[str, float]], begin: int = 0) -> list[EpisodeState]:
    said = []
    for number, row in enumerate(signals, begin):
        product = {"product": "AB"[number % 2]}
        one = decision(number, row, station="press", camera_id="top", attributes=product, decided_at_us=NOW_US)
        said += [event.state for event in watched.decision(one, EventOrigin("d", 0, number, NOW_US))]
    return said


def lived_in() -> WatchedCamera:
    """Return a camera with two products, an open episode, labels, and an open episode of concept drift."""
    watched = camera()
    feed(watched, USUAL)
    feed(watched, DARK, len(USUAL))
    for number in range(400):
        is_bad = number > 300 and number % 2 == 0
        product = {"product": "AB"[number % 2]}
        one = decision(1000 + number, {}, action=Action.ACCEPT, verdict=Verdict.OK, decided_at_us=NOW_US, part_id=None,
                       frame_id=f"l{number}", decision_id=f"l{number}", attributes=product)  # fmt: skip
        watched.decision(one, EventOrigin("d", 0, 1000 + number, NOW_US))
        label = make_label(number, Verdict.NOT_OK if is_bad else Verdict.OK, frame_id=f"l{number}",
                           sampled_because="random")  # fmt: skip
        watched.label(label, EventOrigin("l", 0, number, NOW_US))
    assert watched.watch.in_episode
    return watched


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Snapshot.loads(lived_in().snapshot())


def goes_on(snapshot: Snapshot) -> None:
    """Check that the camera takes more decisions and labels, finds drift, and can be saved."""
    watched = camera()
    watched.restore(snapshot)
    feed(watched, USUAL[:5], 10_000)
    feed(watched, DARK[:20], 10_005)
    watched.label(make_label(1, Verdict.NOT_OK, 500, frame_id="l1"), EventOrigin("l", 0, 9000, NOW_US))
    again = camera()
    again.restore(Snapshot.loads(watched.snapshot()))
    assert again.watch.counts["watched"] >= 20
    watched.close()
    again.close()


def test_a_true_snapshot_is_taken_whole(snapshot, caplog):
    watched = camera()
    with caplog.at_level(logging.WARNING):
        watched.restore(snapshot)
    assert caplog.records == []
    assert watched.watch.state() == snapshot.states["data"]
    assert watched.in_episode
    concept = json.loads(snapshot.states["concept"])
    assert concept["open"], "no episode of concept drift: the test shows nothing"


@pytest.mark.parametrize("name", hostile("d"))
def test_hostile_snapshots_are_void_or_begin_from_scratch(name, caplog):
    found = FoundSnapshots(lambda: {"d": 100, "l": 100})
    found.add(b"press/top", hostile("d")[name])
    watched = camera()
    if name in ("infinity", "huge offset", "negative offset", "negative length", "deep", "utf-16", "length beyond",
                "far ahead", "a little ahead"):  # fmt: skip
        assert not found.found
        assert list(found.void) == ["press/top"]
    else:
        with caplog.at_level(logging.WARNING):
            watched.restore(found.found["press/top"])
        assert "from scratch" in caplog.text
    feed(watched, USUAL[:10])
    assert watched.watch.counts["watched"] == 10
    assert watched.unwatched <= 1  # the second of two products has begun a few decisions ago


@pytest.mark.long
def test_every_value_of_a_true_state_may_be_any_other(snapshot):
    """Test a part of all places and odd values, drawn with a seed: all of them would take minutes."""
    chance = random.Random(7)
    data = unpacked(snapshot.states["data"])
    concept, quality = json.loads(snapshot.states["concept"]), unpack(snapshot.states["quality"])
    refused = 0
    for plain, name in ((data, "data"), (concept, "concept"), (quality, "quality")):
        places = list(paths(plain))
        for place in chance.sample(places, min(12, len(places))):
            other = changed(plain, place, chance.choice(ODD))
            text = json.dumps(other).encode()
            state = {"data": zlib.compress(text), "concept": text, "quality": b"\x01" + zlib.compress(text)}[name]
            if name == "data":
                try:
                    CameraWatch.restored(state, lambda model, product: REFERENCE)
                except StateError:
                    refused += 1
                    continue
            goes_on(Snapshot(snapshot.offsets, {**snapshot.states, name: state}))
    assert refused > 0


@given(st.data())
@settings(max_examples=60)
def test_flipped_bytes_of_a_snapshot_never_raise(data):
    given_bytes = bytearray(_SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        given_bytes[data.draw(st.integers(0, len(given_bytes) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        snapshot = Snapshot.loads(bytes(given_bytes))
    except SnapshotError:
        return
    watched = camera()
    watched.restore(snapshot)
    feed(watched, USUAL[:3])
    watched.close()


def _small() -> bytes:
    watched = camera()
    feed(watched, USUAL[:60])
    return watched.snapshot()


_SMALL = _small()


def test_no_state_of_adwin_makes_river_panic():
    """Change numbers of a true state, as if its checksum were right: accepted states are resumed from."""
    chance = random.Random(5)
    detector = drift.ADWIN(delta=1e-6, clock=32)
    fresh = detector._helper.__getstate__()
    for _ in range(3000):
        detector.update(chance.random())
    state = detector._helper.__getstate__()
    assert checked_adwin_state(state, fresh) == state
    passed = 0
    for _ in range(3000):
        other = bytearray(state)
        place = chance.randrange(0, len(other) - 8, 4)
        kind = chance.choice(["<Q", "<d", "<i"])
        value = chance.choice(ODD_NUMBERS[kind])
        struct.pack_into(kind, other, place, value)
        try:
            checked = checked_adwin_state(bytes(other), fresh)
        except ValueError:
            continue
        passed += 1
        going_on = drift.ADWIN(delta=1e-6, clock=32)
        going_on._helper.__setstate__(checked)
        for number in range(200):
            going_on.update(number % 2)
        assert going_on.width <= 3200
    assert passed > 0


def test_a_state_cannot_make_adwin_deaf():
    deaf, ours = drift.ADWIN(delta=1e-300, clock=2**30), drift.ADWIN(delta=1e-3, clock=32)
    for _ in range(500):
        deaf.update(0.0)
    fresh = ours._helper.__getstate__()
    ours._helper.__setstate__(checked_adwin_state(deaf._helper.__getstate__(), fresh))
    found = False
    for _ in range(200):
        ours.update(1.0)
        found = found or ours.drift_detected
    assert found


def test_memory_of_a_state_is_bounded_before_it_is_parsed():
    with pytest.raises(ValueError, match="lists and objects"):
        parse(b"[" + b"[]," * 300_000 + b"[]]", 16_000_000)
    with pytest.raises(ValueError, match="nested deeper"):
        parse(b'["\\"[[", ' + DEEP, 16_000_000)
    with pytest.raises(ValueError, match="at most 10"):
        parse(bytes(11), 10)
    names = b",".join(b'"%d":0' % number for number in range(300_000))  # one bracket alone
    with pytest.raises(ValueError, match="strings"):
        parse(b"{" + names + b"}", 16_000_000)


@pytest.mark.parametrize("text", [b'"' + b'\\"' * 200_000, b'["' * 100_000, b'"\\\n' * 100_000 + b"\\"])
def test_texts_that_are_no_json_take_no_time(text):
    """Parse texts that take minutes with an expression that retries from each quote."""
    with pytest.raises(ValueError):  # noqa: PT011
        parse(b"[" * 30 + b"[]," * 10 + text, 16_000_000)


def test_snapshots_of_invented_cameras_are_bounded_when_they_are_read():
    found = FoundSnapshots(lambda: {"d": 100}, most=50)
    real = Snapshot({"d": 9}, {"data": b"real"})
    found.add(b"press/early", Snapshot({"d": 1}, {}).dumps())
    for number in range(20_000):
        found.add(b"invented/%d" % number, Snapshot({"d": 1}, {}).dumps())
    found.add(b"press/top", real.dumps())
    assert len(found.found) == 50
    assert found.found["press/top"] == real
    assert "press/early" in found.dropped
    assert len(found.dropped) <= 10_000
    found.add(b"press/top", None)
    assert "press/top" not in found.found


def test_an_evicted_camera_that_comes_back_or_is_removed_needs_no_removal():
    """Read snapshots of three cameras in turn, with room for two: those that are kept must stay in the topic."""
    found = FoundSnapshots(lambda: {"d": 100}, most=2)
    for offset in range(4):
        for camera in (b"press/a", b"press/b", b"press/c"):
            found.add(camera, Snapshot({"d": offset}, {}).dumps())
    assert list(found.found) == ["press/b", "press/c"]
    assert list(found.dropped) == ["press/a"]
    found.add(b"press/a", None)
    assert not found.dropped


def test_an_offset_beyond_the_end_is_void_until_the_end_is_there():
    ends = {"d": 10}
    found = FoundSnapshots(lambda: dict(ends))
    true, later = Snapshot({"d": 10}, {"data": b"true"}), Snapshot({"d": 15}, {"data": b"later"})
    found.add(b"press/top", true.dumps())
    found.add(b"press/top", later.dumps())
    assert (found.found["press/top"], found.voided) == (true, 1)
    assert "beyond its end, 10" in found.void["press/top"]
    ends["d"] = 15  # another process has read further while this one reads
    found.add(b"press/top", later.dumps())
    assert found.found["press/top"] == later


def test_offsets_of_topics_that_nobody_reads_make_no_snapshot_the_newest():
    found = FoundSnapshots(lambda: {"d": 100})
    found.add(b"press/top", Snapshot({"other": 2**60}, {"data": b"forged"}).dumps())
    true = Snapshot({"d": 5}, {"data": b"true"})
    found.add(b"press/top", true.dumps())
    assert found.found["press/top"] == true


def test_episodes_of_another_camera_are_not_taken(caplog):
    concept = json.dumps({"identity": ["line", "other", "camera"], "open": {}}).encode()
    watched = camera()
    with caplog.at_level(logging.WARNING):
        watched.restore(Snapshot({"d": 1}, {"data": CameraWatch(lambda m, p: None).state(), "concept": concept}))
    assert "they are of other/camera" in caplog.text


def test_packed_states_are_read():
    assert unpack(pack({"a": [1]})) == {"a": [1]}


def test_a_topic_that_was_made_anew_makes_its_snapshots_void():
    found = FoundSnapshots(lambda: {"d": 100}, ids={"d": "id-2"})
    found.add(b"press/top", Snapshot({"d": 50}, {}, {"d": "id-1"}).dumps())
    assert "was deleted" in found.void["press/top"]
    for snapshot in (Snapshot({"d": 50}, {}, {"d": "id-2"}), Snapshot({"d": 60}, {})):
        found.add(b"press/top", snapshot.dumps())
        assert found.found["press/top"] == snapshot


@pytest.mark.broker
def test_the_state_is_the_newest_one(line: KafkaSettings) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True})
    older, newer = Snapshot({"d": 5}, {"data": b"old"}), Snapshot({"d": 9, "l": 1}, {"data": b"new"})
    # A process that had lost its partition writes late.
    for value in (newer.dumps(), older.dumps(), b"junk"):
        producer.produce(line.drift_state, value, "press/top", partition=2)
    assert producer.flush(20) == 0
    assert read_snapshots(line, 2) == {"press/top": newer}
    assert read_snapshots(line, 3) == {}

"""A selection gives exactly the frames that are meant, whatever order they lie in."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from infra.broker import LocalBroker
from monitoring.drift.episodes import NoSuchEpisode
from replay.past.decision_index import DecisionIndex
from replay.past.reads import empty_selection_error, read_frames, read_labels, recorded_frames
from replay.past.replayed_frame import ReplayedFrame
from replay.past.resolved_selection import EmptySelection, ResolvedSelection
from replay.past.selection import Selection, TimeBasis
from replay.past.source import Source
from schemas import Action, DriftEvent, DriftKind, DriftType, EpisodeState, KafkaSettings, ResultState
from schemas.codec import encode
from schemas.errors import BrokerUnavailable, SettingsError, TopicMissing
from tests.support.past import CAMERAS, EPOCH_US, Past, make_decision, make_frame, publish_past
from tests.support.transactions import abort_transaction
from transport.offset_ranges import holds
from transport.stored_message import MessagePosition

COUNT = 240


@pytest.fixture(scope="module")
def past(broker: LocalBroker) -> Past:
    from confluent_kafka.admin import AdminClient, NewTopic

    from schemas.topics import TOPICS

    prefix = f"past-{random.randrange(10**12)}"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    wanted = [NewTopic(topic.name(prefix), topic.partitions, 1, config=topic.config) for topic in TOPICS]
    for created in admin.create_topics(wanted).values():
        created.result(20)
    return publish_past(KafkaSettings(broker.bootstrap_servers, prefix), COUNT)


def select(past: Past, **what: object) -> set[MessagePosition]:
    """Places that a selection gives, each once, with the right decision."""
    with ResolvedSelection(Source(past.kafka), Selection(**what)) as resolved:
        found = list(resolved.frames())
        assert all(holds(resolved.ranges, frame.position.partition, frame.position.offset) for frame, _ in found)
    for frame, decision in found:
        timestamp_us, record, recorded = past.rows[frame.position]
        assert (frame.timestamp_us, frame.record, decision) == (timestamp_us, record, recorded)
    places = [frame.position for frame, _ in found]
    assert len(places) == len(set(places))
    return set(places)


@pytest.mark.broker
class TestOnTheBroker:
    def test_everything(self, past):
        assert select(past) == set(past.rows)

    @pytest.mark.parametrize("clock", TimeBasis)
    @pytest.mark.parametrize(("begin_s", "end_s"), [(0, 240), (60, 61), (100, 180), (None, 100), (100, None), (7, 8)])
    def test_a_time_is_exact_at_both_ends(self, past, clock, begin_s, end_s):
        begin_us, end_us = (None if at is None else EPOCH_US + at * 1_000_000 for at in (begin_s, end_s))

        def is_inside(timestamp_us, frame, _):
            at_us = timestamp_us if clock is TimeBasis.KAFKA else frame.captured_at_us
            return (begin_us is None or at_us >= begin_us) and (end_us is None or at_us < end_us)

        wanted = past.places(is_inside)
        assert wanted, "the test selects something"
        assert select(past, from_us=begin_us, to_us=end_us, time_basis=clock) == wanted
        late_us = 45_000_000
        assert select(past, from_us=begin_us, to_us=end_us, time_basis=clock, late_by_us=late_us) == wanted

    def test_one_millisecond_more_or_less(self, past):
        at_us = next(iter(past.rows.values()))[0]
        assert len(select(past, from_us=at_us, to_us=at_us + 1000)) == 1
        assert select(past, from_us=at_us + 1000, to_us=at_us + 2000) == set()

    def test_reading_ends_where_nothing_is_later(self, past):
        end_us = EPOCH_US + 60_000_000
        totals = []
        for late_by_us in (None, 45_000_000):
            with ResolvedSelection(Source(past.kafka), Selection(to_us=end_us, late_by_us=late_by_us)) as resolved:
                totals.append(resolved.frames_total)
        assert totals[1] < totals[0] * 0.7

    def test_cameras_lots_parts_frames_offsets(self, past):
        assert select(past, cameras=CAMERAS[:2]) == past.places(lambda _, f, __: f.key in CAMERAS[:2])
        assert select(past, lots=("L1",), cameras=CAMERAS[1:]) == past.places(lambda _, f, __: f.lot == "L1")
        assert select(past, parts=("P7",)) == past.places(lambda _, f, __: f.part_id == "P7")
        frame = next(iter(past.rows.values()))[1]
        assert select(past, frames=(frame.frame_id,)) == past.places(lambda _, f, __: f == frame)
        assert {(p.partition, p.offset) for p in select(past, offsets={2: (3, 6), 1: (0, 9)})} == {
            (2, 3),
            (2, 4),
            (2, 5),
        }

    @pytest.mark.parametrize("word", ["REJECT", "NOT_OK", "REVIEW", "OK"])
    def test_what_was_decided(self, past, word):
        wanted = past.places(lambda _, __, d: word in (d.verdict, d.action))
        assert 0 < len(wanted) < COUNT
        assert select(past, decided_as=(word,)) == wanted

    @pytest.mark.parametrize("count", [10, *(pytest.param(each, marks=pytest.mark.long) for each in (1, 100, 10_000))])
    @pytest.mark.parametrize(
        "what", [{}, {"cameras": CAMERAS[2:]}, {"decided_as": ("REJECT",)}, {"lots": ("L0", "L2")}]
    )
    def test_the_last_frames(self, past, count, what):
        fitting = select(past, **what)
        newest = sorted(fitting, key=lambda place: (past.rows[place][0], place.partition, place.offset))[-count:]
        assert select(past, last=count, **what) == set(newest)

    def test_going_on_where_another_run_ended(self, past):
        with ResolvedSelection(Source(past.kafka), Selection(cameras=CAMERAS[:2])) as resolved:
            whole = [frame.position for frame, _ in resolved.frames()]
            after: dict[int, int] = {}
            for place in whole[:50]:
                after[place.partition] = place.offset + 1
            progress: list[tuple[int, int]] = []
            rest = [frame.position for frame, _ in resolved.frames(after, on_progress=lambda *at: progress.append(at))]
        assert sorted(whole[:50] + rest) == sorted(whole)
        assert progress[-1] == (resolved.frames_total, resolved.frames_total)

    def test_frames_by_their_places(self, past):
        wanted = sorted(past.rows)[::17]
        gone = MessagePosition(past.kafka.frames, 0, 10**9)
        assert sorted(frame.position for frame in read_frames(Source(past.kafka), [*wanted, gone])) == wanted

    def test_from_decisions_alone(self, past):
        source = Source(past.kafka)

        def places(**what: object) -> set[MessagePosition]:
            found = list(recorded_frames(source, Selection(**what)))
            assert all(frame.recorded == past.rows[frame.position][2] for frame in found)
            return {frame.position for frame in found}

        assert places() == set(past.rows)
        begin_us, end_us = EPOCH_US + 50_000_000, EPOCH_US + 90_000_000
        assert places(from_us=begin_us, to_us=end_us) == past.places(
            lambda _, f, __: begin_us <= f.captured_at_us < end_us
        )
        rejects = past.places(lambda _, __, d: d.action is Action.REJECT)
        assert places(decided_as=("REJECT",)) == rejects
        last = sorted(rejects, key=lambda place: past.rows[place][1].captured_at_us)[-5:]
        assert places(decided_as=("REJECT",), last=5) == set(last)
        assert places(lots=("L1",), offsets={2: (0, 10)}) == {
            p for p in past.rows if p.partition == 2 and p.offset < 10
        }

    def test_an_empty_selection_says_what_there_is(self, past):
        assert select(past, cameras=("no/such",)) == set()
        said = str(empty_selection_error(Source(past.kafka)))
        assert said.startswith(f"nothing selected: {past.kafka.frames} has frames from 20")
        assert said.endswith(", none matches")

    def test_a_slow_reader_reads_slowly(self, past):
        import time

        size = sum(len(encode(frame)) for _, frame, _ in past.rows.values())
        began = time.monotonic()
        with ResolvedSelection(Source(past.kafka, max_bytes_s=size / 1.5), Selection()) as resolved:
            assert sum(1 for _ in resolved.frames()) == COUNT
        assert time.monotonic() - began > 1.4


def publish(kafka: KafkaSettings, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for value in values:
        producer.produce(topic, value, b"k", partition=0)
    assert producer.flush(20) == 0


@pytest.mark.broker
def test_which_of_several_decisions_is_the_recorded_one(line: KafkaSettings) -> None:
    past = publish_past(line, 3, disorder=0)
    place, (_, frame, first) = sorted(past.rows.items())[0]
    shed = dataclasses.replace(first, result_state=ResultState.ABORTED, action=Action.REJECT, decision_id="a")
    later = dataclasses.replace(first, decided_at_us=first.decided_at_us + 5, decision_id="0", action=Action.REJECT)
    replayed = dataclasses.replace(first, is_simulated=True, decided_at_us=0)
    shadow = dataclasses.replace(first, model_stage="challenger", decided_at_us=0)
    elsewhere = make_decision(frame, MessagePosition("other.frames", place.partition, place.offset), decided_at_us=0)
    publish(line, line.decisions, *map(encode, (shed, later, replayed, shadow, elsewhere, first)), b"garbage")
    with ResolvedSelection(Source(line), Selection(frames=(frame.frame_id,))) as resolved:
        assert [decision for _, decision in resolved.frames()] == [first]
    assert [row.recorded for row in recorded_frames(Source(line), Selection(frames=(frame.frame_id,)))] == [first]
    # A frame that was shed first and inspected later is no REJECT.
    with ResolvedSelection(Source(line), Selection(frames=(frame.frame_id,), decided_as=("REJECT",))) as resolved:
        expected = [] if first.action is not Action.REJECT else [first]
        assert [decision for _, decision in resolved.frames()] == expected


@pytest.mark.long
@pytest.mark.broker
def test_what_is_no_frame_comes_only_where_no_field_is_asked_for(line: KafkaSettings) -> None:
    publish_past(line, 6, disorder=0)
    publish(line, line.frames, b"garbage")
    with ResolvedSelection(Source(line), Selection()) as resolved:
        [(found, decision)] = [row for row in resolved.frames() if row[0].record is None]
        assert (found.value, found.problem.partition(":")[0], decision) == (b"garbage", "unknown-schema", None)
    for what in ({"cameras": CAMERAS}, {"decided_as": ("OK", "NOT_OK")}, {"lots": ("L0", "L1", "L2")}):
        with ResolvedSelection(Source(line), Selection(**what)) as resolved:
            assert len([frame for frame, _ in resolved.frames() if frame.record is not None]) == 6
            assert all(frame.record is not None for frame, _ in resolved.frames())


@pytest.mark.broker
def test_an_episode_is_its_camera_and_its_time(line: KafkaSettings) -> None:
    past = publish_past(line, 90, disorder=0)
    begin_us, end_us = EPOCH_US + 30_000_000, EPOCH_US + 45_000_000
    event = DriftEvent(
        event_id="1", episode_id="feedbeef", state=EpisodeState.CLOSED, drift_type=DriftType.DATA,
        kind=DriftKind.SUDDEN, line="l", station="press", camera_id="side", reason="", started_frame_id="a",
        started_at_us=begin_us, detected_frame_id="b", detected_at_us=begin_us, emitted_at_us=end_us,
        closed_at_us=end_us, model_name="m", model_version="1", model_sha256="m", recipe_id="r", recipe_revision="1",
        source_topic="t", source_partition=0, source_offset=0,
    )  # fmt: skip
    publish(line, line.drift, encode(event))
    wanted = past.places(lambda _, f, __: f.key == "press/side" and begin_us <= f.captured_at_us <= end_us)
    assert len(wanted) == 5
    assert select(past, episode="feed") == wanted
    assert {row.position for row in recorded_frames(Source(line), Selection(episode="feed"))} == wanted
    with pytest.raises(NoSuchEpisode, match="no episode 'dead'"):
        ResolvedSelection(Source(line), Selection(episode="dead"))
    with pytest.raises(EmptySelection, match="is of camera press/side"):
        ResolvedSelection(Source(line), Selection(episode="feed", cameras=("oven/top",)))
    with pytest.raises(EmptySelection, match="is not of the selected time"):
        ResolvedSelection(Source(line), Selection(episode="feed", from_us=end_us + 1_000_000))


@pytest.mark.broker
def test_nothing_is_joined_and_nothing_committed(line: KafkaSettings) -> None:
    publish_past(line, 30)
    group = f"{line.prefix}-workers"
    consumer = Consumer({"bootstrap.servers": line.bootstrap_servers, "group.id": group, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(line.frames, 0, 4)], asynchronous=False)
    with ResolvedSelection(Source(line), Selection()) as resolved:
        assert len(list(resolved.frames())) == 30
    [committed] = consumer.committed([TopicPartition(line.frames, 0)], timeout=10)
    reader = Consumer({"bootstrap.servers": line.bootstrap_servers, "group.id": "inspection-reader", "log_level": 0})
    [of_reader] = reader.committed([TopicPartition(line.frames, 0)], timeout=10)
    assert (committed.offset, of_reader.offset) == (4, -1001)
    consumer.close()
    reader.close()


@pytest.mark.broker
def test_empty_topics_and_no_topics(line: KafkaSettings) -> None:
    with ResolvedSelection(Source(line), Selection(last=5)) as resolved:
        assert list(resolved.frames()) == []
    assert list(recorded_frames(Source(line), Selection())) == list(read_labels(Source(line))) == []
    assert str(empty_selection_error(Source(line))) == f"nothing selected: there are no frames at all in {line.frames}"
    with pytest.raises(TopicMissing):
        ResolvedSelection(Source(KafkaSettings(line.bootstrap_servers, "nothing-here")), Selection())


def test_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.topic_ranges._TIMEOUT_S", 1.0)
    with pytest.raises(BrokerUnavailable):
        ResolvedSelection(Source(KafkaSettings("127.0.0.1:1")), Selection())


def test_a_frame_without_any_decision_says_nothing() -> None:
    with pytest.raises(ValueError, match="says nothing"):
        ReplayedFrame(position=MessagePosition("t", 0, 0), timestamp_us=0)


@pytest.mark.broker
def test_told_to_stop_while_nothing_that_is_meant_comes(line: KafkaSettings) -> None:
    """Ctrl-C ends a search for a part that is nowhere, and a read that is limited to a trickle."""
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for number in range(20):
        producer.produce(line.frames, encode(make_frame(number, image=bytes(5_000))), "press/top", partition=0)
    assert producer.flush(20) == 0
    stop = threading.Event()
    with ResolvedSelection(Source(line, max_bytes_s=5_000.0), Selection(parts=("nowhere",))) as resolved:
        timer = threading.Timer(0.5, stop.set)
        timer.start()
        began_s = time.monotonic()
        assert list(resolved.frames(stop=stop)) == []
        assert time.monotonic() - began_s < 15  # the whole read takes 20 s
        timer.join()


@pytest.mark.broker
def test_a_partition_that_begins_with_an_aborted_transaction_has_its_decisions(line: KafkaSettings) -> None:
    """Its first message is not known, and the other partition's is much newer."""
    settings = {"bootstrap.servers": line.bootstrap_servers, "log_level": 0}
    aborted = Producer({**settings, "transactional.id": line.prefix})
    aborted.init_transactions(20)
    aborted.begin_transaction()
    for _ in range(5):
        aborted.produce(line.frames, b"nothing", partition=0)
    assert aborted.flush(20) == 0
    abort_transaction(aborted, line, line.frames)
    old, new = make_frame(0), make_frame(1)
    producer = Producer(settings)
    for partition, offset, frame, hours in ((0, 6, old, 3), (2, 0, new, 0)):
        at_ms = EPOCH_US // 1000 - hours * 3_600_000
        decision = make_decision(frame, MessagePosition(line.frames, partition, offset))
        producer.produce(line.frames, encode(frame), frame.key, partition=partition, timestamp=at_ms)
        producer.produce(line.decisions, encode(decision), frame.key, partition=0, timestamp=at_ms)
    assert producer.flush(20) == 0
    with ResolvedSelection(Source(line), Selection()) as resolved:
        found = {each.position.offset: decision is not None for each, decision in resolved.frames()}
    assert found == {6: True, 0: True}


@pytest.mark.broker
def test_a_time_before_all_times(line: KafkaSettings) -> None:
    with ResolvedSelection(Source(line), Selection(to_us=-1_000_000, late_by_us=0)) as resolved:
        assert list(resolved.frames()) == []


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """The recorded decisions of a long stretch lie in a file, and its disk may be full."""
    index = DecisionIndex("t", str(tmp_path / "decisions"))
    index._db.execute("PRAGMA max_page_count = 4")

    def fill() -> None:
        for offset in range(1000):
            index.add(make_decision(make_frame(offset), MessagePosition("t", 0, offset)))

    with pytest.raises(SettingsError, match="database or disk is full; TMPDIR"):
        fill()
    index.close()
    with pytest.raises(SettingsError, match="unable to open"):
        DecisionIndex("t", str(tmp_path / "not" / "there"))

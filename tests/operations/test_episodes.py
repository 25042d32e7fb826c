"""What was said of drift, put together into episodes; and a person's acknowledgement."""

from __future__ import annotations

import dataclasses
import time
from itertools import pairwise

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from hypothesis import given
from hypothesis import strategies as st

from monitoring.drift.episodes import NoSuchEpisode, build_episodes, find_episode
from operations.episodes import acknowledge, read_episodes
from replay import Source
from schemas import DriftEvent, EpisodeState, KafkaSettings
from schemas.clock import ManualClock
from schemas.codec import encode
from schemas.errors import BrokerUnavailable, SettingsError, TopicMissing
from schemas.ids import drift_event_id
from tests.support.records import DRIFT_EVENT
from transport.topic_ranges import TimeRange

OPENED, UPDATED, CLOSED, ACKNOWLEDGED = EpisodeState


def event(
    state: EpisodeState = OPENED, at_us: int = 1, episode: str = "e", name: str | None = None, **changes: object
) -> DriftEvent:
    closed = {"closed_at_us": at_us, "closed_because": "recovered"} if state is CLOSED else {}
    by = {"acknowledged_by": "eva", "note": "lamp"} if state is ACKNOWLEDGED else {}
    return dataclasses.replace(
        DRIFT_EVENT, episode_id=episode, event_id=name or f"{episode}-{state}-{at_us}", state=state,
        emitted_at_us=at_us, reason=f"{state} at {at_us}", **{**closed, **by, **changes},
    )  # fmt: skip


def test_the_newest_event_holds_the_facts_and_closing_is_final() -> None:
    [episode] = build_episodes([event(OPENED, 1), event(UPDATED, 3), event(UPDATED, 2)])
    assert (episode.is_open, episode.facts.reason, len(episode.history)) == (True, "UPDATED at 3", 3)
    [episode] = build_episodes([event(CLOSED, 4), event(OPENED, 1), event(UPDATED, 9)])
    assert (episode.is_open, episode.facts.reason, episode.newest_event_at_us) == (False, "CLOSED at 4", 9)


def test_an_acknowledgement_adds_who_and_note_and_closes_nothing() -> None:
    [episode] = build_episodes([event(ACKNOWLEDGED, 5, frames=0), event(UPDATED, 4, frames=44)])
    assert episode.is_open
    assert episode.facts.frames == 44
    assert episode.acknowledgement is not None
    assert (episode.acknowledgement.acknowledged_by, episode.acknowledgement.note) == ("eva", "lamp")
    # The newest one counts, and one without a name is nobody's.
    later = event(ACKNOWLEDGED, 7, acknowledged_by="bob")
    nobody = event(ACKNOWLEDGED, 8, acknowledged_by=" ")
    [episode] = build_episodes([later, nobody, event(ACKNOWLEDGED, 5)])
    assert episode.acknowledgement == later
    # Alone it stands in for the facts it repeats.
    assert episode.facts.state is ACKNOWLEDGED
    assert episode.is_open
    [episode] = build_episodes([event(ACKNOWLEDGED, 5, closed_at_us=4)])
    assert not episode.is_open


def test_an_event_that_comes_twice_is_one_and_the_first_counts() -> None:
    [episode] = build_episodes(
        [event(UPDATED, 9, name="u"), event(OPENED, 1), event(UPDATED, 2, name="u"), event(OPENED, 1)]
    )
    assert [said.reason for said in episode.history] == ["OPENED at 1", "UPDATED at 2"]


def test_episodes_of_a_replay_are_kept_apart() -> None:
    real, simulated = build_episodes([event(OPENED, 1), event(CLOSED, 2, is_simulated=True)])
    assert (real.is_open, real.facts.is_simulated) == (True, False)
    assert (simulated.is_open, simulated.facts.is_simulated) == (False, True)


def test_open_ones_come_first_then_those_detected_last() -> None:
    events = [
        event(OPENED, 1, "a", detected_at_us=1), event(OPENED, 2, "b", detected_at_us=2),
        event(OPENED, 3, "c", detected_at_us=3), event(CLOSED, 4, "c", detected_at_us=3),
    ]  # fmt: skip
    assert [episode.episode_id for episode in build_episodes(events)] == ["b", "a", "c"]


EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(EpisodeState),
        st.integers(1, 6),
        st.sampled_from(["e", "f"]),
        is_simulated=st.booleans(),
    ),
    max_size=12,
)


@given(EVENTS, st.randoms(use_true_random=False))
def test_order_and_repetition_make_no_difference(events: list[DriftEvent], random: object) -> None:
    shuffled = events + events[: len(events) // 2]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    episodes = build_episodes(events)
    assert build_episodes(shuffled) == episodes
    assert sum(len(episode.history) for episode in episodes) == len({(e.is_simulated, e.event_id) for e in events})
    for episode in episodes:
        assert {e.episode_id for e in episode.history} == {episode.episode_id}
        assert all(a.emitted_at_us <= b.emitted_at_us for a, b in pairwise(episode.history))
        assert episode.is_open == (CLOSED not in {e.state for e in episode.history})
        assert (episode.acknowledgement is not None) == (ACKNOWLEDGED in {e.state for e in episode.history})


def test_an_id_may_be_cut_short_as_long_as_it_is_clear() -> None:
    episodes = build_episodes([event(episode="abc1"), event(episode="abc2"), event(episode="ab")])
    assert find_episode(episodes, "abc1").episode_id == "abc1"
    assert find_episode(episodes, "ab").episode_id == "ab"  # whole, though others begin so
    with pytest.raises(NoSuchEpisode, match="2 episodes begin with 'abc': abc"):
        find_episode(episodes, "abc")
    for nothing in ("x", ""):
        with pytest.raises(NoSuchEpisode, match="drift list"):
            find_episode(episodes, nothing)


@pytest.mark.parametrize(("by", "note"), [("", "lamp"), ("eva", " \n")])
def test_an_acknowledgement_has_a_name_and_a_note(by: str, note: str) -> None:
    [episode] = build_episodes([event()])
    with pytest.raises(SettingsError, match="names who"):
        acknowledge(KafkaSettings("127.0.0.1:1"), episode, by, note)


def test_a_replay_has_nothing_to_acknowledge() -> None:
    [episode] = build_episodes([event(is_simulated=True)])
    with pytest.raises(SettingsError, match="of a replay"):
        acknowledge(KafkaSettings("127.0.0.1:1"), episode, "eva", "lamp")


def test_no_broker_is_one_clear_error() -> None:
    [episode] = build_episodes([event()])
    with pytest.raises(BrokerUnavailable):
        acknowledge(KafkaSettings("127.0.0.1:1"), episode, "eva", "lamp")


def publish(line: KafkaSettings, *values: DriftEvent | bytes | None, at_ms: int = 0) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for value in values:
        data = encode(value) if isinstance(value, DriftEvent) else value
        producer.produce(line.drift, data, timestamp=at_ms)
    assert producer.flush(20) == 0


@pytest.mark.broker
def test_read_and_acknowledged_on_a_real_topic(line: KafkaSettings) -> None:
    yesterday_ms = round(time.time() * 1e3) - 86_400_000
    publish(line, event(OPENED, 1, "old"), event(CLOSED, 2, "old"), at_ms=yesterday_ms)
    publish(line, event(OPENED, 3), b"garbage", None, event(UPDATED, 4), encode(event())[:-2])
    read = read_episodes(Source(line))
    assert (read.unreadable, [episode.episode_id for episode in read.episodes]) == (3, ["e", "old"])
    recent = read_episodes(Source(line), TimeRange(from_us=(yesterday_ms + 3_600_000) * 1000)).episodes
    assert [episode.episode_id for episode in recent] == ["e"]

    said = acknowledge(line, recent[0], " eva ", "lamp ordered\udcff", clock=ManualClock(utc_us=7))
    acknowledge(line, recent[0], "eva", "lamp ordered?", clock=ManualClock(utc_us=99))  # the same once more
    assert said.event_id == drift_event_id("e", "ACKNOWLEDGED\neva\nlamp ordered?")
    [episode, _] = read_episodes(Source(line)).episodes
    assert episode.is_open
    assert episode.acknowledgement == said
    assert (said.acknowledged_by, said.note, said.emitted_at_us) == ("eva", "lamp ordered?", 7)
    assert [e.state for e in episode.history] == [OPENED, UPDATED, ACKNOWLEDGED]
    assert dataclasses.replace(
        said, state=UPDATED, event_id="e-UPDATED-4", emitted_at_us=4, acknowledged_by=None, note=""
    ) == event(UPDATED, 4)


@pytest.mark.broker
def test_nothing_is_acknowledged_into_a_topic_that_is_not_there(line: KafkaSettings) -> None:
    [episode] = build_episodes([event()])
    elsewhere = KafkaSettings(line.bootstrap_servers, "no-such-line")
    with pytest.raises(TopicMissing):
        acknowledge(elsewhere, episode, "eva", "lamp")
    assert "no-such-line.drift" not in AdminClient({"bootstrap.servers": line.bootstrap_servers}).list_topics().topics

"""Drift episodes of a line: read from the topic, and acknowledged by a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message

from monitoring.drift.episodes import Episode, build_episodes
from replay.past.source import Source
from schemas.clock import Clock, SystemClock, clamp_future
from schemas.codec import Codec
from schemas.errors import SettingsError
from schemas.ids import drift_event_id
from schemas.records import DriftEvent, EpisodeState
from schemas.settings import KafkaSettings
from schemas.topics import DRIFT
from transport.admin import require_topics
from transport.batches import UnreadableBatch
from transport.broker_cause import broker_error, kafka_error
from transport.producer import make_producer
from transport.topic_ranges import TimeRange

_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Episodes:
    """Episodes in the order of `build_episodes`, and the number of messages that were not a valid event.

    A batch that no client reads counts as one message.
    """

    episodes: tuple[Episode, ...]
    unreadable: int


def read_episodes(source: Source, within: TimeRange | None = None) -> Episodes:
    """Read the episodes of a range of the drift events; None for all of them. Invalid messages are counted.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If the topic cannot be read.
    """
    unreadable, now_us = 0, SystemClock().utc_us()

    def left_out(batch: UnreadableBatch) -> None:
        nonlocal unreadable
        unreadable += 1

    def events() -> Iterator[DriftEvent]:
        nonlocal unreadable
        for message in source.indexed(DriftEvent, within, on_unreadable=left_out):
            if (event := message.record) is None:
                unreadable += 1
                continue
            # The event emitted last has the facts: a clock ahead must not make its event the last for ever.
            emitted_at_us = clamp_future(event.emitted_at_us, clamp_future(message.timestamp_us, now_us))
            yield dataclasses.replace(event, emitted_at_us=emitted_at_us)

    episodes = tuple(build_episodes(events()))
    return Episodes(episodes, unreadable)


def acknowledge(
    kafka: KafkaSettings, episode: Episode, by: str, note: str, *, clock: Clock | None = None
) -> DriftEvent:
    """Publish that a person has taken note of an episode; return the event once Kafka has acknowledged it.

    The event repeats the facts, so that a consumer that reads only this event knows them. Events of the same person
    with the same note have the same ``event_id``: repeating the call after an error changes nothing.

    Raises
    ------
    SettingsError
        If name or note is empty, or the episode is of a replay.
    BrokerUnavailable, TopicMissing
        If Kafka does not acknowledge the event; it may have been written nevertheless.
    """
    by, note = _clean(by), _clean(note)
    if not (by and note):
        raise SettingsError("an acknowledgement names who gives it, and has a note of what was found")
    if episode.facts.is_simulated:
        raise SettingsError(f"episode {episode.episode_id} is of a replay: there is nothing to acknowledge")
    event = dataclasses.replace(
        episode.facts,
        event_id=drift_event_id(episode.episode_id, f"{EpisodeState.ACKNOWLEDGED}\n{by}\n{note}"),
        state=EpisodeState.ACKNOWLEDGED,
        acknowledged_by=by,
        note=note,
        emitted_at_us=(clock or SystemClock()).utc_us(),
    )
    value = Codec.from_settings(kafka).encode(event)
    require_topics(kafka, [kafka.drift])
    _publish(kafka, event.key, value)
    return event


def _publish(kafka: KafkaSettings, key: str, value: bytes) -> None:
    outcome: list[KafkaError | None] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        outcome.append(error)

    producer = make_producer(
        kafka,
        {
            "message.max.bytes": DRIFT.max_message_bytes,
            "delivery.timeout.ms": round(_TIMEOUT_S * 1e3),
        },
    )
    try:
        producer.produce(kafka.drift, value, key, on_delivery=delivered)
        producer.flush(_TIMEOUT_S + 1)
    except KafkaException as error:
        raise kafka_error(kafka, error.args[0], kafka.drift) from error
    if not outcome:
        raise broker_error(kafka, f"no answer for {_TIMEOUT_S:.0f} s")
    if outcome[0] is not None:
        raise kafka_error(kafka, outcome[0], kafka.drift)


def _clean(text: str) -> str:
    # Input of a terminal may contain bytes that are not valid text.
    return text.encode(errors="replace").decode().strip()

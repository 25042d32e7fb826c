"""Drift episodes: put together from drift events, and acknowledged by a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.clock import Clock, SystemClock, clamp_future
from schemas.errors import BrokerUnavailable, CodecError, InspectionError, SettingsError
from schemas.ids import drift_event_id
from schemas.records import DriftEvent, EpisodeState
from schemas.settings import KafkaSettings
from schemas.topics import DRIFT
from schemas.wire import Codec
from transport.admin import require_topics
from transport.range_reader import TopicRange, read_topic

_TIMEOUT_S = 15.0
_RANK = {state: rank for rank, state in enumerate(EpisodeState)}


class NoSuchEpisode(InspectionError):
    """Lookup of an episode that does not exist, or of an ambiguous id."""


@dataclass(frozen=True, slots=True)
class Episode:
    """Drift episode.

    Parameters
    ----------
    history
        Events of the episode, each once, oldest first.
    facts
        Event with all known facts: the event that closed the episode, else the newest event of the detectors. An
        acknowledgement repeats facts and adds none; it is used only if no other event was read.
    acknowledgement
        Newest event by which a person, by name, has taken note; None if nobody has. It does not close the episode.
    """

    history: tuple[DriftEvent, ...]
    facts: DriftEvent
    acknowledgement: DriftEvent | None

    @property
    def episode_id(self) -> str:
        return self.facts.episode_id

    @property
    def is_open(self) -> bool:
        """True if the episode goes on. A closed episode stays closed: new drift starts an episode of its own."""
        return not _is_closed(self.facts)

    @property
    def said_at_us(self) -> int:
        """Time of the newest event of the episode, UTC µs."""
        return max(event.emitted_at_us for event in self.history)


@dataclass(frozen=True, slots=True)
class Episodes:
    """Episodes in the order of `fold`, and the number of messages of the topic that were not a valid event."""

    episodes: tuple[Episode, ...]
    unreadable: int


def fold(events: Iterable[DriftEvent]) -> list[Episode]:
    """Put events together into episodes: open episodes first, and of those the latest detection first.

    The order of the events makes no difference. Neither does a repeated event (by ``event_id``; the one emitted first
    counts). Episodes of replays (``is_simulated``) are never mixed with those of the line.

    Examples
    --------
    >>> fold([])
    []
    """
    by_episode: dict[tuple[bool, str], dict[str, DriftEvent]] = {}
    for event in events:
        told = by_episode.setdefault((event.is_simulated, event.episode_id), {})
        known = told.get(event.event_id)
        if known is None or _order(event) < _order(known):
            told[event.event_id] = event
    episodes = [_episode(told.values()) for told in by_episode.values()]
    return sorted(episodes, key=lambda episode: (not episode.is_open, -episode.facts.detected_at_us, _name(episode)))


def read_episodes(kafka: KafkaSettings, within: TopicRange | None = None) -> Episodes:
    """Read the episodes of a stretch of the drift topic; None for the whole topic. Invalid messages are counted.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If the topic cannot be read.
    """
    codec = Codec.from_settings(kafka)
    unreadable, now_us = 0, SystemClock().utc_us()

    def events() -> Iterator[DriftEvent]:
        nonlocal unreadable
        with closing(read_topic(kafka.bootstrap_servers, kafka.drift, within)) as messages:
            for message in messages:
                try:
                    event = codec.decode(message.value, DriftEvent, max_bytes=DRIFT.max_message_bytes)
                    # The event emitted last has the facts: a clock ahead must not make its event the last for ever.
                    emitted_at_us = clamp_future(event.emitted_at_us, clamp_future(message.timestamp_us, now_us))
                    yield dataclasses.replace(event, emitted_at_us=emitted_at_us)
                except CodecError:
                    unreadable += 1

    episodes = tuple(fold(events()))
    return Episodes(episodes, unreadable)


def find_episode(episodes: Iterable[Episode], prefix: str) -> Episode:
    """Return the episode with the given id, or the only one whose id begins with the given text.

    Raises
    ------
    NoSuchEpisode
        If there is no such episode, or more than one.
    """
    found = [episode for episode in episodes if prefix and episode.episode_id.startswith(prefix)]
    exact = [episode for episode in found if episode.episode_id == prefix]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise NoSuchEpisode(f"no episode {prefix!r}; `inspection drift list` shows their ids")
    some = ", ".join(episode.episode_id for episode in found[:3])
    raise NoSuchEpisode(f"{len(found)} episodes begin with {prefix!r}: {some}{', ...' if len(found) > 3 else ''}")


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
    require_topics(kafka.bootstrap_servers, [kafka.drift])
    _publish(kafka, event.key, value)
    return event


def _publish(kafka: KafkaSettings, key: str, value: bytes) -> None:
    outcome: list[KafkaError | None] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        outcome.append(error)

    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "message.max.bytes": DRIFT.max_message_bytes,
            "delivery.timeout.ms": round(_TIMEOUT_S * 1e3),
            "log_level": 0,
        }
    )
    try:
        producer.produce(kafka.drift, value, key, on_delivery=delivered)
        producer.flush(_TIMEOUT_S + 1)
    except KafkaException as error:
        raise BrokerUnavailable(kafka.bootstrap_servers, error.args[0].str()) from error
    if outcome != [None]:
        why = outcome[0].str() if outcome and outcome[0] is not None else f"no answer for {_TIMEOUT_S:.0f} s"
        raise BrokerUnavailable(kafka.bootstrap_servers, why)


def _episode(told: Iterable[DriftEvent]) -> Episode:
    history = tuple(sorted(told, key=_order))
    said = [event for event in history if event.state is not EpisodeState.ACKNOWLEDGED] or list(history)
    # Closing is final: a later update, by a second watcher or with a clock ahead, does not reopen an episode.
    facts = max(said, key=lambda event: (_is_closed(event), _order(event)))
    by_people = [
        event for event in history if event.state is EpisodeState.ACKNOWLEDGED and (event.acknowledged_by or "").strip()
    ]
    return Episode(history, facts, by_people[-1] if by_people else None)


def _clean(text: str) -> str:
    # Input of a terminal may contain bytes that are not valid text.
    return text.encode(errors="replace").decode().strip()


def _is_closed(event: DriftEvent) -> bool:
    return event.state is EpisodeState.CLOSED or event.closed_at_us is not None


def _order(event: DriftEvent) -> tuple[int, int, str]:
    return event.emitted_at_us, _RANK[event.state], event.event_id


def _name(episode: Episode) -> tuple[bool, str]:
    return episode.facts.is_simulated, episode.episode_id


__all__ = ["Episode", "Episodes", "NoSuchEpisode", "acknowledge", "find_episode", "fold", "read_episodes"]

"""Drift episodes, put together from drift events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.errors import InspectionError
from schemas.records import DriftEvent, EpisodeState

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
    def newest_event_at_us(self) -> int:
        """Time of the newest event of the episode, UTC µs."""
        return max(event.emitted_at_us for event in self.history)


def build_episodes(events: Iterable[DriftEvent]) -> list[Episode]:
    """Put events together into episodes: open episodes first, and of those the latest detection first.

    The order of the events makes no difference. Neither does a repeated event (by ``event_id``; the one emitted first
    counts). Episodes of replays (``is_simulated``) are never mixed with those of the line.

    Examples
    --------
    >>> build_episodes([])
    []
    """
    by_episode: dict[tuple[bool, str], dict[str, DriftEvent]] = {}
    for event in events:
        known_events = by_episode.setdefault((event.is_simulated, event.episode_id), {})
        known = known_events.get(event.event_id)
        if known is None or _order(event) < _order(known):
            known_events[event.event_id] = event
    episodes = [_episode(found.values()) for found in by_episode.values()]
    return sorted(episodes, key=lambda episode: (not episode.is_open, -episode.facts.detected_at_us, _name(episode)))


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


def _episode(events: Iterable[DriftEvent]) -> Episode:
    history = tuple(sorted(events, key=_order))
    by_detectors = [event for event in history if event.state is not EpisodeState.ACKNOWLEDGED] or list(history)
    # Closing is final: a later update, by a second watcher or with a clock ahead, does not reopen an episode.
    facts = max(by_detectors, key=lambda event: (_is_closed(event), _order(event)))
    by_people = [
        event for event in history if event.state is EpisodeState.ACKNOWLEDGED and (event.acknowledged_by or "").strip()
    ]
    return Episode(history, facts, by_people[-1] if by_people else None)


def _is_closed(event: DriftEvent) -> bool:
    return event.state is EpisodeState.CLOSED or event.closed_at_us is not None


def _order(event: DriftEvent) -> tuple[int, int, str]:
    return event.emitted_at_us, _RANK[event.state], event.event_id


def _name(episode: Episode) -> tuple[bool, str]:
    return episode.facts.is_simulated, episode.episode_id

"""Watch that follows the drift topic beside the gate, on a thread of its own, so that the belt never waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from confluent_kafka import Message

from actuators.open_episodes import CameraKey, OpenEpisode, OpenEpisodes
from schemas.codec import Codec
from schemas.errors import CodecError
from schemas.records import DriftEvent, DriftType, EpisodeState
from schemas.settings import KafkaSettings
from schemas.topics import DRIFT
from transport.batch_trials.child import TriedMessage
from transport.batches import UnreadableBatch
from transport.belief import Belief
from transport.headers import message_headers
from transport.public_keys import SignerRole
from transport.topic_follower import PATIENCE_S, RETRY_S, TopicFollower

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DriftStats:
    """State of the watch: up to date or not, connected or not, open episodes, and counts of events by outcome.

    ``refused`` events fit no episode, have names that no watch sends, or are not believed.
    """

    connected: bool = False
    open_episodes: int = 0
    events: int = 0
    simulated: int = 0
    undecodable: int = 0
    refused: int = 0


class DriftSource(Protocol):
    """Source of open drift episodes for a gate; `DriftWatch` is one. Only `open` and `close` may block."""

    @property
    def episodes(self) -> Mapping[CameraKey, tuple[OpenEpisode, ...]]: ...
    @property
    def stats(self) -> DriftStats: ...
    def open(self) -> None: ...
    def close(self) -> None: ...


class DriftWatch(TopicFollower):
    """Set of the episodes that are open and not acknowledged, from the topic's whole past and from new events.

    It reads the drift topic (one partition, few messages) from its beginning. A gate that starts again therefore knows
    every open episode, however long ago it began. Until the past has been read, no episode counts as open. A missing
    topic, an unreachable broker and messages that are not events are logged in one line or counted, and never raised.
    The gate continues with the episodes known so far, and the watch retries.

    Parameters
    ----------
    kafka
        Address and topic prefix.
    station
        Only episodes of this station; None: of all stations.
    drift_type
        Only data drift or only concept drift; None: both.
    simulated
        Use episodes of a replay, and no others.
    patience_s, retry_s
        See `TopicFollower`.
    on_unreadable
        Called with each skipped batch, on the thread of the watch: `transport.batch_letters.BatchLetters.write`.
    belief
        Check of the signatures of operators: without one an acknowledgement changes nothing, and the episode goes on.
        None: every acknowledgement is believed.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        station: str | None = None,
        drift_type: DriftType | None = None,
        simulated: bool = False,
        patience_s: float = PATIENCE_S,
        retry_s: float = RETRY_S,
        on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
        belief: Belief | None = None,
    ) -> None:
        super().__init__(
            kafka,
            kafka.drift,
            thread="drift-watch",
            without="drift is not watched, the gate goes on without",
            ended="the drift watch stops; the gate goes on with what is known of drift",
            patience_s=patience_s,
            retry_s=retry_s,
        )
        self._kafka = kafka
        self._known = OpenEpisodes(station=station, drift_type=drift_type, simulated=simulated)
        self._on_unreadable = on_unreadable
        self._belief = belief
        self._untrusted = 0
        self._codec: Codec | None = None
        self._episodes: Mapping[CameraKey, tuple[OpenEpisode, ...]] = MappingProxyType({})
        self._undecodable = 0

    @property
    def episodes(self) -> Mapping[CameraKey, tuple[OpenEpisode, ...]]:
        """Open episodes by station and camera, as far as they are known; a frozen snapshot."""
        return self._episodes

    @property
    def stats(self) -> DriftStats:
        """Current state of the watch."""
        number = sum(len(episodes) for episodes in self._episodes.values())
        counts = self._known.counts
        refused = counts["unfit"] + counts["implausible"] + self._untrusted
        return DriftStats(self.connected, number, counts["taken"], counts["simulated"], self._undecodable, refused)

    def _begin(self) -> None:
        self._codec = Codec.from_settings(self._kafka)
        super()._begin()

    def _use(self) -> None:
        self._episodes = self._known.by_camera  # only now: most episodes of the past were closed later on

    def _left_out(self, batch: UnreadableBatch) -> None:
        self._on_unreadable(batch)
        self._undecodable += 1

    def _take(self, message: Message | TriedMessage) -> bool:
        assert self._codec is not None
        try:
            event = self._codec.decode(message.value(), DriftEvent, max_bytes=DRIFT.max_message_bytes)
        except CodecError as error:
            self._undecodable += 1
            log.debug("%s: %s", self._tail.topic, error)
            return False
        if event.state is EpisodeState.ACKNOWLEDGED and self._belief is not None:
            key, value = message.key(), message.value()
            found = message_headers(message)
            if self._belief.refusal(SignerRole.OPERATOR, event.key, self._tail.topic, key, value, found) is not None:
                self._untrusted += 1
                return False
        return self._known.take(event)

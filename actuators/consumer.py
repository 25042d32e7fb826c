"""SDK for programs that act on decisions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Message

from actuators.counts import ConsumerCounts
from actuators.known_ids import content
from actuators.staleness import StalenessFilter
from actuators.watermark import Watermark
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.errors import CodecError, SettingsError
from schemas.records import Decision
from schemas.settings import KafkaSettings
from schemas.topics import DECISIONS
from transport.batch_trials.child import TriedMessage
from transport.batches import UNDECODABLE_BATCH, UnreadableBatch
from transport.belief import Belief
from transport.headers import message_headers
from transport.public_keys import SignerRole
from transport.tail import Tail

#: Longest time before an iteration over a consumer checks if it was stopped, in seconds.
_ITERATION_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Message of the decisions topic that is not a decision: its position, and the error."""

    topic: str
    partition: int
    offset: int
    kind: str
    reason: str


class DecisionConsumer:
    """Consumer that delivers new decisions, each one once.

    It reads every partition from the **end**: history is never delivered. It skips decisions on frames that were
    captured more than ``max_age_s`` ago. It drops a decision that it has seen before (it remembers the last 10,000),
    unless that decision now names another part, camera or capture, or has another answer. Bytes that are not a decision
    are counted and reported, never raised. While Kafka is unreachable, the consumer waits; then it continues at its
    last offset. See `connected` and `last_message_age_s`.

    With a ``state_dir`` it continues where the last run ended. A decision counts as consumed when `poll` returns it,
    and the consumer puts that on file before. Whatever kills the process, no decision is delivered a second time, and
    only the decision in hand can be lost. Decisions made meanwhile are delivered if ``max_age_s`` permits it.

    Parameters
    ----------
    kafka
        Address and topic prefix.
    station
        Deliver only decisions of this station; None: of all stations.
    max_age_s
        Age of the oldest capture that is delivered, in seconds; None: any age. For a gate, no less than its belt time.
    state_dir
        Directory for the watermark; None: begin at the end each time.
    on_undecodable
        Called with each message that is not a decision, on the polling thread.
    on_unreadable
        Called with each batch that is skipped, on the polling thread: `transport.batch_letters.BatchLetters.write`.
    belief
        Check of the signatures of workers; None: every decision is believed.

    Raises
    ------
    BrokerUnavailable, TopicMissing, SettingsError
        From `open`.
    RegistryError
        From `open`, if the settings name a schema registry that is unreachable.

    Examples
    --------
    A program of your own, for example one that reports to the plant's execution system::

        from actuators import DecisionConsumer
        from schemas import Action, KafkaSettings

        kafka = KafkaSettings("broker.plant:9092")
        with DecisionConsumer(kafka, station="press-1", max_age_s=None, state_dir="/var/lib/mes") as consumer:
            for decision in consumer:  # ends when consumer.stop() is called
                if decision.action is not Action.ACCEPT:
                    report(decision.part_key, decision.reason, decision.score)
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        station: str | None = None,
        max_age_s: float | None = 10.0,
        state_dir: str | Path | None = None,
        on_undecodable: Callable[[Undecodable], None] | None = None,
        on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
        belief: Belief | None = None,
        remembered_ids: int = 10_000,
        clock: Clock | None = None,
    ) -> None:
        if max_age_s is not None and not max_age_s > 0:
            raise SettingsError(f"max_age_s is {max_age_s}; it must be more than 0")
        self._clock = clock or SystemClock()
        self._kafka = kafka
        self._codec: Codec | None = None
        self._tail = Tail(kafka, kafka.decisions, on_unreadable=self._left_out)
        self._station = station
        self._age = None if max_age_s is None else StalenessFilter(max_age_s, self._clock)
        self._state_dir = None if state_dir is None else Path(state_dir)
        self._watermark: Watermark | None = None
        self._on_undecodable = on_undecodable
        self._on_unreadable = on_unreadable
        self._belief = belief
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._remembered_ids = remembered_ids
        self._stopped = threading.Event()
        self._last_message_s: float | None = None
        self._counts = dict.fromkeys(
            ("delivered", "duplicates", "undecodable", "skipped_old", "other_station", "untrusted"), 0
        )

    def open(self) -> None:
        """Set the offsets to begin at; afterwards the consumer is `ready`."""
        if self._state_dir is not None:
            self._watermark = Watermark(self._state_dir, self._tail.topic)
        try:
            self._codec = self._codec or Codec.from_settings(self._kafka)
            former = self._watermark
            if former is None:
                self._tail.open()
            else:
                former.begin(self._tail.open(dict(former.offsets) or None, former.topic_id), self._tail.topic_id)
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        """End an iteration over the consumer. Thread-safe; may be called from a signal handler."""
        self._stopped.set()

    def close(self) -> None:
        """Close the consumer. Idempotent. Call from the polling thread only; another thread calls `stop`."""
        self._tail.close()
        if self._watermark is not None:
            self._watermark.close()
            self._watermark = None

    @property
    def ready(self) -> bool:
        """True if the consumer will see every decision that is made from now on."""
        return self._tail.is_open

    @property
    def connected(self) -> bool:
        """True if the broker is connected and answers. Polling keeps it up to date, see `Tail.connected`."""
        return self._tail.connected

    @property
    def contact_age_s(self) -> float | None:
        """Seconds since the broker's last answer; None before `open`. At most about 1 on a healthy line, even idle."""
        return self._tail.contact_age_s

    @property
    def last_message_age_s(self) -> float | None:
        """Seconds since the last message of the topic, readable or not; None before the first message."""
        return None if self._last_message_s is None else self._clock.monotonic_s() - self._last_message_s

    @property
    def counts(self) -> ConsumerCounts:
        """Counts of messages and errors since the start."""
        return ConsumerCounts(**self._counts, errors=self._tail.errors)

    def poll(self, timeout_s: float) -> Decision | None:
        """Return the next decision; None if no message comes in time, or if the message is not to be delivered."""
        message = self._tail.poll(timeout_s)
        if message is None:
            return None
        self._last_message_s = self._clock.monotonic_s()
        decision = self._read(message)
        if self._watermark is not None:
            self._watermark.drop_if_recreated(self._tail.topic_id)
            # 1. The offset goes on file, 2. the decision is returned: a crash in between loses one, and repeats none.
            self._watermark.advance(message.partition() or 0, (message.offset() or 0) + 1)
        if decision is not None:
            self._counts["delivered"] += 1
        return decision

    def __iter__(self) -> Iterator[Decision]:
        """Yield decisions until `stop` or `close`."""
        while self.ready and not self._stopped.is_set():
            decision = self.poll(_ITERATION_POLL_S)
            if decision is not None:
                yield decision

    def _read(self, message: Message | TriedMessage) -> Decision | None:
        try:
            self._codec = self._codec or Codec.from_settings(self._kafka)
            decision = self._codec.decode(message.value(), Decision, max_bytes=DECISIONS.max_message_bytes)
        except CodecError as error:
            place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
            self._undecodable(Undecodable(*place, error.kind, str(error)))
            return None
        skip = self._untrusted(message, decision) or self._reason_to_skip(decision)
        if skip is not None:
            self._counts[skip] += 1
            return None
        return decision

    def _untrusted(self, message: Message | TriedMessage, decision: Decision) -> str | None:
        """Return the name of the count for a decision that no worker has signed; None if it is believed.

        It comes first: a forged decision must not be remembered, so that the real one counts as repeated.
        """
        if self._belief is None:
            return None
        key, value = message.key(), message.value()
        fault = self._belief.refusal(
            SignerRole.WORKER, decision.key, self._tail.topic, key, value, message_headers(message)
        )
        return None if fault is None else "untrusted"

    def _undecodable(self, found: Undecodable) -> None:
        self._counts["undecodable"] += 1
        if self._on_undecodable is not None:
            self._on_undecodable(found)

    def _left_out(self, batch: UnreadableBatch) -> None:
        self._on_unreadable(batch)
        place = (batch.topic, batch.partition, batch.first)
        self._undecodable(Undecodable(*place, UNDECODABLE_BATCH, str(batch)))
        if self._watermark is not None:
            self._watermark.drop_if_recreated(self._tail.topic_id)
            self._watermark.advance(batch.partition, batch.following)

    def _reason_to_skip(self, decision: Decision) -> str | None:
        if self._station is not None and decision.station != self._station:
            return "other_station"
        if self._age is not None and self._age.is_old(decision.captured_at_us):
            return "skipped_old"
        # An id is a public hash. If it comes again with another part, camera or capture, or with another answer, that
        # is a contradiction. A simulated decision (of a replay) must not hide the real one. The receiver judges both.
        seen = content(decision)
        if seen in self._seen:
            self._seen.move_to_end(seen)
            return "duplicates"
        self._seen[seen] = None
        if len(self._seen) > self._remembered_ids:
            self._seen.popitem(last=False)
        return None

    def __enter__(self) -> DecisionConsumer:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

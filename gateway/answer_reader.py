"""Reader of the decisions topic: one thread, without a consumer group."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from gateway.answer_index import AnswerIndex
from gateway.settings import GatewaySettings
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.errors import CodecError, NotAuthorised, TopicMissing
from schemas.origin_headers import group_name
from schemas.records import Decision
from schemas.settings import KafkaSettings
from schemas.topics import DECISIONS
from transport.batch_letters import BatchLetters
from transport.clock_waits import BUSY_S
from transport.headers import message_headers
from transport.limited_log import LimitedLog
from transport.tail import Tail
from transport.topic_ranges import TimeRange, time_bounds

_log = logging.getLogger(__name__)
_POLL_S = 0.1
#: Time after its last decision in which a group of workers counts, in seconds.
_GROUP_S = 60.0
_MOST_GROUPS = 16


class DecisionReader:
    """Thread that reads decisions, keeps them in an index, and reports each one.

    It begins some minutes before the end of the topic, so a gateway that starts knows what was decided a moment ago.
    Decisions on frames of the past that were published again, and those of challengers, are skipped.

    Parameters
    ----------
    on_decision
        Called with each new decision, in the thread of the reader. It must return quickly.

    Raises
    ------
    BrokerUnavailable, TopicMissing, NotAuthorised, RegistryError
        From `open`.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: GatewaySettings,
        on_decision: Callable[[Decision], object],
        clock: Clock | None = None,
    ) -> None:
        self._kafka = kafka
        self._clock = clock or SystemClock()
        self._kept_s = settings.kept_s
        self._on_decision = on_decision
        self._codec = Codec.from_settings(kafka)
        self._letters = BatchLetters(kafka, "gateway")
        self._tail = Tail(kafka, kafka.decisions, reports_end=True, on_unreadable=self._letters.write, busy_s=BUSY_S)
        self.index = AnswerIndex(
            self._decode, settings.kept_s, settings.kept, settings.kept_mib * 1024 * 1024, self._clock.monotonic_s
        )
        self._limited = LimitedLog(_log)
        self._stop = threading.Event()
        self._has_caught_up = threading.Event()
        self.undecodable = 0
        #: Groups of workers, and the time of their last decisions.
        self._groups: dict[bytes, float] = {}
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    @property
    def is_running(self) -> bool:
        """True while the thread lives."""
        return self._thread.is_alive()

    @property
    def is_ready(self) -> bool:
        """True once all decisions that existed at the start have been read."""
        return self._has_caught_up.is_set()

    @property
    def has_two_groups(self) -> bool:
        """True if several groups of workers have answered in the last minute. Thread-safe."""
        since_s = self._clock.monotonic_s() - _GROUP_S
        return sum(at_s >= since_s for at_s in self._groups.copy().values()) > 1

    @property
    def connected(self) -> bool:
        """True if the brokers that lead the topic answer and let it be read, see `Tail.connected`."""
        return self._tail.connected

    @property
    def fault(self) -> NotAuthorised | TopicMissing | None:
        """Missing right, or missing topic, for which no decision is read; None without one."""
        return self._tail.fault

    def open(self) -> None:
        """Set the offsets to begin at, and start the thread."""
        since_us = self._clock.utc_us() - round(self._kept_s * 1e6)
        bounds = time_bounds(self._kafka, self._kafka.decisions, TimeRange(since_us))
        self._tail.open({partition: begin for partition, (begin, _) in bounds.items()})
        self._thread.start()

    def close(self) -> None:
        """Stop the thread. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._tail.close()
        self._letters.close()

    def _decode(self, value: bytes | None) -> Decision:
        return self._codec.decode(value, Decision, max_bytes=DECISIONS.max_message_bytes)

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._tail.poll(_POLL_S)
            if not self._has_caught_up.is_set() and self._tail.reached_end:
                self._has_caught_up.set()
            if message is None:
                continue
            value = message.value()
            try:
                decision = self._decode(value)
            except CodecError as error:
                self.undecodable += 1
                self._limited.warning("undecodable", f"{self._kafka.decisions}: skipped a message: {error}")
                continue
            if decision.is_simulated or decision.model_stage == "challenger":
                continue
            age_s = 0.0
            if not self._has_caught_up.is_set():  # later ones are of now, whatever the clocks say
                age_s = max(0.0, (self._clock.utc_us() - decision.decided_at_us) / 1e6)
            self._note_group(group_name(message_headers(message)))
            self.index.add(decision, value or b"", min(age_s, self._kept_s))
            self._on_decision(decision)

    def _note_group(self, group: bytes) -> None:
        if group not in self._groups and len(self._groups) >= _MOST_GROUPS:
            self._groups.clear()
        self._groups[group] = self._clock.monotonic_s()

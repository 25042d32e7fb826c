"""Follower of the topic of keys: what an authority of the trust folder has signed there counts within seconds."""

from __future__ import annotations

import logging

from confluent_kafka import Message

from schemas.settings import KafkaSettings
from transport.batch_trials.child import TriedMessage
from transport.batches import UnreadableBatch
from transport.headers import message_headers
from transport.limited_log import LimitedLog
from transport.spread_keys import KeyEntries
from transport.topic_follower import PATIENCE_S, RETRY_S, TopicFollower
from transport.trust import Trust

log = logging.getLogger(__name__)
#: Time, in seconds, in which each reason not to use an entry is named once, with the number of entries.
_NAME_S = 3600.0
#: Most bytes fetched ahead; the topic has small messages.
_FETCH_BYTES = 2 * 1024 * 1024


class KeyFollower(TopicFollower):
    """Thread that reads the topic of keys of a line from its beginning, and gives what counts to a trust folder.

    Entries that do not count are logged or counted. Without the topic, the keys known so far, and those of the folder,
    are believed. If other authorities are in the folder, the topic is read again: an entry may count now that did not
    before. A revocation that was read once stays until the process ends.

    Parameters
    ----------
    kafka
        Address and topic prefix.
    trust
        Folder whose authorities vouch for the entries; it gets the keys of the topic.
    patience_s, retry_s
        See `TopicFollower`.
    """

    def __init__(
        self, kafka: KafkaSettings, trust: Trust, *, patience_s: float = PATIENCE_S, retry_s: float = RETRY_S
    ) -> None:
        super().__init__(
            kafka,
            kafka.signing_keys,
            thread="key-follower",
            without="the keys of the trust folder are believed, trying again for those of the topic",
            ended=f"{kafka.signing_keys} is followed no longer; the keys known so far are believed",
            fetch_bytes=_FETCH_BYTES,
            patience_s=patience_s,
            retry_s=retry_s,
        )
        self._trust = trust
        own = trust.own_keys
        self._authorities = own.authorities
        self._entries = KeyEntries(kafka.signing_keys, own)
        self._limited = LimitedLog(log, _NAME_S)

    @property
    def faults(self) -> dict[str, int]:
        """Number of entries that are not used, by reason."""
        return dict(self._entries.faults)

    def _starts_over(self) -> bool:
        own = self._trust.own_keys
        if own.authorities == self._authorities:
            return False
        log.info("other authorities are in the trust folder: %s is read again", self._tail.topic)
        self._authorities = own.authorities
        self._entries = KeyEntries(self._tail.topic, own, self._entries.spread.revoked)
        return True

    def _use(self) -> None:
        spread = self._entries.spread
        self._trust.take_spread(spread)
        log.info(
            "%s: %d keys, %d revoked, %d entries not used",
            self._tail.topic, len(spread.by_id), len(spread.revoked), sum(self._entries.faults.values()),
        )  # fmt: skip

    def _take(self, message: Message | TriedMessage) -> bool:
        key = message.key()
        fault = self._entries.add(key, message.value(), message_headers(message))
        if fault is None:
            return True
        place = f"{self._tail.topic}/{message.partition()}@{message.offset()}"
        self._limited.warning(fault, f"{place}: the entry {(key or b'')[:40]!r} is not used: {fault}")
        return False

    def _left_out(self, batch: UnreadableBatch) -> None:
        self._limited.warning("batch", f"{self._tail.topic}: a batch is left out: {batch}")

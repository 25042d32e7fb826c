"""Follower of the topic of keys: what an authority of the trust folder has signed there counts within seconds."""

from __future__ import annotations

import logging
import threading

from confluent_kafka import Message

from schemas.errors import InspectionError
from schemas.settings import KafkaSettings
from transport.batch_trials.child import TriedMessage
from transport.batches import UnreadableBatch
from transport.headers import message_headers
from transport.limited_log import LimitedLog
from transport.spread_keys import KeyEntries
from transport.tail import Tail
from transport.trust import Trust

log = logging.getLogger(__name__)
_POLL_S = 0.1
#: Longest wait of `open` for the keys of the past, and time between two attempts on a missing topic, in seconds.
_PATIENCE_S = 10.0
_RETRY_S = 5.0
_JOIN_S = 2.0
#: Time, in seconds, in which each reason not to use an entry is named once, with the number of entries.
_NAME_S = 3600.0
#: Most bytes fetched ahead; the topic has small messages.
_FETCH_BYTES = 2 * 1024 * 1024


class KeyFollower:
    """Thread that reads the topic of keys of a line from its beginning, and gives what counts to a trust folder.

    A missing topic, an unreachable broker and entries that do not count are logged in one line or counted, and never
    raised; the keys known so far, and those of the folder, are believed meanwhile. If other authorities are in the
    folder, the topic is read again: an entry may count now that did not before. A revocation that was read once stays
    until the process ends.

    Parameters
    ----------
    kafka
        Address and topic prefix.
    trust
        Folder whose authorities vouch for the entries; it gets the keys of the topic.
    patience_s
        Longest time, in seconds, that `open` waits until the topic has been read.
    """

    def __init__(
        self, kafka: KafkaSettings, trust: Trust, *, patience_s: float = _PATIENCE_S, retry_s: float = _RETRY_S
    ) -> None:
        self._trust = trust
        self._tail = Tail(
            kafka, kafka.signing_keys, fetch_bytes=_FETCH_BYTES, reports_end=True, on_unreadable=self._left_out
        )
        own = trust.own_keys
        self._authorities = own.authorities
        self._entries = KeyEntries(self._tail.topic, own)
        self._limited = LimitedLog(log, _NAME_S)
        self._patience_s = patience_s
        self._retry_s = retry_s
        self._is_behind = True
        self._is_failing = False
        self._settled = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-follower", daemon=True)

    def open(self) -> None:
        """Start; return once the topic is read, once that fails, or after ``patience_s``. Never raises. Idempotent."""
        if self._thread.ident is None:
            self._thread.start()
        if not self._settled.wait(self._patience_s):
            log.warning("%s is not read after %g s; going on meanwhile", self._tail.topic, self._patience_s)

    def close(self) -> None:
        """Stop. Idempotent; may be called without `open`. Does not wait for a call to a dead broker."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    @property
    def has_read(self) -> bool:
        """True if all that the topic had at the start has been read."""
        return not self._is_behind

    @property
    def faults(self) -> dict[str, int]:
        """Number of entries that are not used, by reason."""
        return dict(self._entries.faults)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._begin_again_with_other_authorities()
                if self._tail.is_open or self._open_tail():
                    self._run_or_begin_again()
                else:
                    self._settled.set()
                    self._stop.wait(self._retry_s)
        except Exception:
            log.exception("%s is followed no longer; the keys known so far are believed", self._tail.topic)
        finally:
            self._settled.set()
            self._tail.close()

    def _begin_again_with_other_authorities(self) -> None:
        own = self._trust.own_keys
        if own.authorities == self._authorities:
            return
        log.info("other authorities are in the trust folder: %s is read again", self._tail.topic)
        self._authorities = own.authorities
        self._entries = KeyEntries(self._tail.topic, own, self._entries.spread.revoked)
        self._is_behind = True
        self._tail.close()

    def _open_tail(self) -> bool:
        try:
            # There are no offsets of a former run: read every partition from its beginning.
            self._tail.open({})
        except InspectionError as error:
            if not self._is_failing:
                log.warning("the keys of the trust folder are believed, trying again for those of the topic: %s", error)
            self._is_failing = True
            return False
        if self._is_failing:
            log.info("%s: it is followed now", self._tail.topic)
        self._is_failing = False
        return True

    def _run_or_begin_again(self) -> None:
        try:
            self._run_once()
        except (MemoryError, SystemError) as error:  # the client raises both if no memory is left for a message
            log.error("%s is read again: a batch takes all memory (%s)", self._tail.topic, error)
            self._tail.close()  # a child process reads what `open` finds, and leaves such a batch out
            self._is_behind = True

    def _run_once(self) -> None:
        message = self._tail.poll(_POLL_S)
        has_changed = message is not None and self._take(message)
        if self._is_behind and self._tail.reached_end:
            self._is_behind, has_changed = False, True
        if has_changed and not self._is_behind:
            spread = self._entries.spread
            self._trust.take_spread(spread)
            faults = sum(self._entries.faults.values())
            log.info(
                "%s: %d keys, %d revoked, %d entries not used",
                self._tail.topic, len(spread.by_id), len(spread.revoked), faults,
            )  # fmt: skip
            self._settled.set()

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

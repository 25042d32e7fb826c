"""Base of threads that read a whole topic of few messages and follow it, for a program that goes on without it."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from confluent_kafka import Message

from schemas.errors import InspectionError
from schemas.settings import KafkaSettings
from transport.batch_trials.child import TriedMessage
from transport.batches import UnreadableBatch
from transport.tail import Tail

_POLL_S = 0.1
#: Longest wait of `open` for the past, and time between two attempts on a missing topic, in seconds.
PATIENCE_S = 10.0
RETRY_S = 5.0
_JOIN_S = 2.0


class TopicFollower(ABC):
    """Thread that reads a topic from its beginning and follows it.

    What it learns counts once the past has been read, because later messages may revoke earlier ones. A missing topic
    and an unreachable broker are logged in one line, and never raised; the thread tries again. The methods that a
    subclass defines run on this thread, and the lines of the log have the logger of its module.

    Parameters
    ----------
    kafka, topic
        Address, and the name of the topic.
    thread
        Name of the thread.
    without
        First words of the line of the log if the topic cannot be followed; the error comes behind it.
    ended
        Line of the log if the thread ends by an error of the program.
    fetch_bytes
        Most bytes fetched ahead into memory.
    patience_s
        Longest time, in seconds, that `open` waits until the topic has been read.
    retry_s
        Time, in seconds, between two attempts to begin.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        *,
        thread: str,
        without: str,
        ended: str,
        fetch_bytes: int = 8 * 1024 * 1024,
        patience_s: float = PATIENCE_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self._tail = Tail(kafka, topic, fetch_bytes=fetch_bytes, reports_end=True, on_unreadable=self._left_out)
        self._log = logging.getLogger(type(self).__module__)
        self._without = without
        self._ended = ended
        self._patience_s = patience_s
        self._retry_s = retry_s
        self._is_behind = True
        self._is_failing = False
        self._settled = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=thread, daemon=True)

    def open(self) -> None:
        """Start; return once the past is read, once that fails, or after ``patience_s``. Never raises. Idempotent."""
        if self._thread.ident is None:
            self._thread.start()
        if not self._settled.wait(self._patience_s):
            self._log.warning(
                "%s: its past is not read after %g s; going on meanwhile", self._tail.topic, self._patience_s
            )

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
    def connected(self) -> bool:
        """True if the topic is read up to now and its brokers answer."""
        return self._thread.is_alive() and not self._is_behind and self._tail.connected

    @abstractmethod
    def _take(self, message: Message | TriedMessage) -> bool:
        """Take note of a message; return True if it changes what is known."""

    @abstractmethod
    def _use(self) -> None:
        """Hand over what is known: once the past is read, and after each change from then on."""

    @abstractmethod
    def _left_out(self, batch: UnreadableBatch) -> None:
        """Take note of a batch that no client can read, and that is skipped."""

    def _begin(self) -> None:
        """Begin with the first message; an `InspectionError` puts it off."""
        self._tail.open({})  # without offsets of a former run, every partition is read from its beginning

    def _starts_over(self) -> bool:
        """Return True if the whole topic is to be read again; called all the time."""
        return False

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if self._starts_over():
                    self._read_again()
                if self._tail.is_open or self._open_tail():
                    self._run_or_read_again()
                else:
                    self._settled.set()
                    self._stop.wait(self._retry_s)
        except Exception:  # noqa: BLE001 - the program goes on without the topic
            self._log.exception(self._ended)
        finally:
            self._settled.set()
            self._tail.close()

    def _open_tail(self) -> bool:
        try:
            self._begin()
        except InspectionError as error:
            if not self._is_failing:
                self._log.warning("%s: %s", self._without, error)
            self._is_failing = True
            return False
        if self._is_failing:
            self._log.info("%s: it is followed now", self._tail.topic)
        self._is_failing = False
        return True

    def _run_or_read_again(self) -> None:
        try:
            self._run_once()
        except (MemoryError, SystemError) as error:  # the client raises both if no memory is left for a message
            self._log.error("%s is read again: a batch takes all memory (%s)", self._tail.topic, error)
            self._read_again()  # a child process reads what `open` finds, and leaves such a batch out

    def _read_again(self) -> None:
        self._tail.close()
        self._is_behind = True

    def _run_once(self) -> None:
        message = self._tail.poll(_POLL_S)
        has_changed = message is not None and self._take(message)
        if self._is_behind and self._tail.reached_end:
            self._is_behind, has_changed = False, True
        if has_changed and not self._is_behind:
            self._use()
            self._settled.set()

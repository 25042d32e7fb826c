"""Member of a consumer group, on librdkafka: a thread reads ahead a little, and an event loop takes the messages.

The thread that polls the client also learns of rebalances. It then waits until the partitions are released. All other
calls of the client are made by this thread, too, between two polls: confluent-kafka allows one call at a time, and a
call from another thread would wait for the end of the poll. Only commits are made during a rebalance as well, because
the release of partitions ends with a commit.

The thread never waits for the answer to a commit. While it waited, nobody would poll: the client would miss rebalances,
and a new password that the answer needs would not reach it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import NotAuthorised, SettingsError
from schemas.settings import KafkaSettings
from stream_processors.faust_host.deleted_offsets import DeletedOffsets
from stream_processors.faust_host.messages import ReceivedMessage, received
from transport.batch_trials.after_death import BatchTrials, PartitionKey
from transport.batch_trials.trial import Tried
from transport.batches import BOUNDED, BatchSkipper
from transport.clients import LONG_LIVED, make_consumer

log = logging.getLogger(__name__)

T = TypeVar("T")
_Call = tuple[Callable[[], Any], Future[Any]]
_Offsets = frozenset[tuple[PartitionKey, int]]

#: Bytes that are read ahead for the event loop; the client is not polled for more while they wait.
_AHEAD_BYTES = 1024 * 1024
AHEAD_COUNT = 64
#: Messages that one call reads after the first.
_MORE = 31
#: Interval at which the thread looks for calls, in seconds.
_POLL_S = 0.05
#: Interval at which the client is polled although enough messages wait, so that a rebalance is noticed, in seconds.
_OVERDUE_S = 1.0
#: Most time that is left for messages to gather while earlier ones wait anyway, and the steps of it, in seconds.
_GATHER_S, _GATHER_STEP_S = 0.020, 0.004
#: Interval at which the thread looks for commits during a rebalance, in seconds.
_COMMITS_S = 0.005
#: Most time that a commit is waited for, in seconds.
_COMMIT_S = 10.0
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class FetchedBatch:
    """Messages, in order within a partition, and the rebalance or rewind to which they belong.

    An unreadable batch appears as one item, instead of its messages.
    """

    generation: int
    messages: list[ReceivedMessage]


class Listener(Protocol):
    """Receiver of rebalances, in the event loop while the thread waits; each call names all partitions ("eager")."""

    async def assigned(self, partitions: set[PartitionKey]) -> None:
        """Record that these partitions, and no others, are read from now on."""

    async def revoked(self, partitions: set[PartitionKey]) -> None:
        """Finish and commit the messages of these partitions."""

    async def failed(self, error: BaseException) -> None:
        """Record that no more messages will be read."""


class GroupConsumer:
    """Member of a consumer group. Create it in a running event loop, and call it from the event loop only.

    Parameters
    ----------
    kafka
        Address of Kafka.
    config
        Further settings of librdkafka.
    listener
        Receiver of rebalances.
    trials
        Trial reading of partitions after a process of the group has died; None: they are read as usual.
    is_busy
        Function that returns True while earlier messages wait for their turn. Messages then gather for some
        milliseconds: a fetch of a few messages costs broker and client as much as one of many.
    on_deleted
        Called in the reading thread with topic, partition and number of offsets that the topic deleted before they were
        read.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        config: Mapping[str, Any],
        listener: Listener,
        trials: BatchTrials | None = None,
        is_busy: Callable[[], bool] = lambda: False,
        on_deleted: Callable[[str, int, int], object] = lambda topic, partition, count: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        callbacks = {"error_cb": _log_error, "on_commit": self._on_commit}
        self._consumer = make_consumer(kafka, {**BOUNDED, **LONG_LIVED, **config, **callbacks})
        self._group = str(config.get("group.id"))
        self._skipper = BatchSkipper(kafka)
        self._deleted = DeletedOffsets(self._consumer, on_deleted)
        self._assigned: frozenset[PartitionKey] = frozenset()
        self._trials = trials
        self._is_busy = is_busy
        self._tried: dict[PartitionKey, Tried] = {}
        #: Messages from a trial, and what the client has read since: handed on bit by bit, in order.
        self._first: deque[ReceivedMessage] = deque()
        self._ahead: deque[ReceivedMessage] = deque()
        self._ahead_bytes = 0
        self._generation = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._arrived: asyncio.Future[None] | None = None
        self._calls: deque[_Call] = deque()
        self._commits: deque[_Call] = deque()
        self._unanswered: dict[_Offsets, Future[None]] = {}
        self._closing = self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    @property
    def assigned(self) -> frozenset[PartitionKey]:
        """Topics and partitions of this member."""
        return self._assigned

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Join the group for these topics."""

        def subscribe() -> None:
            self._consumer.subscribe(list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke)

        await self._call(subscribe)

    async def take(self) -> FetchedBatch:
        """Return the messages read so far, and wait for the first one; empty if the consumer is closed."""
        if not self._ahead and not self._closing:
            self._arrived = self._loop.create_future()
            if not self._ahead:  # it may have come in between
                await self._arrived
            self._arrived = None
        with self._lock:
            taken = FetchedBatch(self._generation, list(self._ahead))
            self._ahead.clear()
            self._ahead_bytes = 0
        self._wake.set()
        return taken

    def is_stale(self, batch: FetchedBatch) -> bool:
        """Return True if a batch is from before the last rebalance or rewind: its messages are read again."""
        return batch.generation != self._generation

    async def rewind(self) -> dict[PartitionKey, int | None]:
        """Read on from the committed offsets, and return them; None for a partition without one."""
        return await self._call(self._rewind)

    async def commit(self, offsets: Mapping[PartitionKey, int]) -> None:
        """Commit offsets, and wait until the broker has them.

        During a rebalance it returns when the client has them: the client gives no partition up before the broker has
        answered its commits, or they have failed.

        Raises
        ------
        KafkaException
            If the broker refuses them, or does not answer within 10 seconds.
        """
        answered = await self._call(lambda: self._send_commit(dict(offsets)), self._commits)
        try:
            await asyncio.wait_for(asyncio.wrap_future(answered), _COMMIT_S)
        except TimeoutError:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the coordinator does not answer")) from None

    async def close(self) -> None:
        """Leave the group; other members read the messages that are not committed."""
        self._closing = True
        self._wake.set()
        self._notify()
        await asyncio.to_thread(self._thread.join)

    async def _call(self, what: Callable[[], T], calls: deque[_Call] | None = None) -> T:
        """Run a function in the thread; raise KafkaException if the thread has ended."""
        called: Future[T] = Future()
        with self._lock:  # so that a call is made, or comes after the end, and is never left
            if self._has_ended:
                _ended()
            (self._calls if calls is None else calls).append((what, called))
        self._wake.set()
        return await asyncio.wrap_future(called)

    def _run(self) -> None:
        try:
            while not self._closing:
                self._wake.clear()
                _answer(self._commits)
                _answer(self._calls)
                if not self._has_enough() or not self._wake.wait(_OVERDUE_S):
                    self._read()
            self._skipper.close()
            self._consumer.close()
        except BaseException as error:  # noqa: BLE001 - said to who can end the process
            asyncio.run_coroutine_threadsafe(self._listener.failed(error), self._loop)
        finally:
            with self._lock:
                self._has_ended = True
            _answer(deque((_ended, called) for _, called in (*self._calls, *self._commits)))
            _answer(deque((_ended, answered) for answered in self._unanswered.values()))

    def _send_commit(self, offsets: Mapping[PartitionKey, int]) -> Future[None]:
        """Hand a commit to the client, and return what will have the answer."""
        answered: Future[None] = Future()
        wanted = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        self._consumer.commit(offsets=wanted, asynchronous=True)
        self._unanswered[frozenset(offsets.items())] = answered
        return answered

    def _on_commit(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        offsets = frozenset(((each.topic, each.partition), each.offset) for each in partitions)
        answered = self._unanswered.pop(offsets, None)
        if answered is None or not answered.set_running_or_notify_cancel():
            return
        refusal = next((each.error for each in partitions if each.error is not None), error)
        if refusal is None:
            answered.set_result(None)
        else:
            answered.set_exception(KafkaException(refusal))

    def _has_enough(self) -> bool:
        return self._ahead_bytes >= _AHEAD_BYTES or len(self._ahead) >= AHEAD_COUNT

    def _gather(self) -> None:
        until_s = time.monotonic() + _GATHER_S
        while self._is_busy() and not self._closing and time.monotonic() < until_s:
            time.sleep(_GATHER_STEP_S)

    def _read(self) -> None:
        self._gather()
        first = self._consumer.poll(0 if self._first else _POLL_S)
        messages = [] if first is None else [first]
        if messages and not self._first and not self._has_enough():
            messages += self._consumer.consume(_MORE, 0)
        good = [message for message in messages if not self._skipper.met(message) and not self._is_error(message)]
        skipped = self._skipper.skip(self._consumer)
        for message in good:
            offset = message.offset() or 0
            self._deleted.read((message.topic() or "", message.partition() or 0), offset, offset + 1)
        for batch in skipped:
            self._deleted.read((batch.topic, batch.partition), batch.first, batch.following)
        records = [received(message) for message in good] + [received(batch) for batch in skipped]
        if self._first:
            self._first.extend(records)
            records = [] if self._has_enough() else [self._first.popleft()]
        if not records:
            return
        with self._lock:
            self._ahead.extend(records)
            self._ahead_bytes += sum(each.size_bytes for each in records)
        if self._arrived is not None:
            self._loop.call_soon_threadsafe(self._notify)

    def _is_error(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise NotAuthorised("topic", str(message.topic()), "READ")
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise NotAuthorised("group", self._group, "READ")
        if error.code() == KafkaError.INVALID_SESSION_TIMEOUT:
            raise SettingsError(
                "the broker accepts no session timeout as short or as long as this: see its "
                "group.min.session.timeout.ms (by default 6 s) and group.max.session.timeout.ms"
            )
        if error.fatal():
            raise KafkaException(error)
        log.warning("the client that reads frames: %s", error.str())
        return True

    def _notify(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def _rewind(self) -> dict[PartitionKey, int | None]:
        self._forget()
        committed = self._committed()
        self._begin(committed)
        return {(each.topic, each.partition): each.offset if each.offset >= 0 else None for each in committed}

    def _committed(self) -> list[TopicPartition]:
        return self._consumer.committed([TopicPartition(*partition) for partition in self._assigned], _TIMEOUT_S)

    def _begin(self, committed: list[TopicPartition]) -> None:
        """Read on from committed offsets, or behind the batches that a trial has found."""
        begins = []
        for each in committed:
            tried = self._tried.get((each.topic, each.partition))
            records = [] if tried is None else tried.since(each.offset)
            self._first.extend(map(received, records))
            # A partition without a committed offset follows auto.offset.reset.
            offset = tried.following if tried is not None and records else each.offset
            begins.append(TopicPartition(each.topic, each.partition, offset))
            if offset >= 0:
                self._deleted.begin((each.topic, each.partition), offset)
        self._consumer.assign(begins)

    def _try_out(self) -> None:
        """Try what is read next, if a process of the group has died. It is called before the client fetches."""
        self._tried = {}
        if self._trials is None or self._closing or not self._assigned or not self._trials.are_due():
            return
        try:
            committed = self._committed()
            self._tried = self._trials.try_out(committed, lambda: self._closing)
            if self._tried:
                self._begin(committed)
        except KafkaException as error:
            log.warning("partitions are read without a trial: %s", error.args[0].str())

    def _forget(self) -> None:
        self._skipper.forget()
        self._deleted.forget()
        with self._lock:
            self._generation += 1
            self._first.clear()
            self._ahead.clear()
            self._ahead_bytes = 0

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned = frozenset((each.topic, each.partition) for each in partitions)
        self._forget()
        self._in_loop(self._listener.assigned(set(self._assigned)))
        self._try_out()

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._in_loop(self._listener.revoked({(each.topic, each.partition) for each in partitions}))
        self._assigned = frozenset()
        self._tried = {}
        self._forget()

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the event loop and wait for it, unless the reader is being closed."""
        if self._closing:
            work.close()
            return
        done = asyncio.run_coroutine_threadsafe(work, self._loop)
        while not self._closing:
            _answer(self._commits)
            # Their callbacks are called by a poll, and the poll waits for the end of this.
            _answer(deque((_nothing, answered) for answered in self._unanswered.values()))
            self._unanswered.clear()
            if wait((done,), _COMMITS_S).done:
                return done.result()


def _answer(calls: deque[_Call]) -> None:
    while calls:
        what, called = calls.popleft()
        if not called.set_running_or_notify_cancel():
            continue
        try:
            called.set_result(what())
        except Exception as error:  # noqa: BLE001 - for who has called
            called.set_exception(error)


def _nothing() -> None:
    """Return the answer to a commit."""


def _ended() -> None:
    raise KafkaException(KafkaError(KafkaError._DESTROY, "the reader has ended"))


def _log_error(error: KafkaError) -> None:
    log.warning("the client that reads frames: %s", error.str())

"""Publisher of decisions and dead letters, through librdkafka.

Faust's own producer, aiokafka, is written in Python. librdkafka takes a fraction of its time for a message, and sends
simultaneous messages as one request. A message counts as published when the broker has acknowledged it, not before.

A message that Kafka refuses for good is sent again in another form: smaller if it is too large, with another timestamp
if this machine's clock differs from the broker's (the record itself has the times). If no form helps, the worker ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException

from schemas.codec import Codec
from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from stream_processors.worker.forms import Form, HeaderPairs, decision_forms, letter_forms
from stream_processors.worker.frame_task import FrameTask
from transport.header_values import traceparent
from transport.limited_log import LimitedLog
from transport.producer import Producer, make_idempotent_producer
from transport.refusals import Refused, refusal_of
from transport.topic_times import TopicTimes, at_ms

log = logging.getLogger(__name__)

#: If Kafka has not accepted a result after this time, in ms, the worker ends.
DELIVERY_TIMEOUT_MS = 30_000
_QUEUE_KIB = 128 * 1024
_POLL_S = 0.05
#: Pause after acknowledgements, in seconds: several are handled together, and no result waits for them.
_REST_S = 0.005
_FULL_S = 0.005
#: Most time that answers to shed frames gather, in seconds: each request costs broker and client as much as an answer.
_GATHER_S = 0.020
#: Most time to send a large message alone, in seconds.
_ALONE_S = 1.0
#: Most times that a message is sent again because another message of its batch was refused.
_NEIGHBOUR_TRIES = 20


class Completion(Protocol):
    """Receiver of published frames, see `stream_processors.worker.ordered_completion.OrderedCompletion`."""

    def complete(self, task: FrameTask) -> None:
        """Mark a frame whose result Kafka has acknowledged. Thread-safe."""


class ResultPublisher:
    """Publisher of results. Thread-safe.

    Parameters
    ----------
    kafka
        Address of Kafka. The constructor waits for the client, two seconds at most.
    completion
        Called, in the thread of the publisher, when Kafka has acknowledged all parts of a result.
    fail
        Called with the error, in the thread of the publisher, if Kafka refuses a result in every form.
    codec
        Encoder of smaller forms; None: without a registry.
    headers
        HeaderPairs of every decision, beside the ``traceparent`` of its frame.
    gathered
        Most answers to shed frames that gather before they are sent.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        completion: Completion,
        fail: Callable[[BaseException], object],
        codec: Codec | None = None,
        headers: HeaderPairs = (),
        gathered: int = 1,
    ) -> None:
        self._completion = completion
        self._decisions, self._dead_letters = kafka.decisions, kafka.dead_letters
        self._fail = fail
        self._headers = headers
        self._encode = (codec or Codec()).encode
        self._again: deque[_Message] = deque()
        self._gathered = gathered
        self._shed: deque[FrameTask] = deque()
        self._shed_lock = threading.Lock()
        self._shed_left_s = 0.0
        self._limited = LimitedLog(log)
        self._times = TopicTimes()
        self._producer: Producer = make_idempotent_producer(
            kafka,
            {
                "acks": "all",
                "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
                "message.max.bytes": MAX_REQUEST_BYTES,
                "queue.buffering.max.kbytes": _QUEUE_KIB,
            },
            self._log_error,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="publish", daemon=True)
        self._thread.start()

    def publish(self, task: FrameTask) -> None:
        """Send the parts of a result: the decision, with the ``traceparent`` of the frame, and the dead letter.

        If answers to shed frames follow each other quickly, they gather, and leave together.
        """
        if task.result.shed is None:
            self._send(task)
        else:
            self._shed.append(task)
        self._send_shed()

    def _send_shed(self) -> None:
        """Send the answers that have gathered, if the last ones left long enough ago."""
        is_due = len(self._shed) >= self._gathered or time.perf_counter() - self._shed_left_s >= _GATHER_S
        if not self._shed or not is_due:
            return
        with self._shed_lock:
            tasks = [self._shed.popleft() for _ in range(len(self._shed))]
            self._shed_left_s = time.perf_counter()
        for task in tasks:
            self._send(task)

    def _send(self, task: FrameTask) -> None:
        task.published_s = time.perf_counter()
        result = task.result
        forms: list[tuple[str, Iterator[Form]]] = []
        if result.decision is not None:
            trace = traceparent(task.message.headers)
            headers = self._headers if trace is None else (("traceparent", trace), *self._headers)
            forms.append((self._decisions, decision_forms(result, headers, self._encode)))
        if result.dead_letter is not None:
            forms.append((self._dead_letters, letter_forms(result, self._encode)))
        sent = _Sent(task, len(forms))
        for message in [_Message(topic, each, next(each), sent) for topic, each in forms]:
            while not self._produce(message):
                self._await_room()

    def close(self) -> None:
        """Stop the thread. Call when all published results are acknowledged."""
        self._stop.set()
        self._thread.join()

    def _produce(self, message: _Message) -> bool:
        """Pass a message to the client; return False if its queue is full."""
        form, message.clip_s = message.form, self._times.clip_s(message.topic)
        try:
            self._producer.produce(
                message.topic,
                form.value,
                form.key,
                headers=list(form.headers) or None,
                timestamp=at_ms(message.clip_s),
                on_delivery=partial(self._delivered, message),
            )
        except BufferError:
            return False
        except KafkaException as error:  # larger than this client can send
            self._delivered(message, error.args[0], None)
        return True

    def _await_room(self) -> None:
        if threading.current_thread() is self._thread:  # only this thread makes room
            self._producer.poll(_FULL_S)
        else:
            time.sleep(_FULL_S)

    def _poll(self) -> None:
        try:
            while not self._stop.wait(_REST_S):
                self._producer.poll(_POLL_S)
                self._send_shed()
                self._send_again()
        except Exception as error:  # noqa: BLE001 - a fatal error of the client, or a fault: nothing more is sent
            self._fail(error)

    def _send_again(self) -> None:
        for _ in range(len(self._again)):
            message = self._again.popleft()
            if not message.form.is_small:
                self._producer.flush(_ALONE_S)
            if not self._produce(message):
                self._again.append(message)
            elif not message.form.is_small:
                self._producer.flush(_ALONE_S)  # the next message begins another batch

    def _delivered(self, message: _Message, error: KafkaError | None, _: object) -> None:
        if error is None:
            self._acknowledged(message.sent)
        elif self._changes(message, error):
            self._again.append(message)  # not from here: the queue may be full, and this thread empties it
        else:
            self._fail(KafkaException(error))

    def _acknowledged(self, sent: _Sent) -> None:
        sent.missing -= 1
        if not sent.missing:
            sent.task.acknowledged_s = time.perf_counter()
            self._completion.complete(sent.task)

    def _changes(self, message: _Message, error: KafkaError) -> bool:
        """Choose another form for a refused message; return False if there is no other form."""
        refusal = refusal_of(error)
        if refusal is Refused.TIMESTAMP:
            return self._times.try_next(message.topic, message.clip_s)
        if refusal is Refused.NEIGHBOUR:
            message.tries += 1
            return message.tries <= _NEIGHBOUR_TRIES
        # Brokers use this error for a timestamp too, and for a message without a key on a compacted topic.
        is_of_time = refusal is Refused.RECORD and message.form.key is not None
        if is_of_time and self._times.try_next(message.topic, message.clip_s):
            return True
        if refusal is None:
            return False
        form = next(message.forms, None)
        if form is None:
            return False
        if form is not message.form:
            log.warning("%s does not take a message (%s): it goes again, smaller", message.topic, error.str())
        message.form = form
        return True

    def _log_error(self, error: KafkaError) -> None:
        self._limited.warning(str(error.code()), f"the client that publishes decisions: {error.str()}")


@dataclass(slots=True)
class _Message:
    """Message in flight: the form that was sent, and the forms that are left."""

    topic: str
    forms: Iterator[Form]
    form: Form
    sent: _Sent
    clip_s: float | None = None
    tries: int = 0


@dataclass(slots=True)
class _Sent:
    """Result in flight: its task, and the number of its messages that are not acknowledged yet."""

    task: FrameTask
    missing: int

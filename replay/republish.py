"""Publisher of recorded frames for a simulated line: as they were captured, and marked as a replay.

Key and record stay unchanged. The record has the same bytes if it was written by this version's schema, and an invalid
record is sent as it came. So a new worker, a detector or a driver sees the same frames as the line did. Headers mark
the message as a replay, and name the original message and its time (`schemas.replay_headers`). The message's own
timestamp is the present: with the old one the broker's retention would delete it at once.
"""

from __future__ import annotations

import heapq
import logging
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message

from replay.past.resolved_selection import ResolvedSelection
from schemas.codec import Codec
from schemas.errors import InspectionError, SettingsError
from schemas.moments import time_of, time_text
from schemas.records import Frame
from schemas.replay_headers import (
    REPLAY_HEADER,
    REPLAY_OF_HEADER,
    REPLAY_PART,
    REPLAY_TIMESTAMP_HEADER,
    is_replay_name,
)
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES, MAX_REQUEST_BYTES, TOPICS, check_prefix
from transport.broker_cause import broker_error, kafka_error
from transport.producer import make_producer
from transport.refusals import refusal_of
from transport.stored_message import StoredMessage

#: Frames (and their approximate bytes) that are kept in memory to sort them by capture.
ORDERED_FRAMES, ORDERED_BYTES = 2_000, 64 * 1024 * 1024
#: Seconds in which the broker must accept a frame; after a stop, frames in flight have less time.
_FLUSH_S, _STOPPED_FLUSH_S = 30.0, 5.0
#: Longest gap between captures that the run waits for: one frame with a wrong time must not stop it.
_LONGEST_GAP_US = 60 * 86_400 * 1_000_000
#: Seconds of a wait above which it is logged.
_SAY_S = 10.0
_POLL_S = 0.05
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Republished:
    """Result of a republication.

    Parameters
    ----------
    published
        Number of frames that the broker acknowledged; it has refused ``failed`` others for good.
    refusal
        First reason for which the broker refused a frame; empty without one.
    late_ms
        Largest delay of a frame behind its time; 0 at ``max`` speed.
    unordered
        Number of frames that came too far out of order to be sorted; they were sent on arrival.
    cameras
        Number of published frames by key.
    is_finished
        False if the run was stopped.
    """

    run_id: str
    published: int
    failed: int
    late_ms: float
    unordered: int
    cameras: dict[str, int] = field(default_factory=dict)
    is_finished: bool = True
    refusal: str = ""


def by_partition(
    resolved: ResolvedSelection, stop: threading.Event | None = None
) -> list[Iterator[StoredMessage[Frame]]]:
    """Return the frames of each partition of a stretch; each partition has its own consumer."""
    begun = dict.fromkeys(resolved.ranges, 2**63 - 1)
    after = [{other: end for other, end in begun.items() if other != number} for number in resolved.ranges]
    return [(found for found, _ in resolved.frames(each, stop=stop)) for each in after]


def prefix_of(topic: str, live: KafkaSettings) -> str:
    """Return the prefix of the simulated line to which a frames topic belongs.

    Raises
    ------
    SettingsError
        If a live line may read it: the name must be ``PREFIX.frames``, with ``replay`` between dots in the prefix.

    Examples
    --------
    >>> prefix_of("inspection.replay.frames", KafkaSettings())
    'inspection.replay'
    >>> prefix_of("inspection.frames", KafkaSettings())
    Traceback (most recent call last):
    ...
    schemas.errors.SettingsError: --to-topic inspection.frames: frames of the past never go to a topic of the live line
    """
    prefix, _, suffix = topic.rpartition(".")
    if topic in {each.name(live.prefix) for each in TOPICS}:
        raise SettingsError(f"--to-topic {topic}: frames of the past never go to a topic of the live line")
    if suffix != FRAMES.suffix or not is_replay_name(prefix):
        raise SettingsError(
            f"--to-topic {topic}: a name that no live line has, ending in .{FRAMES.suffix} and with {REPLAY_PART!r} "
            f"between dots, such as {live.prefix}.{REPLAY_PART}.{FRAMES.suffix}"
        )
    return check_prefix(prefix)


def speed_of(text: str) -> float:
    """Return a speed as a factor: ``1x``, ``10x``, ``0.5x``; ``max`` is infinite.

    Raises
    ------
    SettingsError
        If the text is not a speed.

    Examples
    --------
    >>> speed_of("10x"), speed_of("max")
    (10.0, inf)
    """
    if text == "max":
        return math.inf
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not (text.endswith("x") and 0 < speed < math.inf):
        raise SettingsError(f"--speed {text!r}: as in 1x, 10x, 0.5x, or max")
    return speed


def by_capture(
    streams: Sequence[Iterable[StoredMessage[Frame]]], *, count: int = ORDERED_FRAMES, size_bytes: int = ORDERED_BYTES
) -> Iterator[tuple[int, StoredMessage[Frame]]]:
    """Yield the frames of all partitions by time of capture, with this time; an invalid frame goes by its timestamp.

    Parameters
    ----------
    streams
        One stream for each partition, in the order of offsets. They are read side by side, so that no partition has to
        be kept in memory until another one catches up.
    count, size_bytes
        Maximum number of frames kept in memory, and their bytes. They limit how far the cameras of one partition may be
        out of order.
    """
    share = max(1, len(streams))
    ordered = [_ordered(stream, max(1, count // share), size_bytes // share) for stream in streams]
    return heapq.merge(*ordered, key=lambda each: each[0])


def _ordered(
    frames: Iterable[StoredMessage[Frame]], count: int, size_bytes: int
) -> Iterator[tuple[int, StoredMessage[Frame]]]:
    heap: list[tuple[int, int, StoredMessage[Frame]]] = []
    waiting_bytes = 0
    for found in frames:
        at_us = found.timestamp_us if found.record is None else found.record.captured_at_us
        heapq.heappush(heap, (at_us, found.position.offset, found))
        waiting_bytes += _size(found)
        while len(heap) > count or (waiting_bytes > size_bytes and len(heap) > 1):
            at_us, _, first = heapq.heappop(heap)
            waiting_bytes -= _size(first)
            yield at_us, first
    while heap:
        at_us, _, first = heapq.heappop(heap)
        yield at_us, first


def republish(
    streams: Sequence[Iterable[StoredMessage[Frame]]],
    kafka: KafkaSettings,
    topic: str,
    *,
    speed: float = 1.0,
    run_id: str | None = None,
    stop: threading.Event | None = None,
    on_published: Callable[[int], object] = lambda count: None,
) -> Republished:
    """Publish frames to a topic of a simulated line, at the intervals of their capture.

    Parameters
    ----------
    streams
        One stream for each partition, as `ResolvedSelection.frames` yields it; see `by_partition`.
    topic
        An existing topic, see `prefix_of`.
    speed
        Factor on the time between captures; infinite for no waiting.
    run_id
        Id for the header; None for a new one.
    stop
        Once it is set, no more frames are sent.

    Raises
    ------
    SettingsError
        If the topic may be a live one.
    BrokerUnavailable
        If the broker stops accepting frames.
    """
    prefix_of(topic, kafka)
    run_id = run_id or uuid.uuid4().hex[:12]
    stop = stop or threading.Event()
    sender = _Sender(kafka, topic, run_id, stop)
    pace = _Pace(speed, stop)
    newest_us, unordered = -(2**63), 0
    for at_us, found in by_capture(streams):
        unordered += at_us < newest_us
        newest_us = max(newest_us, at_us)
        pace.wait(at_us, sender.poll)
        if stop.is_set():
            break
        sender.send(found)
        on_published(sender.sent)
    sender.flush()
    return Republished(
        run_id=run_id,
        published=sender.cameras.total(),
        failed=sender.failed,
        late_ms=pace.late_ms,
        unordered=unordered,
        cameras=dict(sender.cameras),
        is_finished=not stop.is_set(),
        refusal=sender.refusal,
    )


class _Pace:
    """Pace of the frames: waits until a frame is due, by the time between its capture and the first capture.

    After a gap that is too long to wait for, the next frame counts as the first one.
    """

    def __init__(self, speed: float, stop: threading.Event) -> None:
        self._speed = speed
        self._stop = stop
        self._first: tuple[int, float] | None = None
        self.late_ms = 0.0

    def wait(self, at_us: int, meanwhile: Callable[[], object]) -> None:
        if math.isinf(self._speed):
            return
        if time_of(at_us) is None:
            return  # an impossible time
        if self._first is None:
            self._first = at_us, time.monotonic()
        first_us, began_s = self._first
        due_s = began_s + (at_us - first_us) / 1e6 / self._speed
        if abs(at_us - first_us) > _LONGEST_GAP_US:
            _log.warning(
                "a frame was captured at %s, months from the one at %s: the run does not wait",
                time_text(at_us), time_text(first_us),
            )  # fmt: skip
            self._first = at_us, time.monotonic()
            return
        if (wait_s := due_s - time.monotonic()) > _SAY_S:
            _log.warning("the next frame was captured %.0f s later: it is due in %.0f s", wait_s * self._speed, wait_s)
        while (left_s := due_s - time.monotonic()) > 0 and not self._stop.is_set():
            meanwhile()
            self._stop.wait(min(left_s, _POLL_S))
        self.late_ms = max(self.late_ms, -left_s * 1000)


class _Sender:
    def __init__(self, kafka: KafkaSettings, topic: str, run_id: str, stop: threading.Event) -> None:
        self._kafka = kafka
        self._topic = topic
        self._run_id = run_id
        self._stop = stop
        self._codec = Codec.from_settings(kafka)
        self._producer = make_producer(
            kafka,
            {
                "message.max.bytes": MAX_REQUEST_BYTES,
                "message.timeout.ms": round(_FLUSH_S * 1000),
                "queue.buffering.max.kbytes": 64 * 1024,
            },
        )
        self.sent = self.failed = 0
        self.refusal = ""
        self._problem: KafkaError | None = None
        #: Acknowledged frames by key.
        self.cameras: Counter[str] = Counter()

    def send(self, found: StoredMessage[Frame]) -> None:
        # A frame is decoded and encoded again: the bytes are the same, since its schema is this version's.
        value = found.value if found.record is None else self._codec.encode(found.record)
        headers: list[tuple[str, str | bytes | None]] = [
            *found.headers.items(),
            (REPLAY_HEADER, self._run_id),
            (REPLAY_OF_HEADER, str(found.position)),
            (REPLAY_TIMESTAMP_HEADER, str(found.timestamp_us)),
        ]
        camera = "" if found.record is None else found.record.key
        on_delivery = partial(self._delivered, camera)
        while not self._stop.is_set():
            try:
                self._producer.produce(self._topic, value, found.key, headers=headers, on_delivery=on_delivery)
                break
            except BufferError:  # the queue is full: wait until some messages are delivered
                self._producer.poll(_POLL_S)
            except KafkaException as error:
                if refusal_of(error.args[0]) is not None:
                    self._refused(error.args[0])
                    return
                raise InspectionError(f"{found.position} cannot be published: {error.args[0].str()}") from error
            self._check()
        else:
            return
        self.sent += 1
        self.poll()

    def poll(self) -> None:
        try:
            self._producer.poll(0)
        except KafkaException as error:
            raise kafka_error(self._kafka, error.args[0], self._topic) from error
        self._check()

    def flush(self) -> None:
        try:
            left = self._producer.flush(_STOPPED_FLUSH_S if self._stop.is_set() else _FLUSH_S)
        except KafkaException as error:
            raise kafka_error(self._kafka, error.args[0], self._topic) from error
        self._check()
        if left:
            raise broker_error(self._kafka, f"{left} frames are not acknowledged")

    def _delivered(self, camera: str, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.cameras[camera] += 1
        elif refusal_of(error) is None:
            self._problem = error
        else:  # the next frame is sent
            self._refused(error)

    def _refused(self, error: KafkaError) -> None:
        self.failed += 1
        self.refusal = self.refusal or error.str()

    def _check(self) -> None:
        if self._problem is not None:
            raise kafka_error(self._kafka, self._problem, self._topic)


def _size(found: StoredMessage[Frame]) -> int:
    if found.record is None:
        return len(found.value or b"")
    return len(found.record.image or b"")

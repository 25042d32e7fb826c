"""Child process of `transport.batch_trials.program`, as its parent sees it."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from schemas.settings import KafkaSettings
from transport.batch_trials.pipe import ChildPipe, Ended, Unproven, broken, number
from transport.batch_trials.program import CPU_S, TOO_LARGE, UNREADABLE
from transport.batches import UnreadableBatch
from transport.limited_child import start_child

#: Memory that the child may take: 60 MiB idle, 224 MiB with the largest batch that a reader accepts, of one message.
MEMORY_BYTES = 288 * 1024 * 1024
_LONGEST_REASON = 1_000
_MEMORY = f"reading it takes more than {MEMORY_BYTES // 1024**2} MiB"
#: Statuses of a child that died of what it read, and why. Any other, as SIGKILL, proves nothing.
_DEATHS = {
    TOO_LARGE: _MEMORY,
    UNREADABLE: "the client does not unpack it",
    -signal.SIGABRT: _MEMORY,  # librdkafka, when it gets no memory
    -signal.SIGPROF: f"unpacking it takes more than {CPU_S:g} s of processor time",
    -signal.SIGSEGV: "the process that read it ended with signal 11",
    -signal.SIGBUS: "the process that read it ended with signal 7",
}


@dataclass(frozen=True, slots=True)
class TriedMessage:
    """Message that a child has read; has the methods of confluent-kafka's that a consumer calls."""

    place: tuple[str, int]
    at: int
    kind: int
    timestamp_ms: int
    named: list[tuple[str, bytes]]
    key_bytes: bytes | None
    value_bytes: bytes | None

    def topic(self) -> str:
        """Return the topic."""
        return self.place[0]

    def partition(self) -> int:
        """Return the partition."""
        return self.place[1]

    def offset(self) -> int:
        """Return the offset."""
        return self.at

    def key(self) -> bytes | None:
        """Return the key."""
        return self.key_bytes

    def value(self) -> bytes | None:
        """Return the value."""
        return self.value_bytes

    def headers(self) -> list[tuple[str, bytes]]:
        """Return the headers."""
        return self.named

    def timestamp(self) -> tuple[int, int]:
        """Return kind and milliseconds."""
        return self.kind, self.timestamp_ms

    def __len__(self) -> int:
        return len(self.value_bytes or b"")


@dataclass(slots=True)
class ChildReport:
    """Report of a child on one partition.

    Parameters
    ----------
    begin, high
        First offset that it reads, and end of the partition.
    messages
        In order; a batch that the client does not unpack stands in place of its messages.
    following
        All before this offset has been read.
    killed
        Reason for which it died of the batch that follows; None if it did not.
    """

    begin: int
    high: int
    following: int
    messages: list[TriedMessage | UnreadableBatch] = field(default_factory=list)
    killed: str | None = None


class BatchChild:
    """Child that reads partitions one after the other.

    Parameters
    ----------
    kafka
        ``host:port[,host:port]``.
    deadline_s
        End of its time, on the monotonic clock.
    is_stopped
        Asked again and again: True ends the trial.
    is_alone
        It delivers each message before it fetches the next batch.
    is_ahead
        It fetches several batches at once: faster, and what it dies of need not be the next batch.
    is_committed
        It reads committed messages only.
    command
        Program; another one in tests.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        deadline_s: float,
        is_stopped: Callable[[], bool] = lambda: False,
        *,
        is_alone: bool = False,
        is_ahead: bool = False,
        is_committed: bool = False,
        command: tuple[str, ...] = ("-P", "-m", "transport.batch_trials.program"),
    ) -> None:
        self._pipe = ChildPipe(start_child(*command), deadline_s, is_stopped)
        self._pipe.tell(
            kafka=dataclasses.asdict(kafka),
            alone=is_alone,
            ahead=is_ahead,
            committed=is_committed,
            memory=MEMORY_BYTES,
        )
        self._is_ready = False

    @property
    def deadline_s(self) -> float:
        """End of its time, on the monotonic clock; may be changed."""
        return self._pipe.deadline_s

    @deadline_s.setter
    def deadline_s(self, deadline_s: float) -> None:
        self._pipe.deadline_s = deadline_s

    def read(self, topic: str, partition: int, offset: int, *, count: int = 1, size_bytes: int = 1) -> ChildReport:
        """Have a partition read from an offset on, up to a number of messages or of bytes.

        A child that has died, or broken the protocol, can read nothing more.

        Raises
        ------
        Unproven
            If the child has not come as far as to read, or nothing is known of why it ended.
        """
        if not self._is_ready:
            self._is_ready = self._pipe.hear().get("ready") is True
        if not self._is_ready:
            raise Unproven("the child process does not get ready")
        self._pipe.tell(topic=topic, partition=partition, offset=offset, count=count, bytes=size_bytes)
        begun = self._pipe.hear()
        begin, high = number(begun, "begin"), number(begun, "high")
        if not offset <= begin <= max(high, 0):
            raise broken()
        report = ChildReport(begin, high, begin)
        kept_bytes = 0
        try:
            while "end" not in (line := self._pipe.hear()):
                if len(report.messages) >= 2 * count or kept_bytes >= size_bytes:
                    raise broken()
                if "following" in line:
                    first = max(report.following, number(line, "first"))  # reading may begin within the batch
                    following, why = number(line, "following"), str(line.get("why"))[:_LONGEST_REASON]
                    report.messages.append(UnreadableBatch(topic, partition, first, following, why))
                else:
                    message = self._message((topic, partition), line)
                    first, following = message.at, message.at + 1
                    report.messages.append(message)
                    kept_bytes += len(message)
                if not report.following <= first < following:
                    raise broken()
                report.following = following
            report.following = max(report.following, number(line, "end"))
        except Ended:
            report.killed = self._why()
        return report

    def end(self) -> None:
        """End the process."""
        self._pipe.end()

    def _why(self) -> str:
        status = self._pipe.status()
        if status not in _DEATHS:
            raise Unproven(f"the child process ended with status {status}")
        return _DEATHS[status]

    def _message(self, place: tuple[str, int], line: dict[str, Any]) -> TriedMessage:
        key, value = (self._pipe.content(line.get(name)) for name in ("key", "value"))
        try:
            kind, timestamp_ms = map(int, line["timestamp"])
            headers = [(str(name), bytes.fromhex(content)) for name, content in line["headers"].items()]
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise broken() from error
        return TriedMessage(place, number(line, "offset"), kind, timestamp_ms, headers, key, value)

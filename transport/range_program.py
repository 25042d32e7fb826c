"""Child process that reads ranges of a topic: a batch that kills a reader kills it, and not the command.

Started by `transport.range_reader` as ``python -m transport.range_program``. Standard input has one line of JSON, the
settings. Standard output has lines of JSON; headers, key and value of each message follow the line that announces
them::

    {"messages": [[0, 7, 5000, null, null, 3]]}       partition, offset, time, sizes of headers, key and value
    {"next": {"0": 8, "1": null}}                     next offset of each partition; null: it is finished
    {"first": 8, "following": 9, "partition": 0, "why": ""}   a batch that the client does not unpack
    {"log": [30, "transport.range_loop", "text"]}
    {"away": "text", "stalled": false}                no broker answers
    {"denied": "READ"}                                the user lacks this right on the topic
    {"missing": true}                                 there is no such topic
    {"end": true}
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from schemas.errors import BrokerUnavailable, NotAuthorised, TopicMissing
from schemas.settings import KafkaSettings
from transport.batches import UnreadableBatch
from transport.limited_child import limit_child, limit_memory
from transport.logs import set_up_tracebacks
from transport.range_loop import Cursor, Stalled, read_here
from transport.topic_ranges import TopicMessage

_BLOCK_BYTES = 1024 * 1024


def main() -> None:
    """Read the ranges that the settings name."""
    limit_child()
    set_up_tracebacks()
    answers = _Answers(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # prints of libraries go to the log, not between the answers
    root = logging.getLogger()
    root.addHandler(_Forward(answers))
    root.setLevel(logging.INFO)
    settings = json.loads(sys.stdin.readline())
    limit_memory(settings["memory"])
    try:
        _read(settings, answers)
    except (MemoryError, SystemError):  # the client says it so
        os._exit(3)
    os._exit(0)  # the client need not be closed, which takes time


def _read(settings: dict[str, Any], answers: _Answers) -> None:
    cursors = {
        int(number): Cursor(tuple((begin, end) for begin, end in spans)) for number, spans in settings["ranges"].items()
    }
    try:
        for message in read_here(
            KafkaSettings(**settings["kafka"]),
            settings["topic"],
            cursors,
            on_progress=lambda: answers.say(next={number: cursor.next for number, cursor in cursors.items()}),
            on_unreadable=answers.unreadable,
            max_bytes_s=settings["max_bytes_s"],
            is_strict=settings["strict"],
        ):
            answers.add(message)
    except TopicMissing:
        answers.say(missing=True)
    except NotAuthorised as error:
        answers.say(denied=error.operation)
    except BrokerUnavailable as error:
        answers.say(away=error.detail, stalled=isinstance(error, Stalled))
    else:
        answers.say(end=True)


class _Answers:
    """Standard output; messages are sent in blocks."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._messages: list[list[int | None]] = []
        self._content: list[bytes] = []
        self._size = 0

    def add(self, message: TopicMessage) -> None:
        headers = None
        if message.headers:
            headers = json.dumps({name: content.hex() for name, content in message.headers.items()}).encode()
        parts = [headers, message.key, message.value]
        sizes = [None if part is None else len(part) for part in parts]
        self._messages.append([message.partition, message.offset, message.timestamp_us, *sizes])
        self._content += [part for part in parts if part is not None]
        self._size += sum(size or 0 for size in sizes)
        if self._size > _BLOCK_BYTES:
            self._flush()

    def unreadable(self, batch: UnreadableBatch) -> None:
        self.say(partition=batch.partition, first=batch.first, following=batch.following, why=batch.reason)

    def say(self, **what: Any) -> None:
        if self._messages:
            self._flush()
        self._line(what)
        self._out.flush()

    def _flush(self) -> None:
        self._line({"messages": self._messages})
        self._out.writelines(self._content)
        self._out.flush()
        self._messages, self._content, self._size = [], [], 0

    def _line(self, what: dict[str, Any]) -> None:
        self._out.write(json.dumps(what).encode() + b"\n")


class _Forward(logging.Handler):
    """Handler that hands each line of the log to the parent."""

    def __init__(self, answers: _Answers) -> None:
        super().__init__()
        self._answers = answers

    def emit(self, record: logging.LogRecord) -> None:
        self._answers.say(log=[record.levelno, record.name, record.getMessage()])


if __name__ == "__main__":
    main()

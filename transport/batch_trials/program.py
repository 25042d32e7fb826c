"""Child process that reads batches of a partition, and dies of them in place of the worker.

Started by `transport.batch_trials.child` as ``python -m transport.batch_trials.program``. Standard input carries lines
of JSON: first the settings, then the places that are read::

    {"kafka": {...}, "alone": false, "ahead": false, "committed": false, "memory": 301989888}
    {"topic": "...", "partition": 0, "offset": 7, "count": 4096, "bytes": 50331648}

Standard output carries lines of JSON, too; the key and the value of a message follow its line::

    {"ready": true}                         the client is made, the limits hold
    {"begin": 7, "high": 12}                first offset that is read, and end of the partition
    {"offset": 7, "timestamp": [1, 5], "headers": {"name": "hex"}, "key": null, "value": 3}
    {"first": 8, "following": 9, "why": ""} a batch that the client does not unpack, which is skipped
    {"end": 12}                             all before this offset has been read

Each fetch asks for one batch, so a batch that ends the process takes no earlier message along. With ``alone`` the next
batch is not fetched before the message is on standard output. With ``ahead`` a fetch takes several batches.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.settings import KafkaSettings
from transport.batches import BOUNDED, BatchSkipper, probe_settings
from transport.clients import make_consumer
from transport.headers import message_headers
from transport.limited_child import limit_child, limit_memory
from transport.logs import set_up_tracebacks
from transport.watermarks import low_and_high

#: Exit status if a message needs too much memory, and if the batch that is read alone is not unpacked by the client.
TOO_LARGE, UNREADABLE = 3, 4
#: Processor time for one batch, in seconds; the largest that a reader accepts takes a quarter.
CPU_S = 2.0
_TIMEOUT_S = 5.0
_POLL_S = 0.1
#: With ``alone`` the client waits so long after each batch; it is asked much more often whether a message is there.
_PAUSE_MS = 1_000
_ASK_S = 0.02
#: Size of a fetch with ``ahead``.
_AHEAD_BYTES = 1024 * 1024


def main() -> None:
    """Read the places that are named, until the input ends."""
    limit_child()
    set_up_tracebacks()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints of libraries go to the log, not between the answers
    settings = json.loads(sys.stdin.readline())
    kafka, is_alone = KafkaSettings(**settings["kafka"]), settings["alone"]
    consumer = make_consumer(kafka, _config(settings))
    limit_memory(settings["memory"])
    try:
        _say(out, ready=True)
        for line in sys.stdin:
            _read(consumer, kafka, json.loads(line), out, is_alone=is_alone)
    except (MemoryError, SystemError):  # the client says it so
        os._exit(TOO_LARGE)
    except KafkaException:  # no broker answers
        os._exit(1)
    os._exit(0)  # the client need not be closed, which takes time


def _read(consumer: Consumer, kafka: KafkaSettings, place: dict[str, Any], out: Any, *, is_alone: bool) -> None:
    topic, partition, offset = place["topic"], place["partition"], place["offset"]
    low, high = low_and_high(consumer, TopicPartition(topic, partition), _TIMEOUT_S)
    begin = low if offset < 0 or offset > high else max(low, offset)
    _say(out, begin=begin, high=high)
    count, size, following = 0, 0, begin
    skipper = BatchSkipper(kafka)
    _limit_processor_time()
    consumer.assign([TopicPartition(topic, partition, begin if begin < high else OFFSET_BEGINNING)])
    while begin < high and count < place["count"] and size < place["bytes"]:
        message = consumer.poll(0 if is_alone else _POLL_S)
        for batch in skipper.skip(consumer):
            following = batch.following
            _say(out, first=batch.first, following=following, why=batch.reason)
        if message is None:
            if is_alone:
                time.sleep(_ASK_S)
            continue
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            break
        if skipper.met(message):
            if is_alone:
                os._exit(UNREADABLE)
            continue
        if error is not None:  # the broker is away: whoever waits for the answer bounds the time
            continue
        _limit_processor_time()
        following = (message.offset() or 0) + 1
        count, size = count + 1, size + len(message)
        _send(out, message)
    consumer.unassign()
    skipper.close()
    signal.setitimer(signal.ITIMER_PROF, 0)
    _say(out, end=following)


def _send(out: Any, message: Any) -> None:
    key, value = message.key(), message.value()
    if len(key or b"") + len(value or b"") > BOUNDED["receive.message.max.bytes"]:
        raise MemoryError
    _say(
        out,
        offset=message.offset(),
        timestamp=message.timestamp(),
        headers={name: content.hex() for name, content in message_headers(message).items()},
        key=None if key is None else len(key),
        value=None if value is None else len(value),
    )
    out.write(key or b"")
    out.write(value or b"")
    out.flush()


def _say(out: Any, **what: Any) -> None:
    out.write(json.dumps(what).encode() + b"\n")
    out.flush()


def _limit_processor_time() -> None:
    """Restart the count; the kernel ends the process when the time is over."""
    signal.setitimer(signal.ITIMER_PROF, CPU_S)


def _config(settings: dict[str, Any]) -> dict[str, Any]:
    config = probe_settings()
    if settings["committed"]:
        config["isolation.level"] = "read_committed"
    if settings["ahead"]:
        return {**config, "fetch.message.max.bytes": _AHEAD_BYTES, "queued.max.messages.kbytes": _AHEAD_BYTES // 256}
    return {
        **config,
        "queued.min.messages": 1,
        "fetch.queue.backoff.ms": _PAUSE_MS if settings["alone"] else 0,
    }


if __name__ == "__main__":
    main()

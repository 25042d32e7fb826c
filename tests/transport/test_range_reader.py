"""A topic is read to its end, whatever lies in it."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Producer

from replay import TimeRange, read_topic
from schemas import KafkaSettings
from tests.support.raw_headers import send_raw
from tests.support.transactions import abort_transaction, commit_transaction
from transport import range_reader

pytestmark = pytest.mark.broker


def read(line: KafkaSettings, within: TimeRange | None = None) -> tuple[list[bytes | None], list[tuple[int, int]]]:
    """Values, and what was said of the progress; within seconds, for nothing may stall."""
    progress: list[tuple[int, int]] = []
    began = time.monotonic()
    messages = read_topic(line, line.frames, within, on_progress=lambda done, total: progress.append((done, total)))
    values = [message.value for message in messages]
    assert time.monotonic() - began < 30
    assert all(done <= total for done, total in progress)
    return values, progress


def transaction(line: KafkaSettings, values: list[bytes], end: str) -> Producer:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "transactional.id": line.prefix, "log_level": 0})
    producer.init_transactions(20)
    producer.begin_transaction()
    for value in values:
        producer.produce(line.frames, value, partition=0)
    assert producer.flush(20) == 0
    if end == "commit":
        commit_transaction(producer, line, line.frames)
    elif end == "abort":
        abort_transaction(producer, line, line.frames)
    return producer


def plain(line: KafkaSettings, *values: bytes) -> None:
    send_raw(line.bootstrap_servers, line.frames, [(b"k", value, []) for value in values])


def test_names_of_headers_may_be_any_bytes(line: KafkaSettings) -> None:
    send_raw(line.bootstrap_servers, line.frames, [
        (b"k", b"0", [(b"a", b"1")]),
        (b"k", b"1", [(b"\xff", b"1"), (b"a", b"2"), (b"\xfe", None)]),
        (b"k", b"2", [(b"a", None)]),
    ])  # fmt: skip
    # Many: what CPython has specialised by then must still see the client's error.
    strange = (b"k", b"0", [(b"\xff" * 300, b"1"), (b"a", b"2")])
    send_raw(line.bootstrap_servers, line.labels, 200 * [strange, (b"k", b"1", [(b"a", b"2")])])
    found = [message.headers for message in read_topic(line, line.labels)]
    assert found == 200 * [{}, {"a": b"2"}]
    messages = list(read_topic(line, line.frames))
    assert [(m.value, m.headers) for m in messages] == [(b"0", {"a": b"1"}), (b"1", {}), (b"2", {"a": b""})]


def test_only_what_is_committed_is_read_and_markers_stall_nothing(line: KafkaSettings) -> None:
    transaction(line, [b"aborted"], "abort")
    values, progress = read(line)
    assert (values, progress[-1]) == ([], (2, 2))
    plain(line, b"plain")
    transaction(line, [b"committed", b"too"], "commit")
    values, progress = read(line)
    assert values == [b"plain", b"committed", b"too"]
    assert progress[-1] == (6, 6)
    time.sleep(0.05)
    middle_us = time.time_ns() // 1000
    time.sleep(0.05)
    plain(line, b"later")
    assert read(line, TimeRange(None, middle_us))[0] == values
    assert read(line, TimeRange(middle_us))[0] == [b"later"]


CHILD = """
import json, sys, time
sys.stdin.readline()
sizes = [1_000_000, 8_000_000]
messages = [[0, number, 0, None, None, size] for number, size in enumerate(sizes)]
print(json.dumps({"messages": messages}), end="\\n" + "x" * sum(sizes))
print(json.dumps({"end": True}), flush=True)
"""


def test_a_receiver_may_be_busy_for_longer_than_a_child_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take as long over a message, as a replay does over an image: the pipe does not hold the one behind it."""
    start = range_reader.start_child
    monkeypatch.setattr(range_reader, "_SILENT_S", 3.0)
    monkeypatch.setattr(range_reader, "start_child", lambda *command: start("-c", CHILD))
    monkeypatch.setattr(range_reader._Reader, "careful", lambda reader: pytest.fail("the child counts as dead"))
    sizes = []
    for message in range_reader.read_ranges(KafkaSettings("127.0.0.1:9"), "frames", {0: ((0, 2),)}):
        sizes.append(len(message.value or b""))
        time.sleep(3.3)
    assert sizes == [1_000_000, 8_000_000]


def sent_at(line: KafkaSettings, seconds: list[float]) -> list[int]:
    """Write a message to partition 0 for each time, in seconds from now; return the times in ms."""
    now_ms = time.time_ns() // 1_000_000
    times_ms = [now_ms + round(1000 * each) for each in seconds]
    producer = Producer({"bootstrap.servers": line.bootstrap_servers})
    for each in times_ms:
        producer.produce(line.frames, str(each).encode(), b"k", partition=0, timestamp=each)
    assert producer.flush(20) == 0
    return times_ms


@pytest.mark.parametrize("ahead", [1, 20])
def test_senders_whose_clock_is_ahead_hide_no_message_of_the_time(line: KafkaSettings, ahead: int) -> None:
    """Kafka's index finds the first message of a later time, which is not the end of the time."""
    before, early = [-100.0 + each for each in range(3)], [3000.0] * ahead
    of_time, after = [-50.0 + each for each in range(10)], [-10.0 + each for each in range(3)]
    times_ms = sent_at(line, [*before, *early, *of_time[:5], 3000.0, *of_time[5:], *after])
    wanted = [each for each in times_ms if times_ms[0] + 45_000 <= each < times_ms[0] + 85_000]
    assert len(wanted) == 10
    within = TimeRange(1000 * (times_ms[0] + 45_000), 1000 * (times_ms[0] + 85_000))
    assert read(line, within)[0] == [str(each).encode() for each in wanted]
    assert read(line, TimeRange(None, within.from_us))[0] == [str(each).encode() for each in times_ms[:3]]


def test_the_end_of_a_time_is_found_without_reading_the_topic(line: KafkaSettings) -> None:
    times_ms = sent_at(line, [-1000.0 + each for each in range(500)])
    within = TimeRange(1000 * times_ms[10], 1000 * times_ms[20])
    values, progress = read(line, within)
    assert len(values) == 10
    assert progress[-1] == (10, 10)


def test_an_open_transaction_ends_what_is_read(line: KafkaSettings) -> None:
    plain(line, b"before")
    producer = transaction(line, [b"open"], "open")
    plain(line, b"behind")
    assert read(line)[0] == [b"before"]
    abort_transaction(producer, line, line.frames)
    assert read(line)[0] == [b"before", b"behind"]

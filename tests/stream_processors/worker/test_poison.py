"""Messages that a well-behaved client never sends stop nothing: each is answered, and so is the next."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Producer

from replay import read_topic
from schemas import DeadLetter, Decision, Frame, KafkaSettings, ResultState
from schemas.codec import decode, encode
from schemas.letters import KEPT_VALUE_BYTES, whole_size
from schemas.topics import MAX_REQUEST_BYTES
from tests.support.bombs import send_bomb
from tests.support.partitions import add_partitions, delivered
from tests.support.raw_headers import send_raw
from tests.support.topics import committed, read_all
from tests.support.transactions import abort_transaction, commit_transaction
from tests.support.worker_frames import make_frame
from tests.support.workers import StartWorker

pytestmark = pytest.mark.broker

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def answers(line: KafkaSettings, decisions: int, letters: int) -> tuple[list[Decision], list[DeadLetter]]:
    decided = [decode(value, Decision) for value in read_all(line, line.decisions, decisions)]
    dead = [
        decode(value, DeadLetter, max_bytes=MAX_REQUEST_BYTES) for value in read_all(line, line.dead_letters, letters)
    ]
    return decided, dead


def completed(decisions: list[Decision]) -> set[str]:
    return {decision.frame_id for decision in decisions if decision.result_state is ResultState.COMPLETED}


def await_committed(line: KafkaSettings, wanted: int) -> int:
    deadline = time.monotonic() + 10
    while committed(line) < wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return committed(line)


def test_headers_of_any_kind_are_answered(line: KafkaSettings, start_worker: StartWorker) -> None:
    worker = start_worker()
    good = [make_frame(number) for number in range(8)]
    frame = iter([(f.key.encode(), encode(f)) for f in good])
    garbage = (b"k", b"garbage")
    send_raw(line.bootstrap_servers, line.frames, [
        (*next(frame), [(b"traceparent", TRACE)]),
        (*next(frame), [(b"traceparent", b"x" * 1_100_000)]),
        (*garbage, [(b"null", None)]),
        (*next(frame), [(b"null", None), (b"traceparent", None)]),
        (*garbage, [(b"\xff\xfe name", b"1"), ("Prüfer".encode(), b"2"), ("Prüfer".encode("latin-1"), b"3")]),
        (*next(frame), [(b"\xff" * 300, b"1"), (b"traceparent", TRACE)]),
        (b"k", None, [(b"\xc3", None)]),
        (*next(frame), []),
        (*garbage, [(b"%d" % number, bytes(40_000)) for number in range(50)]),
        (*next(frame), [(b"%d" % number, bytes(4)) for number in range(30_000)]),
    ])  # fmt: skip
    # In a batch of their own, compressed by nobody: the rest, and a letter as large as they get.
    send_raw(line.bootstrap_servers, line.frames, [(b"k", bytes(15_000_000), [(b"h", bytes(1_500_000))])])
    send_raw(line.bootstrap_servers, line.frames, [(bytes(10_000_000), b"the key counts twice", [])])
    send_raw(line.bootstrap_servers, line.frames, [(*next(frame), []), (*next(frame), [])])

    decisions, letters = answers(line, 8, 6)
    assert worker.alive()
    assert completed(decisions) == {f.frame_id for f in good}
    by_place = {letter.source_offset: letter for letter in letters}
    assert sorted(by_place) == [2, 4, 6, 8, 10, 11]
    assert by_place[2].headers == {"null": b""}
    # Where one name is not UTF-8, the client gives none of the headers.
    assert by_place[4].headers == by_place[6].headers == {}
    # A message larger than a letter keeps is cut.
    assert sum(map(len, by_place[8].headers.values())) == 40_000
    assert (len(by_place[10].value or b""), whole_size(by_place[10])) == (KEPT_VALUE_BYTES, 15_000_000)
    assert (by_place[11].value, by_place[11].key) == (b"the key counts twice", None)
    headers = [message.headers for message in read_topic(line, line.decisions)]
    assert [each["inspection-group"] for each in headers] == [line.prefix.encode()] * 8
    assert [each["traceparent"] for each in headers if "traceparent" in each] == [TRACE]
    # Whoever reads the topic with the other client gets all of them, too.
    values = [message.value for message in read_topic(line, line.frames)]
    assert len(values) == 14
    assert await_committed(line, 14) == 14


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_batches_are_read_however_they_are_compressed(
    line: KafkaSettings, start_worker: StartWorker, codec: str
) -> None:
    start_worker()
    frames = [make_frame(number) for number in range(20)]
    producer = Producer(
        {"bootstrap.servers": line.bootstrap_servers, "compression.type": codec, "linger.ms": 50, "log_level": 0}
    )
    for frame in frames:
        producer.produce(line.frames, encode(frame), frame.key)
    producer.produce(line.frames, bytes(100_000), frames[0].key)
    assert producer.flush(20) == 0
    decisions, letters = answers(line, 20, 1)
    assert completed(decisions) == {frame.frame_id for frame in frames}
    assert [len(letter.value or b"") for letter in letters] == [100_000]


def transaction(line: KafkaSettings, frames: list[Frame], *, commit: bool) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "transactional.id": line.prefix, "log_level": 0})
    producer.init_transactions(20)
    producer.begin_transaction()
    for frame in frames:
        producer.produce(line.frames, encode(frame), frame.key, partition=0)
    assert producer.flush(20) == 0
    end = commit_transaction if commit else abort_transaction
    end(producer, line, line.frames)


def one_by_one(line: KafkaSettings, frames: list[Frame]) -> None:
    send_raw(line.bootstrap_servers, line.frames, [(f.key.encode(), encode(f), []) for f in frames])


@pytest.mark.long
def test_transactions_leave_no_hole_at_which_commits_stop(line: KafkaSettings, start_worker: StartWorker) -> None:
    frames = [make_frame(number) for number in range(12)]
    worker = start_worker()
    # The hole after the very first message is where Faust's own book-keeping stops for good.
    one_by_one(line, frames[:1])
    assert await_committed(line, 1) == 1
    transaction(line, frames[1:4], commit=False)  # 1 to 3, marker 4
    one_by_one(line, frames[4:5])  # 5
    assert await_committed(line, 6) == 6
    transaction(line, frames[5:8], commit=True)  # 6 to 8, marker 9
    transaction(line, frames[8:10], commit=False)  # 10 and 11, marker 12
    one_by_one(line, frames[10:])  # 13 and 14
    # The worker does not wait for the end of a transaction: messages of an aborted one are answered too.
    decisions, letters = answers(line, 12, 0)
    wanted = {frame.frame_id for frame in frames}
    assert ({decision.frame_id for decision in decisions}, len(decisions), letters) == (wanted, 12, [])
    assert await_committed(line, 15) == 15
    # A restart goes on behind all of it.
    assert worker.stop() == 0
    transaction(line, frames[:3], commit=False)
    start_worker()
    one_by_one(line, frames[:1])
    assert len(read_all(line, line.decisions, 16)) == 16
    assert await_committed(line, 20) == 20


def test_an_open_transaction_of_a_stranger_stops_no_worker(line: KafkaSettings, start_worker: StartWorker) -> None:
    stranger = Producer({"bootstrap.servers": line.bootstrap_servers, "transactional.id": line.prefix, "log_level": 0})
    stranger.init_transactions(20)
    stranger.begin_transaction()
    for partition in range(6):
        stranger.produce(line.frames, b"never ended", b"k", partition=partition)
    assert stranger.flush(20) == 0
    start_worker()
    frames = [make_frame(number) for number in range(6)]
    one_by_one(line, frames)
    decisions, letters = answers(line, 6, 6)
    assert completed(decisions) == {frame.frame_id for frame in frames}
    assert {letter.value for letter in letters} == {b"never ended"}
    abort_transaction(stranger, line, line.frames)


def test_a_batch_that_no_client_reads_is_a_dead_letter_and_stops_nothing(
    line: KafkaSettings, start_worker: StartWorker
) -> None:
    frames = [make_frame(number) for number in range(4)]
    one_by_one(line, frames[:2])
    send_bomb(line.bootstrap_servers, line.frames, count=3, key=frames[0].key)
    one_by_one(line, frames[2:3])
    worker = start_worker()
    decisions, [letter] = answers(line, 3, 1)
    assert completed(decisions) == {frame.frame_id for frame in frames[:3]}
    assert (letter.kind, letter.source_topic, letter.source_offset) == ("undecodable-batch", line.frames, 2)
    assert letter.value is None
    assert "offsets 2 to 4 (3)" in letter.reason
    assert await_committed(line, 6) == 6
    # It is committed as well: the next start does not meet it again.
    assert worker.stop() == 0
    start_worker()
    one_by_one(line, frames[3:])
    decisions, letters = answers(line, 4, 1)
    assert (len(decisions), len(letters)) == (4, 1)


def test_partitions_that_are_added_are_read_by_a_running_worker(line: KafkaSettings, start_worker: StartWorker) -> None:
    start_worker()
    add_partitions(line.bootstrap_servers, line.frames, 8)
    frame = make_frame(1)
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    producer.produce(line.frames, encode(frame), frame.key, partition=7, on_delivery=delivered)
    assert producer.flush(20) == 0
    [decision], _ = answers(line, 1, 0)
    assert decision.frame_id == frame.frame_id

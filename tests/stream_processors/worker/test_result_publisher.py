"""Messages that Kafka refuses for good: sent again in another form, and a failure if no form helps. Real broker."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable

import pytest

from models import FramePosition
from replay import read_topic
from schemas import Action, DeadLetter, Decision, Defect, KafkaSettings
from schemas.codec import decode, encode
from schemas.letters import cut, whole_size
from stream_processors.worker.frame_task import FrameMessage, FrameTask, ProcessingResult
from stream_processors.worker.result_publisher import ResultPublisher, _Message
from tests.support import records as examples
from tests.support.topics import read_all, set_config

pytestmark = pytest.mark.broker

DECISION = next(each for each in examples.ALL if isinstance(each, Decision))
LETTER = next(each for each in examples.ALL if isinstance(each, DeadLetter))


def answer(number: int, *, attributes: int = 0, defects: int = 0, value: int | None = None) -> ProcessingResult:
    decision = dataclasses.replace(
        DECISION,
        source_offset=number,
        attributes={"k": "x" * attributes} if attributes else {},
        defects=(Defect("crack", 0.9, (1.0, 2.0, 3.0, 4.0)),) * defects,
    )
    if value is None:
        return ProcessingResult(decision, encode(decision))
    letter = cut(dataclasses.replace(LETTER, source_offset=number, value=bytes(value)))
    return ProcessingResult(decision, encode(decision), encode(letter), b"k", letter=letter)


def publish(line: KafkaSettings, answers: list[ProcessingResult], timeout_s: float = 20) -> list[BaseException]:
    """Publish answers, wait until all are settled or one fails, and return the failures."""
    failures: list[BaseException] = []
    completion = Completion()
    ended = threading.Event()

    def fail(error: BaseException) -> None:
        failures.append(error)
        ended.set()

    publisher = ResultPublisher(line, completion, fail)
    message = FrameMessage(b"", b"k", {}, FramePosition("frames", 0, 0, 0))
    for each in answers:
        publisher.publish(FrameTask(message, None, result=each))
    deadline_s = time.monotonic() + timeout_s
    for _ in answers:
        while not completion.left.acquire(timeout=0.1) and not ended.is_set():
            assert time.monotonic() < deadline_s, "no answer of the broker"
    publisher.close()
    return failures


class Completion:
    """Counts the completed tasks."""

    def __init__(self) -> None:
        self.left = threading.Semaphore(0)

    def complete(self, task: FrameTask) -> None:
        assert task.acknowledged_s > 0
        self.left.release()


def decisions(line: KafkaSettings, wanted: int) -> dict[int, Decision]:
    return {each.source_offset: each for each in (decode(v, Decision) for v in read_all(line, line.decisions, wanted))}


def shed(number: int) -> ProcessingResult:
    return dataclasses.replace(answer(number), shed="deadline")


def test_answers_to_shed_frames_gather_and_none_waits_for_a_next_one(line: KafkaSettings) -> None:
    """The first leaves at once, the others with the sixteenth or after a time."""
    completion, failures = Completion(), list[BaseException]()
    publisher = ResultPublisher(line, completion, failures.append, gathered=16)
    tasks = [
        FrameTask(FrameMessage(b"", b"k", {}, FramePosition("frames", 0, number, 0)), None, result=shed(number))
        for number in range(40)
    ]
    for task in tasks:
        publisher.publish(task)
    for _ in tasks:
        assert completion.left.acquire(timeout=20)
    publisher.close()
    assert failures == []
    assert sorted(decisions(line, 40)) == list(range(40))
    # The time of publishing is the time of leaving: what a frame waits for others is not the broker's delay.
    assert all(before.published_s <= after.published_s for before, after in itertools.pairwise(tasks))


def test_the_thread_that_makes_room_does_not_wait_for_it(line: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    completion, refused = Completion(), list[str]()
    publisher = ResultPublisher(line, completion, pytest.fail, gathered=16)
    produce = publisher._produce

    def full_at_first(message: _Message) -> bool:
        name = threading.current_thread().name
        if name == "publish" and len(refused) < 3:
            refused.append(name)
            return False
        return produce(message)

    monkeypatch.setattr(publisher, "_produce", full_at_first)
    message = FrameMessage(b"", b"k", {}, FramePosition("frames", 0, 0, 0))
    for number in (0, 1):  # the second one gathers, so the thread sends it
        publisher.publish(FrameTask(message, None, result=shed(number)))
    for _ in range(2):
        assert completion.left.acquire(timeout=20)
    publisher.close()
    assert len(refused) == 3


def test_a_letter_goes_without_its_value_where_the_topic_takes_less(line: KafkaSettings) -> None:
    set_config(line, line.dead_letters, max_message_bytes="20000")
    answers = [answer(number, value=200_000 if number % 3 == 0 else 100) for number in range(12)]
    assert publish(line, answers) == []
    letters = {each.source_offset: each for each in map(_letter, read_all(line, line.dead_letters, 12))}
    assert len(letters) == len(decisions(line, 12)) == 12
    for number, letter in letters.items():
        if number % 3 == 0:
            assert (letter.value, whole_size(letter)) == (None, 200_000)
        else:
            assert (len(letter.value or b""), whole_size(letter)) == (100, None)


def test_a_letter_that_fits_alone_keeps_its_value(line: KafkaSettings) -> None:
    """The broker refuses batches of several letters, of which each one is small enough."""
    set_config(line, line.dead_letters, max_message_bytes="400000")
    assert publish(line, [answer(number, value=250_000) for number in range(12)]) == []
    letters = list(map(_letter, read_all(line, line.dead_letters, 12)))
    assert [len(each.value or b"") for each in letters] == [250_000] * 12


def test_a_letter_goes_with_its_place_alone_where_the_topic_takes_next_to_nothing(line: KafkaSettings) -> None:
    set_config(line, line.dead_letters, max_message_bytes="220")
    assert publish(line, [answer(7, value=5_000)]) == []
    [letter] = map(_letter, read_all(line, line.dead_letters, 1))
    assert (letter.source_topic, letter.source_offset, letter.kind) == (LETTER.source_topic, 7, LETTER.kind)


def test_a_decision_that_is_too_large_goes_without_attributes_then_without_defects(line: KafkaSettings) -> None:
    set_config(line, line.decisions, max_message_bytes="20000")
    answers = [answer(0, attributes=50_000, defects=3), answer(1, attributes=50_000, defects=2_000), answer(2)]
    assert publish(line, answers) == []
    found = decisions(line, 3)
    assert [(len(each.attributes), len(each.defects)) for _, each in sorted(found.items())] == [(0, 3), (0, 0), (0, 0)]
    assert {each.action for each in found.values()} == {Action.REJECT}
    assert {each.decision_id for each in found.values()} == {DECISION.decision_id}


@pytest.mark.parametrize("config", [
    pytest.param({"message_timestamp_before_max_ms": "0"}, id="takes nothing old"),
    pytest.param({"message_timestamp_after_max_ms": "1", "message_timestamp_before_max_ms": "9000000"}, id="not ahead"),
])  # fmt: skip
def test_a_broker_that_refuses_timestamps_gets_others(
    line: KafkaSettings, config: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for topic in (line.decisions, line.dead_letters):
        set_config(line, topic, **config)
    if "message_timestamp_after_max_ms" in config:  # this machine's clock is two hours ahead
        _shift_clock(monkeypatch, 2 * 3600)
    assert publish(line, [answer(number, value=10) for number in range(20)]) == []
    found = decisions(line, 20)
    assert len(found) == 20
    assert {each.captured_at_us for each in found.values()} == {DECISION.captured_at_us}
    assert len(read_all(line, line.dead_letters, 20)) == 20


def test_a_compacted_topic_gets_a_letter_with_a_key_and_the_time_of_this_machine(line: KafkaSettings) -> None:
    set_config(line, line.dead_letters, cleanup_policy="compact")
    before_ms = time.time() * 1000
    assert publish(line, [dataclasses.replace(answer(0, value=10), dead_letter_key=None)]) == []
    [message] = read_topic(line, line.dead_letters)
    assert message.key is not None
    assert abs(message.timestamp_us / 1000 - before_ms) < 60_000


def test_what_no_form_cures_is_a_failure(line: KafkaSettings) -> None:
    set_config(line, line.decisions, max_message_bytes="100")
    assert len(publish(line, [answer(0)])) >= 1


def test_a_fault_in_the_thread_is_a_failure_at_once(line: KafkaSettings) -> None:
    class Broken(Completion):
        def complete(self, task: FrameTask) -> None:
            raise MemoryError

    failures: list[BaseException] = []
    ended = threading.Event()
    publisher = ResultPublisher(line, Broken(), lambda error: (failures.append(error), ended.set()))
    message = FrameMessage(b"", b"k", {}, FramePosition("frames", 0, 0, 0))
    publisher.publish(FrameTask(message, None, result=answer(1)))
    assert ended.wait(20)
    publisher.close()
    assert [type(error) for error in failures] == [MemoryError]


def _letter(value: bytes) -> DeadLetter:
    return decode(value, DeadLetter)


def _shift_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Give every message without a timestamp one of a clock that is ahead."""
    import stream_processors.worker.result_publisher as module

    real: Callable[..., object] = module.make_idempotent_producer

    class Shifted:
        def __init__(self, producer: object) -> None:
            self._producer = producer

        def produce(self, *arguments: object, timestamp: int = 0, **options: object) -> None:
            at_ms = timestamp or round(time.time() * 1000)
            self._producer.produce(*arguments, timestamp=at_ms + round(seconds * 1000), **options)  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._producer, name)

    monkeypatch.setattr(module, "make_idempotent_producer", lambda *arguments: Shifted(real(*arguments)))


def test_a_broker_that_is_away_costs_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    publisher = ResultPublisher(KafkaSettings("127.0.0.1:1"), Completion(), lambda error: None)
    try:
        time.sleep(4.0)
    finally:
        publisher.close()
    lines = [record for record in caplog.records if "publishes decisions" in record.getMessage()]
    assert 1 <= len(lines) <= 4

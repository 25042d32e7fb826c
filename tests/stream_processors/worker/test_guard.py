"""Messages that end a worker, or hang: answered unread at the second start; later ones are inspected."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from confluent_kafka import Producer

from models import FramePosition, default_model_path, load_model
from schemas import Action, Codec, Decision, Encoding, Frame, KafkaSettings, ResultState
from schemas.clock import SystemClock
from schemas.codec import decode, encode
from schemas.ids import frame_id
from schemas.records import DeadLetter
from stream_processors.worker.frame_task import FrameMessage, FrameTask, ProcessingResult
from stream_processors.worker.guard import KILLED, GuardedFrameProcessor
from stream_processors.worker.inspection_pool import InspectionPool
from stream_processors.worker.trials import Trials
from stream_processors.worker.watchdog import EXIT_STUCK
from tests.support.topics import read_all
from tests.support.workers import StartWorker
from transport.quarantine import Quarantine, Stage, key_of


def make_frame(sequence: int, *, is_deadly: bool = False) -> Frame:
    pixels = np.full((16, 16), 200 if is_deadly else sequence, np.uint8)
    image = cv2.imencode(".png", pixels)[1].tobytes()
    return Frame(
        frame_id=frame_id("s", "c", 1, sequence), line="l", station="s", camera_id="c", started_at_us=1,
        sequence=sequence, captured_at_us=time.time_ns() // 1000, encoding=Encoding.PNG, width=16, height=16,
        sha256=hashlib.sha256(image).hexdigest(), image=image,
    )  # fmt: skip


DEADLY_FRAME = make_frame(5, is_deadly=True)


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make child processes use a decoder that ends on one image."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "killer"))
    monkeypatch.setenv("TEST_DEADLY_SHA256", DEADLY_FRAME.sha256)


def received(value: bytes | None, offset: int = 0) -> FrameMessage:
    return FrameMessage(value, b"s/c", {}, FramePosition("t", 0, offset, time.time_ns() // 1000))


class Line:
    """Answerer of a worker without Kafka, which can die with messages in hand and be restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._model = load_model(default_model_path())
        self.trials = Trials(KafkaSettings(), default_model_path(), limit_s=3.0)

    def start(self) -> GuardedFrameProcessor:
        answer = GuardedFrameProcessor(
            self._model, Codec(), SystemClock(), quarantine=Quarantine(self.folder), trials=self.trials
        )
        answer.read_quarantine()
        return answer

    def die(self, *messages: FrameMessage, stage: Stage = Stage.IMAGE) -> None:
        dead = Quarantine(self.folder)
        for message in messages:
            dead.enter(key_of(message.source.partition, message.source.offset, message.value), stage)
        dead.abandon()


@pytest.fixture
def guarded_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "killer"))
    line = Line(tmp_path)
    yield line
    line.trials.close()


def answered(answer: GuardedFrameProcessor, message: FrameMessage) -> tuple[Decision | None, DeadLetter | None]:
    made: ProcessingResult = answer(message)
    letter = None if made.dead_letter is None else decode(made.dead_letter, DeadLetter)
    return made.decision, letter


@pytest.mark.parametrize(("how", "stage"), [("hangs", Stage.IMAGE), ("exits", Stage.RECORD)])
def test_a_suspect_that_ends_its_trial_is_answered_unread(
    guarded_line: Line, deadly: None, monkeypatch: pytest.MonkeyPatch, how: str, stage: Stage
) -> None:
    monkeypatch.setenv("TEST_DEADLY_HOW", how)
    message, healthy = received(encode(DEADLY_FRAME)), received(encode(make_frame(6)), 1)
    guarded_line.die(healthy, message, stage=stage)
    answer = guarded_line.start()
    decision, letter = answered(answer, message)
    assert decision is not None
    assert letter is not None
    assert (decision.result_state, decision.action) == (ResultState.FAILED, Action.REJECT)
    assert (decision.frame_id, letter.kind, letter.frame_id) == (DEADLY_FRAME.frame_id, KILLED, DEADLY_FRAME.frame_id)
    # The other message in hand passes its trial and is inspected.
    decision, letter = answered(answer, healthy)
    assert decision is not None
    assert (decision.result_state, letter) == (ResultState.COMPLETED, None)
    # Another start, before the offset was committed: no second trial.
    again = guarded_line.start()

    def never(*_: object) -> None:
        raise AssertionError("a second trial")

    monkeypatch.setattr(guarded_line.trials, "try_out", never)
    assert answered(again, message)[1] is not None


@pytest.mark.parametrize("how", ["is killed once", "ends well once"])
def test_one_death_of_a_child_is_no_proof(
    guarded_line: Line, deadly: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    monkeypatch.setenv("TEST_DEADLY_HOW", how)
    monkeypatch.setenv("TEST_DEADLY_MARK", str(tmp_path / "mark"))
    message = received(encode(DEADLY_FRAME))
    verdict = guarded_line.trials.try_out(message.value)
    assert (verdict.has_run, verdict.killed) == (True, None)
    assert (tmp_path / "mark").exists()


def test_a_child_that_ends_before_it_has_the_message_says_nothing_about_it(
    guarded_line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = received(encode(make_frame(6)))
    assert guarded_line.trials.try_out(message.value).killed is None
    child = guarded_line.trials._child
    assert child is not None
    child._process.kill()
    child._process.wait()
    monkeypatch.setattr(child, "has_ended", lambda: False, raising=False)  # it ends a moment after it was asked
    verdict = guarded_line.trials.try_out(message.value)
    assert (verdict.has_run, verdict.killed) == (True, None)


def test_the_assignment_waits_for_no_trial(guarded_line: Line) -> None:
    with guarded_line.trials._lock:  # as a trial holds it
        waiting = threading.Thread(target=guarded_line.trials.prepare, daemon=True)
        waiting.start()
        waiting.join(20)
        assert not waiting.is_alive()


def test_what_was_answered_unread_is_forgotten_once_it_is_committed(guarded_line: Line) -> None:
    message = received(encode(make_frame(1)))
    for _ in range(2):
        guarded_line.die(message)
    answer = guarded_line.start()
    _, letter = answered(answer, message)
    assert letter is not None
    answer.acked(message)
    assert Quarantine(guarded_line.folder).has_suspects  # another process may have to read it again
    answer._quarantine.forget_answered(0.0)
    assert not Quarantine(guarded_line.folder).has_suspects


def test_a_suspect_is_worked_on_alone(guarded_line: Line) -> None:
    messages = [received(encode(make_frame(number)), number) for number in range(12)]
    guarded_line.die(messages[3], messages[4])
    guarded_line.die(messages[8], stage=Stage.RECORD)
    answer = guarded_line.start()
    taken: list[list[int]] = []
    real_look, real_try, order = answer.inspect_all, guarded_line.trials.try_out, []
    answered_all = threading.Semaphore(0)

    def look(works):  # type: ignore[no-untyped-def]
        taken.append([message.source.offset for message, _, _ in works])
        return real_look(works)

    def try_out(value, image=None):  # type: ignore[no-untyped-def]
        order.append(f"trial {len(order)}")
        return real_try(value, image)

    class Publisher:
        def publish(self, task: FrameTask) -> None:
            order.append(str(task.message.source.offset))
            answered_all.release()

        def release_slot(self, task: FrameTask) -> None:
            raise AssertionError("no image is in a store")

    def fail(error: BaseException) -> None:
        raise error

    answer.inspect_all, guarded_line.trials.try_out = look, try_out  # type: ignore[method-assign]
    answer.shedding.times.frame_ms = lambda kind: 1.0  # type: ignore[method-assign]
    pool = InspectionPool(answer, Publisher(), Publisher(), 1, fail=fail)
    with pool._wake:  # all wait before the thread takes the first
        for message in messages:
            pool._waiting.put(FrameTask(message, None))
        pool._wake.notify()
    for _ in messages:
        assert answered_all.acquire(timeout=40)
    pool.close()
    assert sorted(offset for batch in taken for offset in batch) == list(range(12))
    for suspect in (3, 4, 8):
        assert [suspect] in taken
    assert max(map(len, taken)) > 1
    # What is ready is published before a trial: those before the suspect of the reading, 0..7, too.
    assert [each.startswith("trial") for each in order].count(True) == 3
    assert order.index("2") < 4


def test_a_message_of_two_deaths_is_answered_unread(guarded_line: Line) -> None:
    message = received(encode(make_frame(1)))
    guarded_line.die(message)
    guarded_line.die(message)
    decision, letter = answered(guarded_line.start(), message)
    assert decision is not None
    assert letter is not None
    assert (decision.result_state, letter.kind) == (ResultState.FAILED, KILLED)


def test_a_record_that_kills_twice_has_a_dead_letter_alone(guarded_line: Line) -> None:
    message = received(encode(make_frame(1)))
    for _ in range(2):
        guarded_line.die(message, stage=Stage.RECORD)
    decision, letter = answered(guarded_line.start(), message)
    assert letter is not None
    assert (decision, letter.kind) == (None, KILLED)


def test_healthy_frames_in_hand_at_a_kill_are_inspected(guarded_line: Line) -> None:
    messages = [received(encode(make_frame(number)), number) for number in range(8)]
    guarded_line.die(*messages)
    answer = guarded_line.start()
    works = [(message, answer.read(message)) for message in messages]
    made = answer.inspect_all([(message, frame, frame.image or b"") for message, frame in works])  # type: ignore[union-attr, misc, arg-type]
    assert {each.decision.result_state for each in made if each.decision} == {ResultState.COMPLETED}
    assert not Quarantine(guarded_line.folder).has_suspects


def test_an_image_that_is_refused_in_the_trial_is_refused_with_the_same_words(guarded_line: Line) -> None:
    frame = dataclasses.replace(make_frame(1), image=b"no image", sha256="")
    message = received(encode(dataclasses.replace(frame, sha256=hashlib.sha256(b"no image").hexdigest())))
    guarded_line.die(message)
    [_, tried] = answered(guarded_line.start(), message)
    [_, plain] = answered(guarded_line.start(), received(message.value, 1))
    assert tried is not None
    assert plain is not None
    assert (tried.kind, tried.reason) == (plain.kind, plain.reason)


def test_without_a_child_a_suspect_is_inspected_as_any_other(guarded_line: Line, tmp_path: Path) -> None:
    guarded_line.trials = Trials(KafkaSettings(), tmp_path / "no model")
    messages = [received(encode(make_frame(number)), number) for number in range(3)]
    guarded_line.die(*messages)
    answer = guarded_line.start()
    began_s = time.monotonic()
    for message in messages:
        decision, _ = answered(answer, message)
        assert decision is not None
        assert decision.result_state is ResultState.COMPLETED
    assert time.monotonic() - began_s < 60  # one child is waited for, not three


def test_a_message_that_is_no_frame_keeps_its_kind(guarded_line: Line) -> None:
    message = received(b"garbage")
    guarded_line.die(message, stage=Stage.RECORD)
    [decision, letter] = answered(guarded_line.start(), message)
    assert letter is not None
    assert (decision, letter.kind) == (None, "unknown-schema")
    assert not Quarantine(guarded_line.folder).has_suspects


def produce(line: KafkaSettings, frames: list[Frame]) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for frame in frames:
        producer.produce(line.frames, encode(frame), frame.key)
    assert producer.flush(20) == 0


@pytest.mark.broker
@pytest.mark.faults
@pytest.mark.parametrize(
    ("how", "status"), [("is killed", -9), pytest.param("hangs", EXIT_STUCK, marks=pytest.mark.long)]
)
def test_a_crash_loop_ends_at_the_second_start(
    line: KafkaSettings,
    start_worker: StartWorker,
    deadly: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    how: str,
    status: int,
) -> None:
    monkeypatch.setenv("TEST_DEADLY_HOW", how)
    options = (
        "--state-dir",
        str(tmp_path / "state"),
        "--watchdog-s",
        "6",
        "--threads",
        "2",
        "--overload",
        "everything",
    )
    worker = start_worker(*options)
    frames = [make_frame(number) for number in range(12)]
    frames[5] = DEADLY_FRAME
    produce(line, frames)
    assert worker.wait(40) == status
    second = start_worker(*options)
    decisions: dict[str, Decision] = {}
    deadline_s = time.monotonic() + 40
    while len(decisions) < 12 and time.monotonic() < deadline_s:  # some come twice, before the last is there
        decisions = {each.frame_id: each for each in (decode(v, Decision) for v in read_all(line, line.decisions, 12))}
    assert second.alive()
    states = {frame: each.result_state for frame, each in decisions.items()}
    assert states.pop(DEADLY_FRAME.frame_id) is ResultState.FAILED
    assert decisions[DEADLY_FRAME.frame_id].action is Action.REJECT
    assert set(states.values()) == {ResultState.COMPLETED}
    assert len(states) == 11
    [letter] = [decode(value, DeadLetter) for value in read_all(line, line.dead_letters, 1)]
    assert (letter.kind, letter.frame_id) == (KILLED, DEADLY_FRAME.frame_id)
    assert second.stop() == 0
    assert list((tmp_path / "state").rglob("*.hand")) == []


def test_the_memory_of_a_trial_is_half_of_what_the_process_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def memory_of_a_trial(usable: int | None) -> int:
        monkeypatch.setattr("stream_processors.worker.trials.usable_memory_bytes", lambda: usable)
        return int(pickle.loads(Trials(KafkaSettings(), default_model_path())._settings)[2])  # noqa: S301

    assert memory_of_a_trial(6 * 1024**3) == 3 * 1024**3
    assert memory_of_a_trial(1024**3) == memory_of_a_trial(None) == 1024**3

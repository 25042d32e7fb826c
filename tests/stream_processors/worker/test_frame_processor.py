"""Every message gets an answer, whatever it is."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stream_processors.worker.frame_processor
from models import FramePosition, Model, default_model_path, load_model
from schemas import Action, DeadLetter, Decision, Encoding, Frame, ImageReference, ResultState, Verdict
from schemas.clock import ManualClock
from schemas.codec import Codec, decode, encode
from schemas.letters import KEPT_VALUE_BYTES, VALUE_SHA256_HEADER, VALUE_SIZE_HEADER, whole_sha256, whole_size
from schemas.replay_headers import REPLAY_HEADER, RETRY_HEADER
from schemas.topics import DECISIONS
from stream_processors.worker.frame_processor import FrameProcessor
from stream_processors.worker.frame_task import FrameMessage, ProcessingResult
from stream_processors.worker.letter_budget import BURST_BYTES
from stream_processors.worker.metrics import WorkerMetrics
from stream_processors.worker.overload import Overload, OverloadPolicy

NOW_US = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(default_model_path())


def png(size: int = 300, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size), dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def make_frame(image: bytes, **changes: object) -> Frame:
    frame = Frame(
        frame_id="s.c.1.00000000", line="l", station="s", camera_id="c", started_at_us=NOW_US, sequence=0,
        captured_at_us=NOW_US, deadline_ms=500, encoding=Encoding.PNG, width=300, height=300,
        sha256=hashlib.sha256(image).hexdigest(), image=image, attributes={"label": "good"},
    )  # fmt: skip
    return replace(frame, **changes)


def received(value: bytes | None) -> FrameMessage:
    return FrameMessage(value, b"s/c", {"traceparent": b"00-1-2-01"}, FramePosition("frames", 2, 41, NOW_US + 3_000))


def answer(message: FrameMessage, model: Model, clock: ManualClock) -> ProcessingResult:
    return FrameProcessor(model, Codec(), clock)(message)


def test_a_good_frame_is_decided(model: Model) -> None:
    result = answer(received(encode(make_frame(png()))), model, ManualClock(NOW_US + 7_000))
    assert result.decision is not None
    assert result.dead_letter is None
    assert result.decision.result_state is ResultState.COMPLETED
    assert (result.decision.source_partition, result.decision.source_offset) == (2, 41)
    assert result.decision.durations_ms["queue"] == 4.0
    assert not result.decision.is_late


def test_the_same_frame_gives_the_same_decision(model: Model) -> None:
    message = received(encode(make_frame(png())))
    first, second = (answer(message, model, ManualClock(at)).decision for at in (NOW_US, NOW_US + 10**9))
    assert first is not None
    assert second is not None
    times = {"decided_at_us": 0, "durations_ms": {}, "is_late": False}
    assert replace(first, **times) == replace(second, **times)
    assert second.is_late


BAD_IMAGES = {
    "garbage": (b"not an image at all", "unreadable-image"),
    "empty": (b"", "unreadable-image"),
    "cut": (png()[:5000], "unreadable-image"),
    "forged-size": (b"\xff\xd8\xff\xc0\x00\x11\x08" + (30000).to_bytes(2, "big") * 2 + b"\x00" * 64, "image-too-large"),
}


@pytest.mark.parametrize(("image", "kind"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_is_a_dead_letter_and_a_reject(model: Model, image: bytes, kind: str) -> None:
    result = answer(received(encode(make_frame(image))), model, ManualClock(NOW_US))
    assert result.kind == kind
    assert result.decision is not None
    assert (result.decision.verdict, result.decision.action) == (Verdict.NOT_DECIDABLE, Action.REJECT)
    assert result.decision.result_state is ResultState.FAILED
    assert result.decision.reason.startswith(kind)
    letter = decode(result.dead_letter, DeadLetter)
    assert (letter.kind, letter.frame_id, letter.source_offset) == (kind, "s.c.1.00000000", 41)


def test_a_flipped_bit_is_noticed(model: Model) -> None:
    image = bytearray(png())
    frame = make_frame(bytes(image))
    image[4000] ^= 1
    result = answer(received(encode(replace(frame, image=bytes(image)))), model, ManualClock(NOW_US))
    assert result.kind == "altered-image"


def test_a_frame_by_reference_is_not_silently_accepted(model: Model) -> None:
    frame = replace(make_frame(png()), image=None, reference=ImageReference("file:///x", 3))
    result = answer(received(encode(frame)), model, ManualClock(NOW_US))
    assert result.kind == "image-by-reference"
    assert result.decision is not None
    assert result.decision.action is Action.REJECT


def test_huge_attributes_do_not_make_a_decision_that_kafka_refuses(model: Model) -> None:
    frame = make_frame(png(), attributes={"k": "x" * 5_000_000})
    result = answer(received(encode(frame)), model, ManualClock(NOW_US))
    assert result.kind == "oversized-metadata"
    assert result.decision is not None
    assert result.decision.action is Action.REJECT
    assert len(result.decision_bytes or b"") < DECISIONS.max_message_bytes


def test_a_huge_identity_is_a_dead_letter_alone(model: Model) -> None:
    result = answer(received(encode(make_frame(png(), frame_id="x" * 5_000_000))), model, ManualClock(NOW_US))
    assert result.kind == "oversized-metadata"
    assert result.decision is None


def test_a_long_identity_is_kept_whole_in_the_dead_letter(model: Model) -> None:
    name = "s" * 5_000
    result = answer(received(encode(make_frame(b"no image", frame_id=name))), model, ManualClock(NOW_US))
    assert result.decision is not None
    assert decode(result.dead_letter, DeadLetter).frame_id == result.decision.frame_id == name


def test_a_camera_whose_name_fills_key_and_decision_is_a_dead_letter(model: Model) -> None:
    result = answer(received(encode(make_frame(png(), camera_id="x" * 600_000))), model, ManualClock(NOW_US))
    assert (result.kind, result.decision) == ("oversized-metadata", None)


def test_a_deadline_beyond_all_time_is_a_reject(model: Model) -> None:
    frame = make_frame(png(), captured_at_us=2**63 - 1, deadline_ms=2**31 - 1)
    result = answer(received(encode(frame)), model, ManualClock(NOW_US))
    assert result.kind == "impossible-metadata"
    assert result.decision is not None
    assert result.decision.action is Action.REJECT
    assert decode(result.dead_letter, DeadLetter).frame_id == frame.frame_id


#: Value, key and header of a message, in bytes, and which of them the letter has.
SIZES = {
    "all fits": (200_000, 1_000, 50_000, (200_000, True, True)),
    "value": (16_000_000, 1_000, 0, (KEPT_VALUE_BYTES, True, True)),
    "value of an unpacked batch": (40_000_000, 3, 0, (KEPT_VALUE_BYTES, True, True)),
    "key": (100, 9_600_000, 0, (100, False, True)),
    "headers": (100, 3, 19_000_000, (100, True, False)),
}


@pytest.mark.parametrize(("value", "key", "header", "kept"), SIZES.values(), ids=SIZES)
def test_a_dead_letter_is_bounded(value: int, key: int, header: int, kept: tuple[int, bool, bool]) -> None:
    content = bytes(value)
    message = FrameMessage(content, bytes(key), {"h": bytes(header)}, FramePosition("frames", 2, 41, NOW_US))
    result = answer(message, None, ManualClock(NOW_US))  # type: ignore[arg-type]  # never gets to the model
    letter = decode(result.dead_letter, DeadLetter)
    assert len(result.dead_letter or b"") + len(result.dead_letter_key or b"") < 400_000
    assert (letter.source_partition, letter.source_offset) == (2, 41)
    assert (len(letter.value or b""), letter.key is not None, "h" in letter.headers) == kept
    if value > KEPT_VALUE_BYTES:
        assert (whole_size(letter), whole_sha256(letter)) == (value, hashlib.sha256(content).hexdigest())
    else:
        assert whole_size(letter) is None


def test_a_message_cannot_say_that_its_letter_was_cut() -> None:
    headers = {VALUE_SIZE_HEADER: b"7", VALUE_SHA256_HEADER: b"0"}
    result = answer(
        FrameMessage(b"x", None, headers, FramePosition("frames", 2, 41, NOW_US)), None, ManualClock(NOW_US)
    )  # type: ignore[arg-type]
    assert decode(result.dead_letter, DeadLetter).headers == {}


@pytest.mark.long
def test_a_flood_of_dead_letters_leaves_a_bounded_number_of_bytes() -> None:
    clock = ManualClock(NOW_US)
    answerer = FrameProcessor(None, Codec(), clock)  # type: ignore[arg-type]  # never gets to the model
    noise = bytes(16_000_000)
    made = [
        answerer(FrameMessage(noise, b"k", {}, FramePosition("frames", 0, offset, NOW_US))) for offset in range(200)
    ]
    assert sum(len(each.dead_letter or b"") for each in made) < BURST_BYTES + 200 * 1_000
    bare = [each for each in made if each.is_bare]
    assert len(bare) == 200 - BURST_BYTES // (KEPT_VALUE_BYTES + 400)
    letter = decode(bare[-1].dead_letter, DeadLetter)
    assert (letter.source_offset, letter.value, whole_size(letter)) == (199, None, 16_000_000)
    assert len(whole_sha256(letter)) == 64
    clock.advance(60)
    assert not answerer(FrameMessage(noise, b"k", {}, FramePosition("frames", 0, 200, NOW_US))).is_bare


def test_a_flood_of_headers_leaves_a_bounded_number_of_bytes() -> None:
    answerer = FrameProcessor(None, Codec(), ManualClock(NOW_US))  # type: ignore[arg-type]  # never gets to the model
    headers = {f"h{number}": bytes(3_000) for number in range(20)}
    made = [
        answerer(FrameMessage(b"no frame", b"k", headers, FramePosition("frames", 0, at, NOW_US)))
        for at in range(3_000)
    ]
    assert sum(len(each.dead_letter or b"") for each in made) < BURST_BYTES + 3_000 * 1_024
    assert decode(made[-1].dead_letter, DeadLetter).source_offset == 2_999


def test_a_letter_that_cannot_be_encoded_says_at_least_where(model: Model) -> None:
    message = FrameMessage(b"garbage", b"s/c", {"\udcff": b""}, FramePosition("frames", 2, 41, NOW_US))
    letter = decode(answer(message, model, ManualClock(NOW_US)).dead_letter, DeadLetter)
    assert (letter.source_offset, letter.value, whole_size(letter)) == (41, None, 7)


def test_an_error_of_the_model_is_a_reject(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("models.inspect_images.signals", breaks)
    result = answer(received(encode(make_frame(png()))), model, ManualClock(NOW_US))
    assert result.kind == "inspection-error"
    assert result.decision is not None
    assert result.decision.action is Action.REJECT


@given(st.binary(max_size=200) | st.none())
def test_bytes_of_any_kind_are_answered(value: bytes | None) -> None:
    result = answer(received(value), None, ManualClock(NOW_US))  # type: ignore[arg-type]  # never gets to the model
    assert result.decision is None
    assert decode(result.dead_letter, DeadLetter).value == value


@pytest.mark.parametrize("mode", Overload)
def test_an_inspection_that_ends_after_the_deadline_accepts_nothing(model, monkeypatch, mode):
    """A worker that is stopped in the middle of an inspection must not accept a part that has passed."""
    clock = ManualClock(NOW_US + 5_000)
    inspect = stream_processors.worker.frame_processor.inspect_images

    def slow(*args, **options):
        found = inspect(*args, **options)
        clock.advance(0.6)
        return [tuple(replace(each, action=Action.ACCEPT, verdict=Verdict.OK) for each in one) for one in found]

    monkeypatch.setattr(stream_processors.worker.frame_processor, "inspect_images", slow)
    answerer = FrameProcessor(model, Codec(), clock, OverloadPolicy(mode))
    first = answerer(received(encode(make_frame(png()))))
    again = answerer(received(encode(make_frame(png()))))  # read again, it is shed: the same id says the same
    assert first.decision.is_late
    if mode is Overload.EVERYTHING:
        assert (first.decision.action, first.decision.result_state) == (Action.ACCEPT, ResultState.COMPLETED)
        return
    assert (first.shed, again.shed) == ("late", "deadline")
    assert first.decision.reason.startswith("inspected too late: OK, score")
    assert first.decision.score is not None
    for name in ("decision_id", "verdict", "action", "result_state"):
        assert getattr(first.decision, name) == getattr(again.decision, name)
    assert (first.decision.action, first.decision.result_state) == (Action.REJECT, ResultState.ABORTED)


def test_a_frame_that_is_published_again_is_inspected_and_never_late(model: Model) -> None:
    """Its deadline passed long ago, in the past that it is of; the decision says that it is none of the line's."""
    clock = ManualClock(NOW_US + 10**12)
    plain = received(encode(make_frame(png())))
    replayed = replace(plain, headers={REPLAY_HEADER: b"run"}, source=replace(plain.source, topic="i.replay.frames"))
    answerer = FrameProcessor(model, Codec(), clock, OverloadPolicy(Overload.DEADLINE))
    answerer.shedding.times.published(10_000.0, at_s=0.0)
    result = answerer(replayed)
    assert result.shed is None
    assert (result.decision.result_state, result.decision.is_simulated) == (ResultState.COMPLETED, True)
    assert not result.decision.is_late
    assert decode(result.decision_bytes, Decision) == result.decision
    broken = answerer(replace(replayed, value=encode(make_frame(b"no image"))))
    assert (broken.decision.result_state, broken.decision.is_simulated) == (ResultState.FAILED, True)
    assert answerer(replace(replayed, headers={})).shed == "deadline"
    huge = {str(number): "x" * 10_000 for number in range(200)}
    stripped = answerer(replace(replayed, value=encode(make_frame(png(), attributes=huge))))
    assert (stripped.kind, stripped.decision.is_simulated) == ("oversized-metadata", True)


def test_on_a_live_topic_the_headers_of_a_message_give_no_right(model: Model) -> None:
    claims: list[tuple[str, str]] = []
    clock = ManualClock(NOW_US + 3_600_000_000)
    answerer = FrameProcessor(
        model, Codec(), clock, OverloadPolicy(), on_untrue=lambda camera, what: claims.append((camera, what))
    )
    plain = received(encode(make_frame(png())))
    for headers in ({REPLAY_HEADER: b"x"}, {RETRY_HEADER: b"0-0"}, {RETRY_HEADER: b"x"}):
        result = answerer(replace(plain, headers=headers))
        assert result.decision is not None
        assert (result.decision.result_state, result.decision.action) == (ResultState.ABORTED, Action.REJECT)
        assert not result.decision.is_simulated
    assert claims == [("s/c", "replay-header"), ("s/c", "retry-header"), ("s/c", "retry-header")]
    retried = FrameProcessor(model, Codec(), clock, OverloadPolicy(), is_retry=lambda message: True)
    again = retried(replace(plain, headers={RETRY_HEADER: b"0-0"}))
    assert again.decision is not None
    assert again.decision.result_state is ResultState.COMPLETED


def test_a_capture_in_the_future_gives_no_more_time(model: Model) -> None:
    claims: list[str] = []
    ahead = make_frame(png(), captured_at_us=NOW_US + 10**15, started_at_us=NOW_US + 10**15)
    clock = ManualClock(NOW_US + 5_000)
    answerer = FrameProcessor(model, Codec(), clock, OverloadPolicy(), on_untrue=lambda _, what: claims.append(what))
    inspected = answerer(received(encode(ahead))).decision
    assert inspected is not None
    assert inspected.result_state is ResultState.COMPLETED
    # The record keeps the time of the frame: a replay finds the same.
    assert inspected.captured_at_us == NOW_US + 10**15
    assert claims == ["captured-in-the-future", "started-in-the-future"]
    clock.advance(1)
    shed = answerer(received(encode(ahead)))
    assert shed.decision is not None
    assert (shed.shed, shed.decision.action) == ("deadline", Action.REJECT)


@pytest.mark.parametrize("deadline_ms", [-(2**31), -1, 2**31 - 1])
def test_an_invented_deadline_has_an_answer(model: Model, deadline_ms: int) -> None:
    answerer = FrameProcessor(model, Codec(), ManualClock(NOW_US + 5_000), OverloadPolicy())
    result = answerer(received(encode(make_frame(png(), deadline_ms=deadline_ms))))
    assert result.decision is not None
    assert (result.decision.result_state is ResultState.COMPLETED) == (deadline_ms > 0)


def test_what_is_odd_of_an_image_is_counted_and_logged_once_a_camera(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    dark = cv2.imencode(".png", np.full((8, 4000), 4095, np.uint16))[1].tobytes()
    answerer, metrics = FrameProcessor(model, Codec(), ManualClock(NOW_US)), WorkerMetrics()
    with caplog.at_level("WARNING"):
        for camera in ("one", "two", "one", "one"):
            answer = answerer(received(encode(make_frame(dark, camera_id=camera))))
            assert answer.decision is not None
            assert answer.decision.result_state is ResultState.COMPLETED
            metrics.record(answer, 0.001)
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if line.startswith("s/one")]) == 2
    assert len(said) == 4
    sample = metrics.registry.get_sample_value
    for kind in ("shrunk", "low-16-bit"):
        assert sample("inspection_image_remarks_total", {"kind": kind}) == 4
    assert sample("inspection_image_shrinking_count") == 4


@pytest.mark.parametrize("name", ["claims 4 GB", "half"])
def test_a_damaged_image_is_a_dead_letter_and_a_reject(model: Model, name: str) -> None:
    jpeg = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))[1].tobytes()
    data = png()[:33] + b"\xff\xff\xff\xf0IDAT" + bytes(8) if name != "half" else jpeg[: len(jpeg) // 2] + b"\xff\xd9"
    answer = FrameProcessor(model, Codec(), ManualClock(NOW_US))(received(encode(make_frame(data))))
    assert answer.kind == "unreadable-image"
    assert answer.decision is not None
    assert answer.decision.action is Action.REJECT
    assert answer.decision.result_state is ResultState.FAILED
    assert answer.dead_letter is not None

"""A rise of the errors is found; what is none is not taken for one."""

from __future__ import annotations

import json
import math
import random

import pytest

from monitoring.quality.change_point import rise
from monitoring.quality.concept_monitor import ConceptMonitor
from monitoring.quality.error_monitor import MAX_STREAMS, ConceptAlarm
from monitoring.quality.error_stream import KEPT, ErrorStream, Point, Rise
from schemas import Action, ResultState, Verdict
from tests.support.quality_records import make_decision, make_label

OK, NOT_OK = Verdict.OK, Verdict.NOT_OK


def points(chance: random.Random, rate: float, count: int, first: int = 0) -> list[Point]:
    return [Point(f"f{n}", n, chance.random() < rate) for n in range(first, first + count)]


def play(stream: ErrorStream, outcomes: list[Point]) -> list[tuple[int, Rise]]:
    return [(at, found) for at, point in enumerate(outcomes) if (found := stream.update(point))]


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.02, 0.3, 1.0])
def test_a_steady_stream_gives_no_alarm(rate: float) -> None:
    assert play(ErrorStream(), points(random.Random(5), rate, 10_000)) == []


@pytest.mark.parametrize(("before", "after", "within"), [(0.01, 0.2, 150), (0.05, 0.4, 100), (0.2, 0.6, 100)])
def test_a_rise_gives_one_alarm_with_its_begin(before: float, after: float, within: int) -> None:
    for seed in range(10):
        chance = random.Random(seed)
        stream = ErrorStream()
        assert play(stream, points(chance, before, 600)) == []
        [(at, found)] = play(stream, points(chance, after, 1500, 600))
        assert at < within
        assert abs(found.points[found.change.index].captured_at_us - 600) < 60
        assert found.change.before < 2 * before + 0.02 < found.change.after
        assert found.detectors


def test_a_fall_gives_none() -> None:
    chance = random.Random(1)
    assert play(ErrorStream(), points(chance, 0.4, 800) + points(chance, 0.02, 2000, 800)) == []


def test_a_restored_stream_goes_on_as_if_nothing_had_happened() -> None:
    chance = random.Random(3)
    outcomes = points(chance, 0.05, 2 * KEPT + 700) + points(chance, 0.2, 600, 2 * KEPT + 700)
    whole = play(ErrorStream(), outcomes)
    assert whole
    stream, found = ErrorStream(), []
    for at in range(0, len(outcomes), 97):
        found += [(at + n, alarm) for n, alarm in play(stream, outcomes[at : at + 97])]
        stream = ErrorStream.from_state(json.loads(json.dumps(stream.to_state())))
    assert found == whole


def test_a_corrected_stream_goes_on_as_if_it_had_never_been_wrong() -> None:
    chance = random.Random(6)
    right, tail = points(chance, 0.05, 400), points(chance, 0.12, 1500, 400)
    never_wrong, corrected = ErrorStream(), ErrorStream()
    play(never_wrong, right)
    for point in right:
        corrected.update(Point(point.frame_id, point.captured_at_us, point.captured_at_us % 3 == 0))
    for point in right:
        corrected.correct(point.frame_id, point.is_error)
    expected = play(never_wrong, tail)
    assert expected
    assert play(corrected, tail) == expected


def test_state_is_bounded() -> None:
    stream = ErrorStream()
    play(stream, points(random.Random(0), 0.1, 10 * KEPT))
    assert len(stream.to_state()["frames"]) < 2 * KEPT
    assert stream.labels == 10 * KEPT


def test_change_point_of_nothing() -> None:
    assert rise([]).log_likelihood_ratio == 0.0
    assert rise([True]).log_likelihood_ratio == 0.0
    assert math.isfinite(rise([True] * 50).log_likelihood_ratio)


def live(*steps: tuple[int, float, float, str]) -> list[ConceptAlarm]:
    """Play count, escape rate, overkill rate, model; every third part is rejected, and everything labelled."""
    chance, monitor, found = random.Random(2), ConceptMonitor("s/c"), []
    first = 0
    for count, escapes, overkill, model in steps:
        for number in range(first, first + count):
            action = Action.REJECT if number % 3 == 0 else Action.ACCEPT
            found += monitor.decision(make_decision(number, action, model_sha256=model))
            wrong = chance.random() < (overkill if action is Action.REJECT else escapes)
            truth = OK if (action is Action.REJECT) == wrong else NOT_OK
            because = "reject" if action is Action.REJECT else "random"
            found += monitor.label(make_label(number, truth, sampled_because=because))
        first += count
    monitor.close()
    return found


def test_escapes_and_overkill_are_told_apart() -> None:
    [alarm] = live((1500, 0.02, 0.1, "m1"), (900, 0.25, 0.1, "m1"))
    assert (alarm.side, alarm.sampled_because, alarm.signal) == ("escapes", "random", "error_rate.escapes")
    assert alarm.camera == "s/c"
    assert abs(alarm.started_at_us / 1e6 - 1500) < 100 <= alarm.detected_at_us / 1e6 - 1400
    assert "escapes rose from" in alarm.reason
    assert all(frame >= alarm.started_frame_id for frame in alarm.frames_after)
    assert all(frame < alarm.started_frame_id for frame in alarm.frames_before)
    [alarm] = live((1500, 0.02, 0.1, "m1"), (900, 0.02, 0.6, "m1"))
    assert alarm.side == "overkill"


def test_another_model_begins_anew() -> None:
    assert live((1500, 0.02, 0.1, "m1"), (1500, 0.3, 0.6, "m2")) == []


def test_a_label_of_the_older_model_says_nothing_of_the_new_one() -> None:
    monitor, found = ConceptMonitor("s/c"), []
    for number in range(1200):
        found += monitor.decision(make_decision(number, model_sha256="m1" if number < 600 else "m2"))
    for number in range(600, 1200):  # the new model is always right; then come the labels of the old one: always wrong
        found += monitor.label(make_label(number, OK))
    for number in range(600):
        found += monitor.label(make_label(number, NOT_OK))
    assert found == []
    assert {stream.model.sha256: stream.error_rate for stream in monitor.quality.streams} == {"m1": 1.0, "m2": 0.0}


def test_the_mix_of_labels_is_no_drift() -> None:
    # Defective parts are 30 % of the rejected and 1 % of the accepted ones, always. First people label accepted parts,
    # then rejected ones, then those near the threshold: the share of errors among all labels goes up and up.
    chance, monitor, found = random.Random(4), ConceptMonitor("s/c"), []
    overall = []
    for number in range(3000):
        rejected = chance.random() < (0.1 if number < 1000 else 0.8 if number < 2000 else 0.0)
        wrong = chance.random() < (0.3 if rejected else 0.01 if number < 2000 else 0.4)
        because = "reject" if rejected else "random" if number < 2000 else "near-threshold"
        found += monitor.decision(make_decision(number, Action.REJECT if rejected else Action.ACCEPT))
        found += monitor.label(make_label(number, OK if rejected == wrong else NOT_OK, sampled_because=because))
        overall.append(Point(f"{number}", number, wrong))
    assert found == []
    assert play(ErrorStream(), overall), "the same outcomes in one stream do alarm"


def test_what_counts_not() -> None:
    monitor = ConceptMonitor("s/c")
    for number in range(0, 400, 2):
        monitor.decision(make_decision(number, Action.REJECT, result_state=ResultState.FAILED))
        monitor.decision(make_decision(number + 1, Action.REVIEW))
        assert monitor.label(make_label(number)) + monitor.label(make_label(number + 1)) == []
    assert monitor.quality.streams == []


def test_a_correction_reaches_the_stream() -> None:
    monitor = ConceptMonitor("s/c")
    for number in range(100):
        monitor.decision(make_decision(number))
        monitor.label(make_label(number, NOT_OK))
    for number in range(100):
        monitor.label(make_label(number, OK, 200))
    assert [stream.error_rate for stream in monitor.quality.streams] == [0.0]
    assert monitor.label(make_label(3, NOT_OK, 300)) == []


def test_streams_are_bounded() -> None:
    monitor = ConceptMonitor("s/c")
    for number in range(3 * MAX_STREAMS):
        monitor.decision(make_decision(number, model_sha256=f"m{number}"))
        monitor.label(make_label(number))
    assert len(monitor.quality.streams) == MAX_STREAMS

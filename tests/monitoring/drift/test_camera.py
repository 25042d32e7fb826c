"""One camera under watch: what opens an episode, what it says, what closes it, what survives a restart."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.drift import CameraWatch, DriftOptions, StateError
from schemas.codec import decode, encode
from schemas.records import Action, DriftEvent, DriftKind, EpisodeState, ResultState
from tests.support.streams import REFERENCE, decision, number_of, opened, rows, watch, watched


def test_nothing_is_said_while_nothing_changes():
    assert watched(rows(20_000, 1)) == []


@pytest.mark.parametrize(
    ("shift", "signal"),
    [({"brightness": -1.0}, "brightness"), ({"sharpness": 1.5}, "sharpness"), ({"score": 1.0}, "score")],
    ids=["darker", "sharper", "higher scores"],
)
def test_a_step_is_found_soon_and_described(shift, signal):
    events = watched(rows(1000, 1), rows(800, 2, shift))
    [episode] = opened(events)
    assert 1000 <= number_of(episode.detected_frame_id) < 1100
    assert abs(number_of(episode.started_frame_id) - 1000) <= 20
    [change] = [change for change in episode.signals if change.signal == signal]
    assert math.copysign(1, change.magnitude_sd) == math.copysign(1, shift[signal])
    assert signal in episode.reason
    assert all(number_of(frame) < number_of(episode.started_frame_id) for frame in episode.frames_before)
    assert len(episode.frames_before) == 3
    newest = events[-1]
    assert newest.kind is DriftKind.SUDDEN
    assert newest.signals[0].magnitude_sd == pytest.approx(shift[signal], abs=0.3)
    assert all(decode(encode(event), DriftEvent) == event for event in events)


def test_an_episode_is_updated_and_not_repeated():
    events = watched(rows(1000, 1), rows(1500, 2, {"brightness": -1.0, "contrast": 1.0}))
    assert len(opened(events)) == 1
    assert len({event.episode_id for event in events}) == 1
    assert 2 <= len(events) <= 10
    assert len({event.event_id for event in events}) == len(events)
    assert {change.signal for change in events[-1].signals} >= {"brightness", "contrast"}


def test_it_recovers():
    events = watched(rows(1000, 1), rows(500, 2, {"brightness": -1.0}), rows(1500, 3))
    assert [event.state for event in events if event.state is not EpisodeState.UPDATED] == ["OPENED", "CLOSED"]
    closed = events[-1]
    assert closed.closed_because == "recovered"
    assert closed.closed_at_us is not None
    assert 1650 <= closed.frames + number_of(closed.detected_frame_id) < 2000


def test_a_level_that_holds_is_what_is_usual_then():
    night = {"brightness": -1.0}
    events = watched(rows(1000, 1), rows(3000, 2, night), rows(2000, 3), watch=watch(settle_frames=1000))
    assert [event.closed_because for event in events if event.state is EpisodeState.CLOSED][:1] == ["settled"]
    second = opened(events)[1]
    assert 4000 <= number_of(second.detected_frame_id) < 4100  # back to what once was usual is a change
    assert second.signals[0].magnitude_sd > 0


def test_what_comes_again_is_recurring():
    night = {"brightness": -1.5}
    stretches = itertools.chain.from_iterable((rows(1200, 10 + n), rows(700, 20 + n, night)) for n in range(3))
    kinds = [event.kind for event in watched(*stretches) if event.state is not EpisodeState.OPENED]
    assert DriftKind.RECURRING in kinds


def test_a_slow_drift_is_incremental():
    slow = [next(rows(1, 5000 + n, {"brightness": -2.0 * n / 3000})) for n in range(3000)]
    events = watched(rows(1000, 1), slow, rows(400, 2, {"brightness": -2.0}))
    assert 1000 < number_of(opened(events)[0].detected_frame_id) < 2500
    assert events[-1].kind is DriftKind.INCREMENTAL


def test_an_old_and_a_new_state_that_mix_are_gradual():
    old, new = rows(3000, 2), rows(3000, 3, {"brightness": -3.0})
    coin = itertools.cycle([0.1, 0.9, 0.3, 0.7, 0.5, 0.2, 0.8, 0.4, 0.6, 0.05])
    mixed = [b if next(coin) < n / 1500 else a for n, (a, b) in enumerate(zip(old, new, strict=True))]
    events = watched(rows(1000, 1), mixed)
    assert DriftKind.GRADUAL in {event.kind for event in events}


def test_neighbours_that_are_alike_give_no_alarms():
    scenes = (row for scene in rows(1500, 1) for row in itertools.repeat(scene, 20))
    camera = watch()
    # Not the very same bytes: the sha256 differs, as it does on a camera with noise.
    events = watched(({**row, "dhash_hi": float(n % 7 * 97_531_357)} for n, row in enumerate(scenes)), watch=camera)
    assert events == []
    assert 30 <= camera.stride <= 120


def test_without_a_training_reference_the_first_frames_are_one():
    camera = CameraWatch(lambda model, product: None, DriftOptions(learn_frames=300))
    events = watched(rows(1000, 1), rows(300, 2, {"contrast": 1.5}), watch=camera)
    assert 1000 <= number_of(opened(events)[0].detected_frame_id) < 1100


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_sha256": "new"}, "model "),
        ({"recipe_revision": "2"}, "recipe default 1 -> default 2"),
        ({"attributes": {"product": "B"}}, "product None -> B"),
    ],
)
def test_another_recipe_or_product_begins_anew(change, reason):
    camera = watch()
    events = watched(rows(1000, 1), rows(100, 2, {"brightness": -1.5}), watch=camera)
    assert opened(events)
    shifted = rows(300, 3, {"brightness": -1.5})
    later = [e for n, row in enumerate(shifted, 1100) for e in camera.decision(decision(n, row, **change), now_us=0)]
    assert later[0].state is EpisodeState.CLOSED
    assert later[0].closed_because.startswith("reset: ")
    assert reason in later[0].closed_because
    assert camera.last_reset == later[0].closed_because
    assert camera.counts["resets"] == 1


def test_no_recipe_change_no_reset():
    camera = watch()
    watched(rows(500, 1), watch=camera)
    assert camera.counts["resets"] == 0


def test_a_frozen_camera_is_named():
    last = next(rows(1, 7))
    camera = watch()
    watched(rows(500, 1), watch=camera)
    events = [e for n in range(500, 520) for e in camera.decision(decision(n, last, image_sha256="same"), now_us=0)]
    assert events[0].cause == "frozen"
    assert "same picture" in events[0].reason
    assert number_of(events[0].detected_frame_id) == 505
    assert number_of(events[0].started_frame_id) == 501
    awake = [e for n, row in enumerate(rows(600, 8), 520) for e in camera.decision(decision(n, row), now_us=0)]
    assert awake[-1].closed_because == "recovered"


@pytest.mark.parametrize("buffers", [2, 3, 4])
def test_stale_buffers_that_take_turns_are_frozen(buffers):
    """No frame has the bytes of the frame before it."""
    pictures = list(rows(buffers, 7))
    camera = watch()
    watched(rows(500, 1), watch=camera)
    events = []
    for n in range(500, 520):
        row, name = pictures[n % buffers], f"picture {n % buffers}"
        events += camera.decision(decision(n, row, image_sha256=name), now_us=0)
        if n == 503:
            camera = CameraWatch.restored(camera.state(), lambda model, product: REFERENCE)
    assert events[0].cause == "frozen"
    assert number_of(events[0].detected_frame_id) == 504 + buffers


@pytest.mark.parametrize(
    ("signals", "cause"),
    [
        ({"dark_share": 1.0, "brightness": 0.0}, "black"),
        ({"bright_share": 0.8, "brightness": 254.0}, "saturated"),
        (None, "out-of-focus"),
    ],
)
def test_a_sensor_that_lies_is_named(signals, cause):
    signals = signals or {}
    blur = 0.3 if cause == "out-of-focus" else 1.0
    disturbed = ({**row, "sharpness": row["sharpness"] * blur, **signals} for row in rows(120, 2))
    events = watched(rows(500, 1), disturbed)
    assert cause in {event.cause for event in events}
    assert len(opened(events)) == 1
    assert number_of(opened(events)[0].detected_frame_id) < 520


def test_a_rise_of_rejects_is_found():
    camera = CameraWatch(lambda model, product: REFERENCE)
    events = []
    for number, row in enumerate(rows(4000, 1)):
        bad = number % 20 == 0 if number < 2000 else number % 3 == 0
        action = Action.REJECT if bad else Action.ACCEPT
        events += camera.decision(decision(number, row, action=action), now_us=0)
    [episode] = opened(events)
    assert [change.signal for change in episode.signals] == ["reject_rate"]
    assert 2000 <= number_of(episode.detected_frame_id) < 2400
    assert episode.signals[0].before == pytest.approx(0.05, abs=0.02)
    assert episode.signals[0].after > 0.15


def test_numbers_that_are_none_are_counted_and_harm_nothing():
    camera = watch()
    odd = [{**row, "brightness": math.nan, "contrast": math.inf} for row in rows(300, 1)]
    missing = [{"sharpness": row["sharpness"]} for row in rows(300, 2)]
    assert watched(rows(300, 0), odd, missing, watch=camera) == []
    assert camera.counts["not-a-number:brightness"] == 300
    assert camera.counts["not-a-number:contrast"] == 300
    assert camera.counts["missing:brightness"] == 300
    assert camera.counts["watched"] == 900


def test_what_is_not_watched_is_counted():
    camera = watch()
    row = next(rows(1, 1))
    for number, changes in enumerate([{}, {"sequence": 0}, {"is_simulated": True}, {"model_stage": "challenger"}]):
        camera.decision(decision(number, row, **changes), now_us=0)
    camera.decision(decision(0, row), now_us=0)
    camera.decision(decision(9, {}, result_state=ResultState.ABORTED), now_us=0)
    assert camera.counts == {"watched": 2, "not-champion": 2, "duplicate": 1, "not-inspected": 1}


def test_a_frame_that_one_worker_shed_and_another_inspected_is_watched_once():
    camera = watch()
    row = next(rows(1, 1))
    aborted = {"result_state": ResultState.ABORTED}
    for number, states in enumerate(["ACA", "CAC", "AAC"]):
        for state in states:
            camera.decision(
                decision(number, {} if state == "A" else row, **(aborted if state == "A" else {})), now_us=0
            )
    assert camera.counts == {"watched": 3, "not-inspected": 2, "duplicate": 4}


def test_a_replay_is_watched_only_where_that_is_asked_for():
    """The same stretch with the same drift: said of the simulated line, marked, and by nobody else."""
    drifting = [*rows(1500, 1), *rows(800, 2, {"brightness": -4.0})]
    said = {}
    for simulated in (False, True):
        camera = CameraWatch(lambda model, product: None, DriftOptions(simulated=simulated))
        for marked in (False, True):
            said[simulated, marked] = [event for number, row in enumerate(drifting) for event in camera.decision(
                decision(number, row, is_simulated=marked, frame_id=f"{marked}.{number}"), now_us=0)]  # fmt: skip
    assert (said[False, True], said[True, False]) == ([], [])
    for simulated in (False, True):
        assert said[simulated, simulated]
        assert {event.is_simulated for event in said[simulated, simulated]} == {simulated}


def test_an_older_frame_is_no_drift_of_the_present():
    camera = watch()
    watched(rows(500, 1), watch=camera)
    old = [e for n, row in enumerate(rows(300, 2, {"brightness": -3.0})) for e in camera.decision(
        decision(n, row, frame_id=f"old.{n}", started_at_us=0), now_us=0)]  # fmt: skip
    assert old == []
    assert camera.counts["old"] == 300


def test_neighbours_may_change_places():
    signals = [*rows(1000, 1), *rows(200, 2, {"brightness": -1.0})]
    camera = watch()
    swapped = [number ^ 1 for number in range(1200)]
    events = [e for n in swapped for e in camera.decision(decision(n, signals[n]), now_us=0)]
    assert camera.counts["watched"] == 1200
    assert 1000 <= number_of(opened(events)[0].detected_frame_id) < 1100


@pytest.mark.parametrize("at", [1, 130, 999, 1035, 1200])
def test_a_restart_changes_nothing(at):
    stream = list(itertools.chain(rows(1000, 1), rows(400, 2, {"brightness": -1.0})))
    whole = watched(stream)
    first = watch()
    said = watched(stream[:at], watch=first)
    second = CameraWatch.restored(first.state(), lambda model, product: REFERENCE, DriftOptions())
    for number, row in enumerate(stream[at:], at):
        said += second.decision(decision(number, row), now_us=number)
    assert [(e.event_id, e.state, e.detected_frame_id, e.kind) for e in said] == [
        (e.event_id, e.state, e.detected_frame_id, e.kind) for e in whole
    ]


@pytest.mark.long
def test_the_state_is_bounded():
    camera = watch()
    sizes = []
    for part in range(3):
        for number, row in enumerate(rows(6000, part), 6000 * part):
            camera.decision(decision(number, row), now_us=0)
        sizes.append(len(camera.state()))
    assert sizes[-1] < 100 * 1024
    assert sizes[-1] < 1.1 * sizes[1]


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_what_is_no_state_is_refused(garbage):
    with pytest.raises(StateError):
        CameraWatch.restored(garbage, lambda model, product: None)


def test_a_damaged_state_is_refused():
    camera = watch()
    watched(rows(300, 1), watch=camera)
    state = bytearray(camera.state())
    state[len(state) // 2] ^= 0xFF
    with pytest.raises(StateError):
        CameraWatch.restored(bytes(state), lambda model, product: REFERENCE)


numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(st.lists(st.dictionaries(st.sampled_from([*REFERENCE, "dhash_hi", "new"]), numbers), max_size=60))
@settings(max_examples=50)
def test_no_signals_break_it(signals):
    camera = watch()
    events = watched(signals, watch=camera)
    assert all(decode(encode(event), DriftEvent) == event for event in events)
    restored(camera)


def restored(camera: CameraWatch) -> CameraWatch:
    return CameraWatch.restored(camera.state(), lambda model, product: REFERENCE)


@pytest.mark.parametrize("name", ["dhash_hi", "dhash_lo", "dark_share", "bright_share", "brightness", "reject_rate"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e29, 1e30, 1e31, -1.0])
def test_odd_numbers_in_a_row_leave_a_state_that_can_be_read(name: str, value: float):
    camera = watch()
    watched(rows(300, 1), ({**row, name: value} for row in rows(300, 2)), watch=camera)
    restored(camera)


@pytest.mark.parametrize("sha256", ["x" * 5000, "a,b,c,d,e"])
def test_an_odd_image_hash_leaves_a_state_that_can_be_read(sha256: str):
    camera = watch()
    events = watched(rows(9, 1), watch=camera, image_sha256=sha256)
    assert {event.cause for event in events} == {"frozen"}
    restored(camera)

"""Lines that change all the time: alternating products, wrong clocks, two producers with one name."""

from __future__ import annotations

import dataclasses
import json
import zlib
from typing import Any

import pytest

from monitoring.drift import CameraWatch, DriftOptions
from schemas.errors import SettingsError
from schemas.records import Decision, EpisodeState
from tests.support.streams import NOW_US, REFERENCE, decision, fed, number_of, opened, rows, unpacked, watch

DAY_US = 86_400_000_000
DARK = {"brightness": -4.0}
ROW = next(rows(1, 77))


def alternating(names: str, good: int, dark: int, **changes: Any) -> list[Decision]:
    signals = [*rows(good, 1), *rows(dark, 2, DARK)]
    return [decision(n, row, attributes={"product": names[n % len(names)]}, **changes) for n, row in enumerate(signals)]


def test_products_that_alternate_are_watched_side_by_side():
    watched = watch()
    events = fed(watched, alternating("AB", 600, 60))
    assert watched.counts["watched"] == 660
    assert watched.counts["resets"] == 1  # the first part of B, and no other
    assert [event.product for event in opened(events)] == ["A", "B"]
    assert all(600 <= number_of(event.detected_frame_id) < 640 for event in opened(events))
    assert [event.state for event in events if event.state is EpisodeState.CLOSED] == []


def test_recipes_that_alternate_are_watched_side_by_side():
    watched = watch()
    plain = [decision(n, row) for n, row in enumerate([*rows(600, 1), *rows(60, 2, DARK)])]
    events = fed(watched, [dataclasses.replace(one, recipe_id=f"r{n % 2}") for n, one in enumerate(plain)])
    assert (watched.counts["resets"], len(opened(events))) == (1, 2)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["model_sha256", "recipe_revision"])
def test_two_models_or_revisions_that_alternate_are_watched_side_by_side(name, restart):
    watched = watch()
    signals = [*rows(400, 1), *rows(60, 2, DARK)]
    stream = [decision(n, row, **{name: f"v{n % 2}"}) for n, row in enumerate(signals)]
    fed(watched, stream[:300])
    if restart:
        watched = CameraWatch.restored(watched.state(), lambda model, product: REFERENCE)
    events = fed(watched, stream[300:])
    assert (watched.counts["resets"], watched.counts["after-reset"], watched.products) == (1, 99, 1)
    assert all(400 <= number_of(event.detected_frame_id) < 440 for event in opened(events))
    assert len(opened(events)) == 2


def test_of_a_third_model_the_one_unseen_for_longest_goes_and_a_replaced_one_is_forgotten(monkeypatch):
    monkeypatch.setattr("monitoring.drift.camera._REPLACED", 30)
    watched = watch()
    models = ["a", "b", "c", "b", "a"]
    resets = []
    for n, row in enumerate(rows(5, 1)):
        fed(watched, [decision(n, row, model_sha256=models[n])])
        resets.append(watched.counts["resets"])
    assert resets == [0, 1, 2, 2, 3]
    fed(watched, [decision(5 + n, row, model_sha256="a") for n, row in enumerate(rows(40, 2))])
    fed(watched, [decision(99, ROW, model_sha256="b")])
    assert watched.counts["resets"] == 4


def test_a_state_of_many_products_is_packed_once_and_read_with_fewer(monkeypatch):
    watched = watch(max_products=40)
    some = list(rows(25, 1))
    fed(watched, [decision(40 * n + k, row, attributes={"product": f"p{k}"})
                  for n, row in enumerate(some) for k in range(40)])  # fmt: skip
    packed = []
    deflate = zlib.compress
    monkeypatch.setattr(zlib, "compress", lambda *given: packed.append(1) or deflate(*given))
    state = watched.state()
    assert len(packed) == 41  # each product, and all together
    fed(watched, [decision(1000, some[0], attributes={"product": "p7"})])
    watched.state()
    assert len(packed) == 43
    again = CameraWatch.restored(state, lambda model, product: REFERENCE, DriftOptions(max_products=8))
    assert (again.products, again.counts["forgotten-products"]) == (8, 32)
    fed(again, [decision(1001, some[0], attributes={"product": "p39"})])
    assert again.counts["resets"] == watched.counts["resets"]


def test_episodes_of_products_that_no_longer_fit_are_closed():
    watched = watch()
    stream = alternating("ABC", 300, 120)
    assert len(opened(fed(watched, stream))) == 3
    again = CameraWatch.restored(watched.state(), lambda model, product: REFERENCE, DriftOptions(max_products=2))
    events = fed(again, [decision(500, ROW, attributes={"product": "C"})])
    assert [(event.product, event.state) for event in events] == [("A", EpisodeState.CLOSED)]


def test_a_state_above_its_size_leaves_out_what_was_unseen_for_longest(monkeypatch):
    watched = watch()
    fed(watched, alternating("ABC", 90, 0))
    monkeypatch.setattr("monitoring.drift.camera._MAX_PACKED_BYTES", len(watched.state()) * 3 // 4)
    plain = unpacked(watched.state())
    assert [product["identity"]["product"] for _, product in plain["products"]] == ["B", "C"]


def test_a_signal_with_a_huge_name_leaves_the_state_readable():
    watched = watch()
    fed(watched, [decision(n, {**row, "x" * 20_000: 1.0}) for n, row in enumerate(rows(60, 1))])
    learner = CameraWatch(lambda model, product: None, DriftOptions(learn_frames=50))
    fed(learner, [decision(n, {**row, "x" * 20_000: 1.0}) for n, row in enumerate(rows(60, 1))])
    for each in (watched, learner):
        assert each.counts["signal-names-too-long"] == 60
        assert CameraWatch.restored(each.state(), lambda model, product: REFERENCE).counts == each.counts


def test_products_go_on_after_a_restart():
    stream = alternating("ABC", 300, 60)
    whole = fed(watch(), stream)
    first = watch()
    said = fed(first, stream[:310])
    second = CameraWatch.restored(first.state(), lambda model, product: REFERENCE)
    assert second.products == 3
    said += fed(second, stream[310:])
    assert [(e.event_id, e.product) for e in said] == [(e.event_id, e.product) for e in whole]
    assert opened(whole)


def test_an_episode_of_a_product_ends_when_the_line_has_changed_over():
    watched = watch()
    fed(watched, alternating("AB", 400, 0))
    dark = [decision(400 + n, row, attributes={"product": "A"}) for n, row in enumerate(rows(30, 2, DARK))]
    assert opened(fed(watched, dark))
    events = fed(watched, [decision(430 + n, row, attributes={"product": "B"}) for n, row in enumerate(rows(60, 3))])
    [closed] = [event for event in events if event.state is EpisodeState.CLOSED]
    assert (closed.product, closed.closed_because) == ("A", "reset: product A -> B")
    assert not watched.in_episode


def test_invented_products_are_bounded_and_do_not_push_out_the_real_one():
    watched = watch(max_products=3)
    signals = [*rows(200, 1), *rows(60, 2, DARK)]
    events = []
    for n, row in enumerate(signals):
        real = decision(2 * n, row, attributes={"product": "real"})
        invented = decision(2 * n + 1, signals[n % 200], attributes={"product": f"invented {n}"})
        events += fed(watched, [real, invented])
    assert watched.products <= 4
    assert watched.counts["forgotten-products"] > 100
    assert "real" in {event.product for event in opened(events)}
    assert len(watched.state()) < 400_000


def test_a_state_of_one_product_is_still_read():
    """Read a state that version 1 wrote."""
    watched = watch()
    fed(watched, [decision(n, row) for n, row in enumerate(rows(300, 1))])
    plain = unpacked(watched.state())
    [[_, product]] = plain.pop("products")
    older = {**plain, "version": 1, "newest": plain["starts"][:2], **product}
    for name in ("starts", "warm_up", "now", "away"):
        older.pop(name, None)
    again = CameraWatch.restored(zlib.compress(json.dumps(older).encode()), lambda model, product: REFERENCE)
    dark = [decision(300 + n, row) for n, row in enumerate(rows(40, 2, DARK))]
    assert [event.event_id for event in fed(again, dark)] == [event.event_id for event in fed(watched, dark)]
    assert again.counts == watched.counts
    assert again.counts["resets"] == 0


def test_one_sensor_that_lies_is_said_once_for_all_products():
    watched = watch()
    fed(watched, alternating("AB", 100, 0))
    black = {"dark_share": 1.0, "brightness": 0.0}
    stream = [
        decision(100 + n, {**row, **black}, attributes={"product": "AB"[n % 2]}) for n, row in enumerate(rows(6, 3))
    ]
    assert [event.cause for event in opened(fed(watched, stream))] == ["black"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(("signals", "cause"), [({"dark_share": 1.0}, "black"), ({"bright_share": 0.8}, "saturated")])
def test_the_lamp_of_one_product_of_three(signals, cause, restart):
    watched = watch()
    fed(watched, alternating("ABC", 90, 0))
    stream = [
        decision(100 + n, {**row, **(signals if "ABC"[n % 3] == "B" else {})}, attributes={"product": "ABC"[n % 3]})
        for n, row in enumerate(rows(24, 3))
    ]
    before = fed(watched, stream[:12])  # four frames of B
    if restart:
        watched = CameraWatch.restored(watched.state(), lambda model, product: REFERENCE)
    found = opened(before + fed(watched, stream[12:]))
    assert [(event.cause, event.product) for event in found] == [(cause, "B")]
    assert number_of(found[0].detected_frame_id) == 100 + 3 * 4 + 1  # the fifth of B
    assert not watched._sensor.fault(REFERENCE)
    lit = [decision(200 + n, row, attributes={"product": "ABC"[n % 3]}) for n, row in enumerate(rows(300, 4))]
    assert [(event.state, event.cause) for event in fed(watched, lit)][-1:] == [(EpisodeState.CLOSED, cause)]


@pytest.mark.parametrize("restart", [False, True])
def test_a_start_of_the_future_is_not_the_newest(restart):
    watched = watch()
    ahead = [decision(n, row, started_at_us=NOW_US + 1500 * DAY_US, captured_at_us=NOW_US + 1500 * DAY_US,
                      frame_id=f"ahead.{n}") for n, row in enumerate(rows(10, 9))]  # fmt: skip
    fed(watched, ahead)
    if restart:
        watched = CameraWatch.restored(watched.state(), lambda model, product: REFERENCE)
    signals = [*rows(600, 1), *rows(60, 2, DARK)]
    events = fed(watched, [decision(n, row, started_at_us=NOW_US) for n, row in enumerate(signals)])
    assert (watched.counts["ahead"], watched.counts["old"]) == (10, 0)
    assert 600 <= number_of(opened(events)[0].detected_frame_id) < 640


def test_a_camera_whose_clock_is_ahead_is_watched_and_its_events_are_of_now():
    watched = watch()
    late_us = NOW_US + DAY_US
    signals = [*rows(400, 1), *rows(60, 2, DARK)]
    stream = [decision(n, row, started_at_us=late_us, captured_at_us=late_us + n) for n, row in enumerate(signals)]
    events = fed(watched, stream)
    assert watched.counts["ahead"] == 460
    assert opened(events)[0].started_at_us == NOW_US


def test_a_state_that_an_older_version_blinded_sees_again():
    watched = watch()
    plain = json.loads(zlib.decompress(watched.state()))
    plain["starts"] = [NOW_US + 1500 * DAY_US, 9]
    again = CameraWatch.restored(zlib.compress(json.dumps(plain).encode()), lambda model, product: REFERENCE)
    signals = [*rows(300, 1), *rows(60, 2, DARK)]
    assert opened(fed(again, [decision(n, row, started_at_us=NOW_US) for n, row in enumerate(signals)]))
    assert again.counts["old"] == 0


@pytest.mark.parametrize(
    ("before", "now"),
    [({"started_at_us": NOW_US}, {"started_at_us": NOW_US - DAY_US}), ({"sequence": 2**60}, {})],
    ids=["the clock was set back", "a sequence that nobody reaches"],
)
def test_old_decisions_that_go_on_coming_are_a_new_start(before, now):
    watched = watch()
    fed(watched, [decision(n, row, frame_id=f"before.{n}", **before) for n, row in enumerate(rows(10, 9))])
    signals = [*rows(300, 1), *rows(60, 2, DARK)]
    fresh = [decision(n, row, decided_at_us=n * 500_000 + 20_000, **now) for n, row in enumerate(signals)]
    events = fed(watched, fresh)
    assert (watched.counts["old"], watched.counts["clock-back"], watched.counts["resets"]) == (49, 1, 1)
    assert watched.last_reset == "reset: the camera's clock went back"
    assert 300 <= number_of(opened(events)[0].detected_frame_id) < 340


def test_a_spool_that_catches_up_is_no_new_start():
    watched = watch()
    fed(watched, [decision(n, row, started_at_us=5) for n, row in enumerate(rows(50, 1))])
    spooled = [decision(n, row, started_at_us=1, decided_at_us=2 * 3_600_000_000, frame_id=f"spool.{n}")
               for n, row in enumerate(rows(400, 2, DARK))]  # fmt: skip
    assert fed(watched, spooled) == []
    assert (watched.counts["old"], watched.counts["clock-back"]) == (400, 0)


def shared(every: int, count: int, alone: int = 0, dark: int = 0) -> list[Decision]:
    """Return decisions of two producers with one name; one in ``every`` is of the later start, the last ``alone`` not.

    The last ``dark`` decisions are dark.
    """
    signals = [*rows(count - dark, 1), *rows(dark, 2, DARK)]
    stream = []
    for n, row in enumerate(signals):
        is_later = n % every == 0 and n < count - alone
        started_us, at_us = NOW_US - DAY_US + is_later * 10_000_000, NOW_US + n * 100_000
        stream.append(decision(n, row, started_at_us=started_us, captured_at_us=at_us, decided_at_us=at_us + 20_000,
                               frame_id=f"press.top.{started_us}.{n:08d}"))  # fmt: skip
    return stream


@pytest.mark.parametrize("every", [2, 20, 100])
def test_of_two_producers_with_one_name_the_later_is_watched_whole_and_the_other_is_named(every):
    watched = watch()
    count = 6 * every + 600
    fed(watched, shared(every, count))
    later = -(-count // every)
    assert watched.counts["watched"] == later
    assert watched.counts["old"] <= 4 * every
    assert watched.counts["old"] + watched.counts["second-producer"] == count - later
    assert (watched.counts["resets"], watched.counts["clock-back"]) == (0, 0)


def test_a_second_producer_that_remains_alone_is_watched_after_a_minute():
    watched = watch()
    events = fed(watched, shared(2, 2000, alone=1500, dark=60))
    assert watched.counts["clock-back"] == 1
    assert watched.counts["watched"] == 250 + 2000 - (498 + 600 + 49)  # the last of the later start, a minute, 50
    assert number_of(opened(events)[0].detected_frame_id) >= 1940


def test_a_restart_whose_spool_catches_up_is_no_second_producer():
    watched = watch()
    stream = shared(10**9, 400)
    live = [dataclasses.replace(one, started_at_us=stream[200].captured_at_us) for one in stream[201:]]
    mixed = [one for pair in zip(live, stream[:199], strict=True) for one in pair]
    fed(watched, mixed)
    assert (watched.counts["second-producer"], watched.counts["watched"], watched.counts["old"]) == (0, 199, 199)


@pytest.mark.parametrize(
    "options", [{"max_products": 0}, {"warm_up_frames": -1}, {"warm_up_s": 1e9}, {"warm_up_gap_s": 0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(SettingsError):
        DriftOptions(**options)


def test_more_signals_than_a_camera_has_are_bounded():
    watched = CameraWatch(lambda model, product: None, DriftOptions(learn_frames=60))
    for n in range(80):
        signals = {f"s{k}": float((n * k) % 7) for k in range(500)} | {f"nan{n}{k}": float("nan") for k in range(50)}
        watched.decision(decision(n, signals), now_us=NOW_US)
    assert len(watched.counts) < 100
    assert watched.counts["too-many-signals"] > 0
    again = CameraWatch.restored(watched.state(), lambda model, product: None)
    assert again.counts == watched.counts

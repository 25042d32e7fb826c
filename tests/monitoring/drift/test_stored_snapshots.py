"""States of cameras as an earlier version wrote them: each is resumed from, and written again with the same content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from models.reference import SignalReferences, references_of
from monitoring.drift import CameraWatch, DriftOptions
from schemas.ids import drift_event_id
from schemas.records import DriftEvent, EpisodeState
from tests.support.streams import decision, rows, unpacked

SNAPSHOTS = sorted((Path(__file__).parent / "snapshots").glob("*.state"))


def narrow(found: Iterable[Mapping[str, float]]) -> list[dict[str, float]]:
    """Return the signals of the snapshots' cameras, rounded, so that the snapshots are small."""
    names = ("brightness", "sharpness")
    return [
        {name: round(row[name], 1) for name in names} | {n: row[n] for n in ("dhash_hi", "dhash_lo")} for row in found
    ]


def reference(model: str, product: str | None) -> SignalReferences:
    return references_of(narrow(rows(300, 999)))


def restored(name: str, **options: int) -> CameraWatch:
    state = (Path(__file__).parent / "snapshots" / f"{name}.state").read_bytes()
    return CameraWatch.restored(state, reference, DriftOptions(**options))


def feed(watch: CameraWatch, found: Iterable[Mapping[str, float]], begin: int, **changes: Any) -> list[DriftEvent]:
    events = []
    for number, row in enumerate(narrow(found), begin):
        events += watch.decision(decision(number, row, **changes), now_us=number)
    return events


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_content_is_the_same_when_written_again(path):
    assert len(SNAPSHOTS) == 5
    state = path.read_bytes()
    watch = CameraWatch.restored(state, reference)
    for product in watch._all():
        product.touch()  # else the bytes that were read would be written again
    assert unpacked(watch.state()) == unpacked(state)


def test_an_open_episode_goes_on_and_is_closed():
    watch = restored("open-episode")
    assert watch.in_episode
    events = feed(watch, rows(600, 5), 1580)
    assert [event.state for event in events][-1:] == [EpisodeState.CLOSED]
    assert {event.detected_frame_id for event in events} == {"press.top.1.00001311"}
    # Two events of the episode were published before the snapshot.
    assert [event.event_id for event in events] == [
        drift_event_id(events[0].episode_id, number) for number in range(3, 3 + len(events))
    ]


def test_a_change_that_was_not_published_is_published():
    events = feed(restored("unpublished-change"), rows(60, 5, {"brightness": -2.0, "sharpness": -1.2}), 175)
    [update] = [event for event in events if event.state is EpisodeState.UPDATED]
    assert {change.signal for change in update.signals} >= {"brightness", "sharpness"}


def test_a_fault_of_the_sensor_ends():
    [closed] = feed(restored("sensor-fault"), rows(3, 5), 80)
    assert (closed.cause, closed.closed_because, closed.frames_before[-1]) == (
        "frozen",
        "recovered",
        "press.top.1.00000060",
    )


def test_a_camera_that_learns_goes_on_learning():
    watch = restored("learning", learn_frames=60)
    feed(watch, rows(9, 5), 50)
    assert unpacked(watch.state())["products"][0][1]["segment"]["references"] == {}
    feed(watch, rows(1, 6), 59)
    assert unpacked(watch.state())["products"][0][1]["segment"]["references"].keys() == {"brightness", "sharpness"}


def test_a_warm_up_of_two_products_with_two_models_ends():
    watch = restored("warm-up-two-products-two-models", warm_up_frames=50)
    events = feed(watch, rows(11, 5), 40, model_sha256="a" * 64, attributes={"product": "A"})
    assert {(event.cause, event.closed_because) for event in events if event.cause} == {
        ("warm-up", "reset: the warm-up is over")
    }
    assert len(events) == 4
    assert not watch.in_episode

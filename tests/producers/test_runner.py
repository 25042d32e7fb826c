"""Cameras side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from producers.camera import Capture
from producers.pacing import Pacer
from producers.runner import CameraJob, run_camera, run_cameras
from producers.testing import ListCamera
from schemas.clock import ManualClock
from schemas.errors import PluginError


class Shelf(list[Capture]):
    def publish(self, capture: Capture) -> str | None:
        self.append(capture)
        return str(len(self))


def endless() -> ListCamera:
    return ListCamera([Capture(image=np.zeros((2, 2), np.uint8))], loop=True)


class Hanging:
    def __init__(self) -> None:
        self.release = threading.Event()

    def __iter__(self) -> Iterator[Capture]:
        self.release.wait(30)
        yield Capture(encoded=b"late")


def test_paces_and_counts() -> None:
    clock = ManualClock()
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        clock.advance(seconds)
        return False

    camera, shelf = endless(), Shelf()
    assert run_camera(camera, shelf, max_frames=4, pacer=Pacer(20, clock), wait=wait) == len(shelf) == 4
    assert waits == pytest.approx([0.05] * 3)
    assert camera.calls == ["open", "close"]


def test_no_frame_is_captured_that_is_not_asked_for() -> None:
    taken = iter([Capture(encoded=b"1"), Capture(encoded=b"2")])
    run_camera(taken, Shelf(), max_frames=1)
    assert next(taken).encoded == b"2"


def test_stop_ends_a_wait() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    begin = time.monotonic()
    assert run_camera(endless(), Shelf(), fps=0.01, stop=stop) == 1
    assert time.monotonic() - begin < 50  # the next frame is due after 100 s


def test_a_camera_that_raises_or_hangs_stalls_no_other(caplog: pytest.LogCaptureFixture) -> None:
    good, stuck, stop = endless(), Hanging(), threading.Event()
    bad = ListCamera([Capture(encoded=b"1")], error=RuntimeError("cable\nout"))

    class StoppingShelf(Shelf):
        def publish(self, capture: Capture) -> str | None:
            if len(self) > 20 and "close" in bad.calls:
                stop.set()
            return super().publish(capture)

    shelf = StoppingShelf()
    jobs = [
        CameraJob("good", good, shelf, fps=100),
        CameraJob("bad", bad, Shelf()),
        CameraJob("stuck", stuck, Shelf()),
    ]
    reports = run_cameras(jobs, stop, grace_s=1)
    stuck.release.set()
    assert [report.ok for report in reports] == [True, False, False]
    assert reports[0].captured == len(shelf) > 20
    assert (reports[1].captured, reports[1].error) == (1, "RuntimeError: cable")
    assert reports[2].hung
    assert bad.calls == ["open", "close"]
    # A busy machine also misses slots of the good camera, which is a warning.
    assert [record.levelname for record in caplog.records if record.levelname != "WARNING"] == ["ERROR"]


def test_an_error_without_a_text_is_an_error() -> None:
    [report] = run_cameras([CameraJob("bad", ListCamera([], error=PluginError("")), Shelf())])
    assert (report.ok, report.error) == (False, "PluginError")


def test_slots_missed_because_publishing_took_long_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Slow(Shelf):
        def publish(self, capture: Capture) -> str | None:
            time.sleep(0.55 if len(self) in (2, 4) else 0)
            return super().publish(capture)

    missed: list[int] = []
    shelf = Slow()
    (report,) = run_cameras([CameraJob("slow", endless(), shelf, fps=20, max_frames=8, on_missed=missed.append)])
    assert (report.ok, report.captured) == (True, 8)
    assert report.missed == sum(missed) >= 18
    [line] = caplog.messages  # one in five seconds
    assert "slots passed without a capture" in line


def test_all_end_by_themselves() -> None:
    jobs = [CameraJob(str(n), endless(), Shelf(), max_frames=n) for n in (1, 3)]
    assert [report.captured for report in run_cameras(jobs)] == [1, 3]

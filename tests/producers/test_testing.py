"""The kit for cameras finds each broken rule, and passes every camera that ships."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from infra.demo.cameras import TriggeredCamera
from producers.camera import Camera, Capture
from producers.cameras.disturbed import Disturbance, DisturbedCamera
from producers.runner import run_camera
from producers.testing import ListCamera, check_camera
from schemas.clock import SystemClock

BLACK = np.zeros((48, 64), np.uint8)
GOOD = Capture(image=BLACK)


class Openable(ListCamera):
    """Good camera to break."""

    def __init__(self) -> None:
        super().__init__([GOOD], loop=True)


class OnlyOpen:
    def open(self) -> None: ...

    def __iter__(self) -> Iterator[Capture]:
        yield GOOD


class OnlyClose:
    def close(self) -> None: ...

    def __iter__(self) -> Iterator[Capture]:
        yield GOOD


class NoIterator:
    def __iter__(self) -> list[Capture]:
        return [GOOD]


class OpenFails(Openable):
    def open(self) -> None:
        raise OSError("no device")


class CloseFails(Openable):
    def close(self) -> None:
        raise OSError("device\nis gone")


class CloseFailsEarly(Openable):
    """Its close() works only after at least one capture."""

    seen = 0

    def __iter__(self) -> Iterator[Capture]:
        for self.seen, capture in enumerate(super().__iter__(), 1):
            yield capture

    def close(self) -> None:
        1 / self.seen


class EndFails(Openable):
    """Its generator needs the device that close() has released."""

    device: Any = BLACK

    def close(self) -> None:
        self.device = None

    def __iter__(self) -> Iterator[Capture]:
        try:
            while True:
                yield GOOD
        finally:
            self.device.sum()


class OneBuffer:
    """A thread writes into the array that was returned."""

    def __init__(self) -> None:
        self._image = BLACK.copy()
        self._stop = threading.Event()

    def open(self) -> None:
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self._stop.wait(0.001):
            self._image += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Capture]:
        while True:
            yield Capture(image=self._image)


class LeavesThread(Openable):
    def open(self) -> None:
        threading.Thread(target=time.sleep, args=(10,), name="grabber", daemon=True).start()


class LeavesTimer:
    def __iter__(self) -> Iterator[Capture]:
        timer = threading.Timer(10, lambda: None)
        timer.daemon = True
        timer.name = "flash"
        timer.start()
        yield GOOD


class Busy(Openable):
    """Its device stays busy after close(), so a second camera cannot open it."""

    is_open = False

    def open(self) -> None:
        if Busy.is_open:
            raise OSError("device is busy")
        Busy.is_open = True


class Hangs(Openable):
    def __iter__(self) -> Iterator[Capture]:
        yield GOOD
        time.sleep(10)


class OpenHangs(Openable):
    def open(self) -> None:
        time.sleep(10)


def one(capture: Any) -> Callable[[], Camera]:
    return lambda: ListCamera([GOOD, capture])


def changing(*shades: int) -> Callable[[], Camera]:
    """Return a maker of cameras whose n-th camera shows the n-th shade."""
    left = list(shades)
    return lambda: ListCamera([Capture(image=BLACK + left.pop(0))])


def growing() -> Callable[[], Camera]:
    sizes = iter(range(1, 9))
    return lambda: ListCamera([GOOD] * next(sizes))


def same() -> Callable[[], Camera]:
    camera = ListCamera([GOOD])
    return lambda: camera


def exhausted() -> Callable[[], Camera]:
    captures = iter([GOOD])
    return lambda: ListCamera(captures)


def broken_class() -> Camera:
    raise ValueError("no address")


def capture(**fields: Any) -> Capture:
    return Capture(**{"image": BLACK, **fields})


BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "1 same camera": (same(), r"make\(\) returned the same camera again; expected a new camera"),
    "1 no iter": (lambda: object(), "object: it has no __iter__; expected a method __iter__"),
    "1 make raises": (broken_class, r"broken_class: make\(\) raised ValueError: no address; expected no error"),
    "1 only open": (OnlyOpen, r"OnlyOpen: it has open\(\) alone, so nobody calls it; expected both"),
    "1 only close": (OnlyClose, r"OnlyClose: it has close\(\) alone"),
    "2 no iterator": (NoIterator, r"__iter__\(\) raised TypeError: iter\(\) returned non-iterator"),
    "2 open fails": (OpenFails, r"OpenFails: open\(\) raised OSError: no device"),
    "2 close fails": (CloseFails, r"CloseFails: close\(\) after 5 captures raised OSError: device is gone"),
    "2 capture fails": (lambda: ListCamera([GOOD], error=OSError("cable")), "capture 2 raised OSError: cable"),
    "2 busy": (Busy, r"Busy: open\(\) raised OSError: device is busy"),
    "2 nothing": (lambda: ListCamera([]), "it returns no capture; expected at least one"),
    "2 nothing later": (exhausted(), "it returns no capture"),
    "2 pixels alone": (one(BLACK), r"capture 2 is of type ndarray; expected a producers\.Capture"),
    "2 None": (one(None), "capture 2 is of type NoneType"),
    "3 one buffer": (OneBuffer, "the pixels of capture 1 changed before the next capture was requested"),
    "4 part id": (one(capture(part_id=7)), r"part_id of capture 2 is 7, of type int; expected a text \(str\)"),
    "4 lot": (one(capture(lot=b"L7")), r"lot of capture 2 is b'L7', of type bytes"),
    "4 attribute": (one(capture(attributes={"gain": 2.5})), r"attribute 'gain' of capture 2 is 2\.5, of type float"),
    "4 attribute name": (one(capture(attributes={7: "x"})), "the name 7 of an attribute of capture 2 is 7"),
    "4 attributes": (
        one(capture(attributes=[("a", "b")])),
        "attributes of capture 2 are of type list; expected",
    ),
    "4 seconds": (
        one(capture(captured_at_us=1_795_000_000)),
        "captured_at_us of capture 2 is 1795000000; expected",
    ),
    "4 milliseconds": (one(capture(captured_at_us=1_795_000_000_000)), "captured_at_us of capture 2 is 1795000000000"),
    "4 nanoseconds": (one(capture(captured_at_us=1_795_000_000_000_000_000)), "captured_at_us of capture 2"),
    "4 float": (
        one(capture(captured_at_us=time.time())),
        "captured_at_us of capture 2 is .*, of type float; expected",
    ),
    "4 long texts": (one(capture(attributes={"log": "x" * 70_000})), "capture 2: .*; expected shorter texts"),
    "4 encoded": (one(Capture(encoded=bytearray(b"x"))), "encoded of capture 2 is of type bytearray"),  # type: ignore[arg-type]
    "4 bit depth": (one(capture(bit_depth=12)), "capture 2 has 8-bit pixels and a bit_depth of 12; expected uint16"),
    "5 scrap": (lambda: ListCamera([Capture(encoded=b"scrap")] * 3), "none of its captures is a readable image"),
    "5 too wide": (one(Capture(image=np.zeros((1, 70_000), np.uint8))), "cannot encode 70000x1 .*; expected at most"),
    "6 close early": (CloseFailsEarly, r"close\(\) after 0 captures raised ZeroDivisionError"),
    "6 generator": (EndFails, "the end of its iterator raised AttributeError"),
    "6 thread": (LeavesThread, "the thread 'grabber' still runs 2 s after the end; expected close"),
    "6 timer": (LeavesTimer, "the thread 'flash' still runs"),
    "7 shade": (changing(1, 1, 1, 2), "capture 1 differs between two runs; expected the same captures"),
    "7 length": (growing(), "it returns 4 captures, then 1 between two runs"),
    "hangs": (Hangs, "Hangs: capture 2 does not return; expected the whole check to end within 1 s"),
    "open hangs": (OpenHangs, r"OpenHangs: open\(\) does not return"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_cameras_fail(name: str) -> None:
    make, message = BROKEN[name]
    with pytest.raises(AssertionError, match=message) as caught:
        check_camera(make, repeats=name.startswith("7"), timeout_s=1 if "hangs" in name else 30)
    assert "\n" not in str(caught.value)


def test_a_camera_is_closed_when_a_rule_is_broken() -> None:
    made: list[ListCamera] = []

    def make() -> ListCamera:
        made.append(ListCamera([Capture(image=BLACK, part_id=7)]))  # type: ignore[arg-type]
        return made[-1]

    with pytest.raises(AssertionError):
        check_camera(make)
    assert [camera.calls for camera in made] == [["open", "close"]]


GRABBED = np.random.default_rng(1).integers(0, 4096, (8, 8)).astype(np.uint16)
WHOLE: dict[str, Callable[[], Any]] = {
    "list": lambda: ListCamera([GOOD], loop=True),
    "plain list": lambda: [GOOD, Capture(encoded=b"damaged")],
    "generator": lambda: (each for each in [GOOD]),
    "12 bits": one(Capture(image=GRABBED, bit_depth=12)),
    "odd texts": one(capture(part_id="Teil\udcff", lot="", attributes={"": "gr\xfcn"})),
    "time": lambda: ListCamera([capture(captured_at_us=time.time_ns() // 1000)]),
    "disturbed": lambda: DisturbedCamera(ListCamera([GOOD], loop=True), Disturbance.BLUR, 1),
    "frozen": lambda: DisturbedCamera(ListCamera([GOOD] * 2), Disturbance.FROZEN, 1),
    "other product": lambda: DisturbedCamera(
        ListCamera([GOOD] * 2), Disturbance.PRODUCT_CHANGE, 1, ListCamera([GOOD], loop=True)
    ),
    "of the demo": lambda: TriggeredCamera(
        ListCamera([GOOD], loop=True), "p", SystemClock(), before=lambda: True, on_trigger=lambda part, at_us: None
    ),
}


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE.keys())
def test_whole_cameras_pass(make: Callable[[], Camera]) -> None:
    check_camera(make, captures=3)


def test_a_slow_thread_may_end_in_its_time() -> None:
    class Slow(Openable):
        def open(self) -> None:
            timer = threading.Timer(0.3, lambda: None)
            timer.start()

    check_camera(Slow)


def test_list_camera_ends_loops_and_fails() -> None:
    class Shelf(list[Capture]):
        def publish(self, capture: Capture) -> str | None:
            self.append(capture)
            return str(len(self))

    assert run_camera(ListCamera([GOOD] * 2), Shelf()) == 2
    assert run_camera(ListCamera([GOOD], loop=True), Shelf(), max_frames=5) == 5
    assert run_camera(ListCamera([], loop=True), Shelf()) == 0
    camera, shelf = ListCamera([GOOD], error=OSError("cable")), Shelf()
    with pytest.raises(OSError, match="cable"):
        run_camera(camera, shelf)
    assert (len(shelf), camera.calls) == (1, ["open", "close"])

"""Testing kit for cameras: a camera made of a list, and the contract that every camera keeps.

The kit raises `AssertionError` and needs no test framework::

    def test_my_camera() -> None:
        check_camera(MyCamera)
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from producers.camera import Camera, Capture, Openable
from producers.encoding import EncodingFailed, encode_capture
from producers.message import make_message
from producers.options import CameraIdentity, PublisherOptions
from schemas.codec import Codec
from schemas.errors import InvalidRecord
from transport.bounded_call import threads_left
from transport.contract_check import ContractCheck

__all__ = ["ListCamera", "check_camera"]

#: Earliest plausible time of a capture, 2000-01-01, and the most that it may be ahead of this machine's clock.
_EARLIEST_US = 946_684_800_000_000
_AHEAD_US = 86_400_000_000
#: Time for which the pixels of a capture must stay as they are while nobody requests the next capture.
_STILL_S = 0.02
#: Time for the threads of a camera to end after `close`.
_END_S = 2.0
#: Mark of the end of a camera; None would hide a camera that yields None.
_END = object()


class ListCamera:
    """Camera that returns the captures of a list, and records the calls of `open` and `close`.

    Parameters
    ----------
    captures
        Captures to return, in order.
    loop
        Begin again at the end, for ever.
    error
        Error to raise at the end, as a camera does whose cable is pulled.

    Examples
    --------
    >>> camera = ListCamera([Capture(encoded=b"1"), Capture(encoded=b"2")])
    >>> camera.open()
    >>> [capture.encoded for capture in camera]
    [b'1', b'2']
    >>> camera.close()
    >>> camera.calls
    ['open', 'close']
    """

    def __init__(self, captures: Iterable[Capture], *, loop: bool = False, error: Exception | None = None) -> None:
        self._captures = tuple(captures)
        self._loop = loop
        self._error = error
        #: Calls of `open` and `close`, in order.
        self.calls: list[str] = []

    def open(self) -> None:
        """Record the call."""
        self.calls.append("open")

    def close(self) -> None:
        """Record the call."""
        self.calls.append("close")

    def __iter__(self) -> Iterator[Capture]:
        yield from self._captures
        while self._loop and self._captures:
            yield from self._captures
        if self._error is not None:
            raise self._error


def check_camera(
    make: Callable[[], Camera], *, captures: int = 5, repeats: bool = False, timeout_s: float = 30.0
) -> None:
    """Check that a camera keeps the contract of `producers.camera`.

    The check runs three cameras as a line does, one after the other, each in one thread. It takes ``captures`` of the
    first camera, one of the second, and none of the third. These are the rules:

    1. ``make`` returns a new camera each time. A camera has ``__iter__``. It has both `open` and `close`, or neither.
    2. Opening, iterating and closing raise no error. The camera returns at least one `Capture`.
    3. Pixels stay unchanged until the next capture is requested.
    4. Ids and attributes are texts, of at most 64 KiB in all. Times are UTC microseconds.
    5. Captures can be encoded, and at least one of them is a readable image.
    6. The camera may be closed at any time. Then its threads end within two seconds.
    7. With ``repeats``: each camera returns the same captures.

    Parameters
    ----------
    make
        Function without parameters that returns a camera, such as its class. The camera must not be open.
    captures
        Number of captures to take of an endless camera. For a camera with a trigger, take as many as it triggers.
    repeats
        True for a camera that reads files: it must return the same captures at each run.
    timeout_s
        Longest time for the whole check, in seconds.

    Raises
    ------
    AssertionError
        If the camera breaks a rule. The message states the fault, and what is expected.

    Examples
    --------
    >>> import numpy as np
    >>> black = np.zeros((48, 64), np.uint8)
    >>> check_camera(lambda: ListCamera([Capture(image=black)], loop=True))
    >>> check_camera(lambda: ListCamera([Capture(image=black, captured_at_us=1_795_000_000)]))
    Traceback (most recent call last):
    ...
    AssertionError: ListCamera: captured_at_us of capture 1 is 1795000000; expected UTC microseconds since 1970
    """
    _Check(make, captures, repeats, timeout_s).run()


class _Check(ContractCheck[Camera]):
    """One run of the contract."""

    def __init__(self, make: Callable[[], Camera], captures: int, repeats: bool, timeout_s: float) -> None:
        super().__init__(make, "camera", timeout_s)
        self._captures = captures
        self._repeats = repeats

    def _check(self) -> None:
        first = self._pass(self._captures)
        if not any(readable for _, readable in first):
            self._fail("none of its captures is a readable image", "pixels, or a whole JPEG, PNG, BMP or TIFF file")
        self._pass(1)
        self._pass(0)
        if self._repeats and (again := self._pass(self._captures)) != first:
            number = next((n for n, pair in enumerate(zip(first, again, strict=False), 1) if pair[0] != pair[1]), None)
            where = f"capture {number} differs" if number else f"it returns {len(again)} captures, then {len(first)}"
            self._fail(f"{where} between two runs", "the same captures at each run")

    def _pass(self, count: int) -> list[tuple[str, bool]]:
        """Run a new camera for a number of captures; return the content of each, and True if it is readable."""
        before = set(threading.enumerate())
        camera = self._new()
        if isinstance(camera, Openable):
            with self._at("open()"):
                camera.open()
        try:
            with self._at("__iter__()"):
                captures = iter(camera)
            seen = self._take(captures, count)
        except BaseException:
            # The fault is found; the device is released, as a line does it.
            if isinstance(camera, Openable):
                with suppress(Exception):
                    camera.close()
            raise
        if isinstance(camera, Openable):
            with self._at(f"close() after {len(seen)} captures"):
                camera.close()
        # A line drops the iterator of a camera that it has closed: a generator ends there.
        end = getattr(captures, "close", None)
        if end is not None and captures is not camera:
            with self._at("the end of its iterator"):
                end()
        del captures
        if left := threads_left(before, _END_S):
            self._fail(f"the thread {left[0]!r} still runs {_END_S:g} s after the end", "close() to end its threads")
        return seen

    def _take(self, captures: Iterator[Capture], count: int) -> list[tuple[str, bool]]:
        seen = []
        for number in range(1, count + 1):
            with self._at(f"capture {number}"):
                capture: object = next(captures, _END)
            if capture is _END:
                if number == 1:
                    self._fail("it returns no capture", "at least one")
                break
            seen.append(self._check_one(capture, number))
        return seen

    def _new(self) -> Camera:
        camera = super()._new()
        if not hasattr(camera, "__iter__"):
            self._fail("it has no __iter__", "a method __iter__ that yields captures")
        has = {name for name in ("open", "close") if callable(getattr(camera, name, None))}
        # A generator has close() alone, and a line need not call it.
        if has == {"open"} or (has == {"close"} and not hasattr(camera, "__next__")):
            self._fail(f"it has {has.pop()}() alone, so nobody calls it", "both open() and close(), or neither")
        return camera

    def _check_one(self, capture: object, number: int) -> tuple[str, bool]:
        if not isinstance(capture, Capture):
            self._fail(f"capture {number} is of type {type(capture).__name__}", "a producers.Capture")
        self._check_fields(capture, number)
        content = _digest(capture)
        time.sleep(_STILL_S)
        if _digest(capture) != content:
            self._fail(
                f"the pixels of capture {number} changed before the next capture was requested",
                "an array that nothing writes to until then, such as a copy",
            )
        return content, self._encode(capture, number)

    def _check_fields(self, capture: Capture, number: int) -> None:
        if capture.encoded is not None and not isinstance(capture.encoded, bytes):
            self._fail(f"encoded of capture {number} is of type {type(capture.encoded).__name__}", "bytes")
        if not isinstance(capture.attributes, dict):
            self._fail(f"attributes of capture {number} are of type {type(capture.attributes).__name__}", "a dict")
        texts: list[tuple[str, object]] = [("part_id", capture.part_id), ("lot", capture.lot)]
        texts = [each for each in texts if each[1] is not None]
        for key, value in capture.attributes.items():
            texts += [(f"the name {key!r} of an attribute", key), (f"attribute {key!r}", value)]
        for what, text in texts:
            if not isinstance(text, str):
                self._fail(f"{what} of capture {number} is {text!r}, of type {type(text).__name__}", "a text (str)")
        at_us = capture.captured_at_us
        if at_us is not None and not isinstance(at_us, int):
            self._fail(f"captured_at_us of capture {number} is {at_us!r}, of type {type(at_us).__name__}", "an int")
        if at_us is not None and not _EARLIEST_US <= at_us <= time.time_ns() // 1000 + _AHEAD_US:
            self._fail(
                f"captured_at_us of capture {number} is {at_us}",
                "UTC microseconds since 1970",
            )
        if capture.image is not None and capture.image.dtype == "uint8" and capture.bit_depth is not None:
            self._fail(
                f"capture {number} has 8-bit pixels and a bit_depth of {capture.bit_depth}",
                "uint16 pixels as the camera measures them, or no bit_depth",
            )

    def _encode(self, capture: Capture, number: int) -> bool:
        try:
            image = encode_capture(capture, bit_depth=capture.bit_depth)
        except EncodingFailed as error:
            raise AssertionError(f"{self._name}: capture {number}: {error}; expected at most 65,535 pixels") from error
        try:
            make_message(
                capture, image, identity=CameraIdentity("line", "station", "camera"), options=PublisherOptions(),
                started_at_us=_EARLIEST_US, sequence=number, captured_at_us=_EARLIEST_US, taken_s=0.0, codec=Codec(),
            )  # fmt: skip
        except InvalidRecord as error:
            raise AssertionError(f"{self._name}: capture {number}: {error}; expected shorter texts") from error
        return image.width > 0


def _digest(capture: Capture) -> str:
    """Return a hash of the picture of a capture, with its ids and attributes."""
    data = capture.encoded if capture.image is None else capture.image.tobytes()
    texts = repr((capture.part_id, capture.lot, capture.bit_depth, capture.attributes))
    return hashlib.sha256(bytes(data or b"") + texts.encode("utf-8", "surrogateescape")).hexdigest()

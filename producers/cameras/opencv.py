"""Cameras that OpenCV reads: video files, USB cameras and RTSP streams."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from models.opencv import cv2
from producers.camera import Capture, CapturedImage
from schemas.addresses import HIDDEN, masked_address
from schemas.clock import Clock, SystemClock
from schemas.errors import PluginError, error_line
from schemas.known_secrets import keep_password

_log = logging.getLogger(__name__)

#: Folder of the names that udev makes from vendor, model and serial number; the order of plugging does not change them.
_USB_BY_ID = Path("/dev/v4l/by-id")
_TIMEOUT_MS = 10_000
_STOP_S = 2.0


class OpenCvCamera:
    """Camera that ``cv2.VideoCapture`` reads.

    A file is read frame by frame. A live source (USB, RTSP) is read by a thread of its own that keeps only the newest
    picture: a capture is never older than one frame, however slowly the caller requests captures.

    Parameters
    ----------
    source
        Path of a video file, ``usb:/dev/v4l/by-id/NAME``, ``usb:0`` or ``rtsp://...``.
    width, height
        Size to request from a USB camera, in pixels.
    loop
        Begin a file again at its end.
    reopen
        Number of tries to open a live source again after it stopped, one second apart.

    Raises
    ------
    PluginError
        On opening, if the source cannot be opened; later, if a live source stops for good.
    """

    def __init__(
        self,
        source: str,
        width: int | None = None,
        height: int | None = None,
        loop: bool = False,
        reopen: int = 10,
        clock: Clock | None = None,
    ) -> None:
        self._source = source
        self._live = source.startswith(("usb:", "rtsp:", "rtsps:"))
        #: Name for messages, without what may be a secret.
        self.name = _name(source)
        keep_password(source)
        self._size = (width, height)
        self._loop = loop
        self._reopen = reopen
        self._clock = clock or SystemClock()
        self._video: Any = None
        self._newest: _Newest | None = None

    def open(self) -> None:
        """Open the source and, if it is live, start to read it."""
        self._video = self._open()
        if self._live:
            self._newest = _Newest(self)

    def close(self) -> None:
        """Stop reading and release the device."""
        if self._newest is not None:
            self._newest.stop()
            self._newest = None
        elif self._video is not None:
            self._video.release()
        self._video = None

    def __iter__(self) -> Iterator[Capture]:
        if self._video is None:
            self.open()
        return self._live_captures() if self._newest is not None else self._file_captures()

    def _file_captures(self) -> Iterator[Capture]:
        since_start = 0
        while True:
            done, image = self._video.read()
            if done:
                since_start += 1
                yield Capture(image=cast(CapturedImage, image))
            elif self._loop and since_start:
                since_start = 0
                self._video.release()
                self._video = self._open()
            else:
                return

    def _live_captures(self) -> Iterator[Capture]:
        while self._newest is not None:
            yield self._newest.next()

    def _open(self) -> Any:
        kind, _, rest = self._source.partition(":")
        if kind == "usb":
            video = cv2.VideoCapture(*self._usb(rest))
        elif self._live:
            timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
            video = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG, timeouts)
        else:
            path = Path(self._source).expanduser()
            # OpenCV also accepts patterns (img_%03d.png) and addresses, but this source must be a file.
            if not path.is_file():
                raise PluginError(f"no video file {path}")
            video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not video.isOpened():
            raise PluginError(f"cannot open camera {self.name!r}: is it there, and free?")
        for prop, value in zip((cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), self._size, strict=True):
            if value is not None:
                video.set(prop, value)
        return video

    def _usb(self, device: str) -> tuple[Any, ...]:
        """Return the arguments for OpenCV: the number of a USB camera, or its path.

        Other cameras do not change the path.
        """
        is_number = device.isdecimal() and device.isascii()
        if is_number or re.fullmatch(r"/dev/video\d+", device):
            stable = sorted(_USB_BY_ID.glob("*")) if self._video is None else []
            if stable:
                _log.warning(
                    "camera %s: numbers of USB cameras can change at a restart; a stable name is usb:%s",
                    self.name, stable[0],
                )  # fmt: skip
        if is_number:
            return (int(device),)
        if not device.startswith("/dev/"):
            raise PluginError(
                f"camera {self.name!r}: the number or the path of a USB camera, as in usb:0 or "
                f"usb:{_USB_BY_ID}/NAME; `ls {_USB_BY_ID}` shows the names"
            )
        if not Path(device).exists():
            there = ", ".join(sorted(path.name for path in _USB_BY_ID.glob("*"))) or "no camera"
            raise PluginError(f"camera {self.name!r} is not there; {_USB_BY_ID} has {there}")
        return (device, cv2.CAP_V4L2)


def _name(source: str) -> str:
    """Return scheme and host of an address, a path as it is, and of anything else only the kind."""
    kind, _, rest = source.partition(":")
    if kind == "usb":
        is_device = rest.isdecimal() or rest.startswith("/dev/")
        return source if is_device and masked_address(source) == source else f"usb:{HIDDEN}"
    if kind in ("rtsp", "rtsps") and not rest.startswith("//"):
        return f"{kind}:{HIDDEN}"
    return masked_address(source)


def _read(video: Any) -> Any:
    """Return the next picture, or None if the source has none or OpenCV fails; the source is then opened again."""
    try:
        done, image = video.read()
    except cv2.error as error:
        _log.debug("OpenCV: %s", error)
        return None
    return image if done else None


class _Newest:
    """Reader of a live source in a thread; it keeps only the newest picture."""

    def __init__(self, camera: OpenCvCamera) -> None:
        self._camera = camera
        self._changed = threading.Condition()
        self._capture: Capture | None = None
        self._error: PluginError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"read {camera.name}", daemon=True)
        self._thread.start()

    def next(self) -> Capture:
        """Wait for a picture that was not returned yet, and return it."""
        with self._changed:
            self._changed.wait_for(lambda: self._capture is not None or self._error is not None)
            if self._capture is None:
                raise cast(PluginError, self._error)
            capture, self._capture = self._capture, None
            return capture

    def stop(self) -> None:
        """End the thread. The thread itself releases the device: no other thread may do so during a read."""
        self._stop.set()
        self._thread.join(_STOP_S)

    def _read(self) -> None:
        camera = self._camera
        video = camera._video
        try:
            while not self._stop.is_set():
                image = _read(video)
                if image is None:
                    video.release()
                    video = self._open_again()
                    continue
                capture = Capture(image=cast(CapturedImage, image), captured_at_us=camera._clock.utc_us())
                with self._changed:
                    self._capture = capture
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - a driver may return anything; whoever waits must hear of it
            text = f"camera {camera.name!r} gives no pictures: {type(error).__name__}: {error_line(error)}"
            with self._changed:
                self._error = error if isinstance(error, PluginError) else PluginError(text)
                self._changed.notify_all()
        finally:
            video.release()

    def _open_again(self) -> Any:
        for _ in range(self._camera._reopen):
            if self._stop.is_set():
                break
            time.sleep(1.0)
            try:
                return self._camera._open()
            except (PluginError, cv2.error):
                continue
        raise PluginError(f"camera {self._camera.name!r} stopped giving pictures")

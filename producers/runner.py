"""Runner of cameras: each camera has a thread of its own, so that no camera can stall another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from producers.camera import Camera, Capture, opened
from producers.pacing import Pacer
from schemas.addresses import masked_text
from schemas.errors import InspectionError
from transport.limited_log import LimitedLog

_log = logging.getLogger(__name__)

_WATCH_S = 0.1


class Publisher(Protocol):
    """Receiver of captures; `producers.publisher.FramePublisher` is the real one."""

    def publish(self, capture: Capture) -> str | None:
        """Publish a capture; return its frame id, or None if it was dropped."""
        ...


@dataclass(frozen=True, slots=True)
class CameraJob:
    """Camera to run.

    Parameters
    ----------
    name
        Name for logs and reports.
    camera, publisher
        Source and receiver of the captures.
    fps
        Captures per second; None: as fast as the camera returns them.
    max_frames
        Number of captures after which the run stops; None: at the camera's own end.
    phase
        Share of a period by which the camera begins later, see `Pacer`.
    address
        Address of the camera as a person typed it. Its user, password and path are left out of errors and logs.
    options
        Options of the camera as typed, ``k=v``. The value of one such as ``password=...`` is left out likewise.
    on_missed
        Called with the number of slots that have passed without a capture, because capturing or publishing took longer
        than the period; for a metric.
    """

    name: str
    camera: Camera
    publisher: Publisher
    fps: float | None = None
    max_frames: int | None = None
    phase: float = 0.0
    address: str = field(default="", repr=False)
    options: tuple[str, ...] = field(default=(), repr=False)
    on_missed: Callable[[int], object] | None = None


@dataclass(frozen=True, slots=True)
class CameraReport:
    """End of one camera's run: captures taken, the error in one line if it failed, True if the camera still hangs.

    ``missed`` is the number of slots of its rate that passed without a capture, see `CameraJob`. They are not frames,
    so they are not losses.
    """

    name: str
    captured: int
    error: str | None = None
    hung: bool = False
    missed: int = 0

    @property
    def ok(self) -> bool:
        """True if the camera neither failed nor hangs."""
        return self.error is None and not self.hung


def run_camera(
    camera: Camera,
    publisher: Publisher,
    *,
    fps: float | None = None,
    max_frames: int | None = None,
    stop: threading.Event | None = None,
    pacer: Pacer | None = None,
    wait: Callable[[float], bool] | None = None,
    on_captured: Callable[[], None] | None = None,
) -> int:
    """Publish a camera's captures until it ends, ``max_frames`` are taken or ``stop`` is set; return their number.

    Parameters
    ----------
    camera, publisher, fps, max_frames
        See `CameraJob`.
    stop
        Event that ends the run between two captures.
    pacer, wait
        For tests: the pacer, and a function that waits for a number of seconds and returns True to end the run.
    on_captured
        Called after each capture was handed to the publisher.

    Raises
    ------
    Exception
        Any error of the camera.

    Examples
    --------
    >>> class Shelf(list):
    ...     def publish(self, capture):
    ...         self.append(capture)
    >>> run_camera([Capture(encoded=b"1"), Capture(encoded=b"2")], Shelf(), max_frames=1)
    1
    """
    stop = stop or threading.Event()
    wait = wait or stop.wait
    pacer = pacer or Pacer(fps)
    count = 0
    with opened(camera):
        captures = iter(camera)
        while max_frames is None or count < max_frames:
            # Wait before the capture: a capture that waits to be published would be older than its time states.
            delay_s = pacer.delay_s()
            if stop.is_set() or (delay_s > 0 and wait(delay_s)):
                break
            capture = next(captures, None)
            if capture is None:
                break
            publisher.publish(capture)
            count += 1
            if on_captured is not None:
                on_captured()
    return count


class _Runner(threading.Thread):
    """Thread of one camera."""

    def __init__(self, job: CameraJob, stop: threading.Event) -> None:
        # A daemon thread: a camera that hangs in its driver must not keep the process from ending.
        super().__init__(name=f"camera {job.name}", daemon=True)
        self._job = job
        self._stop_event = stop
        self._pacer = Pacer(job.fps, phase=job.phase)
        self._limited = LimitedLog(_log)
        self._captured = self._missed = 0
        self._error: str | None = None

    def run(self) -> None:
        job = self._job
        try:
            run_camera(
                job.camera,
                job.publisher,
                fps=job.fps,
                max_frames=job.max_frames,
                stop=self._stop_event,
                pacer=self._pacer,
                on_captured=self._count,
            )
        except Exception as error:  # noqa: BLE001 - code of a plug-in; the other cameras must go on
            text = str(error) if isinstance(error, InspectionError) else f"{type(error).__name__}: {error}"
            first = (text.splitlines() or [type(error).__name__])[0]
            self._error = masked_text(first, *_addresses(job.address), *job.options)
            _log.error("camera %s ended after %d captures: %s", job.name, self._captured, self._error)
            if not job.address:
                _log.debug("camera %s", job.name, exc_info=error)

    def report(self) -> CameraReport:
        return CameraReport(self._job.name, self._captured, self._error, self.is_alive(), self._pacer.missed)

    def _count(self) -> None:
        self._captured += 1
        new = self._pacer.missed - self._missed
        if new:
            self._missed += new
            self._limited.warning(
                "missed",
                f"camera {self._job.name}: {new} slots passed without a capture ({self._missed} so far); "
                f"capturing or publishing took longer than 1/{self._job.fps:g} s",
            )
            if self._job.on_missed is not None:
                self._job.on_missed(new)


def _addresses(spec: str) -> tuple[str, ...]:
    """Return the forms in which a library may show a typed address: with the kind of the camera, and without."""
    return spec, spec.partition(":")[2]


def run_cameras(
    jobs: Sequence[CameraJob], stop: threading.Event | None = None, *, grace_s: float = 5.0
) -> list[CameraReport]:
    """Run cameras side by side until all have ended or ``stop`` is set.

    Parameters
    ----------
    jobs
        Cameras to run.
    stop
        Event that ends the run.
    grace_s
        Longest time for the cameras to end once ``stop`` is set, in seconds. A camera that takes longer is abandoned
        and reported as hung.

    Returns
    -------
    list of CameraReport
        One report for each job, in order.
    """
    stop = stop or threading.Event()
    runners = [_Runner(job, stop) for job in jobs]
    for runner in runners:
        runner.start()
    while any(runner.is_alive() for runner in runners) and not stop.wait(_WATCH_S):
        pass
    # One common deadline: all cameras were asked to stop at the same moment.
    deadline_s = time.monotonic() + grace_s
    for runner in runners:
        runner.join(max(0.0, deadline_s - time.monotonic()))
    return [runner.report() for runner in runners]

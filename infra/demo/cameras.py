"""Cameras of a demo run: the images that they show, and a trigger for the gate at each capture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from producers.camera import Camera, Capture, opened
from producers.cameras.dataset import ElpvCamera
from producers.cameras.disturbed import Disturbance, DisturbedCamera
from producers.cameras.folder import FolderCamera
from schemas.clock import Clock


class TriggeredCamera:
    """Camera with a simulated light barrier: it numbers the parts and sends the gate a trigger at each capture.

    Parameters
    ----------
    camera
        Camera that supplies the captures.
    name
        First part of the part ids.
    before
        Callback before each capture. It waits while enough frames are in flight, and returns False to end the run.
    on_trigger
        Callback that gets the part id and the capture time (UTC microseconds).
    """

    def __init__(
        self,
        camera: Camera,
        name: str,
        clock: Clock,
        *,
        before: Callable[[], bool],
        on_trigger: Callable[[str, int], None],
    ) -> None:
        self._camera = camera
        self._name = name
        self._clock = clock
        self._before = before
        self._on_trigger = on_trigger

    def __iter__(self) -> Iterator[Capture]:
        with opened(self._camera) as camera:
            for number, capture in enumerate(camera):
                if not self._before():
                    return
                part_id, now_us = f"{self._name}-{number:06d}", self._clock.utc_us()
                self._on_trigger(part_id, now_us)
                yield replace(capture, part_id=part_id, captured_at_us=now_us)


def solar_cells(cameras: int) -> list[Camera]:
    """Return cameras that share the test images of the solar-cell data set; after the last image they start again."""
    return [ElpvCamera(split="test", seed=1, camera=index, cameras=cameras, loop=True) for index in range(cameras)]


def disturbed_camera(what: Disturbance, camera: Camera, captures: int) -> Camera:
    """Return a camera with a disturbance that begins half way through its captures.

    A change of product is real: polycrystalline cells follow monocrystalline ones, but the product attribute stays the
    same.
    """
    if what is not Disturbance.PRODUCT_CHANGE:
        return DisturbedCamera(camera, what, captures // 2)
    mono, poly = (_Product(ElpvCamera(seed=1, loop=True, cell_type=kind), "mono") for kind in ("mono", "poly"))
    return DisturbedCamera(mono, what, captures // 2, poly)


class _Product:
    """Camera whose captures all carry the same product attribute."""

    def __init__(self, camera: Camera, product: str) -> None:
        self._camera = camera
        self._product = product

    def __iter__(self) -> Iterator[Capture]:
        for capture in self._camera:
            yield replace(capture, attributes={**capture.attributes, "product": self._product})


def folder_images(folder: Path, cameras: int, *, loop: bool) -> tuple[list[Camera], int]:
    """Return cameras that share the images of a folder and its sub-folders, and the number of images.

    Raises
    ------
    PluginError
        If there is no such folder, or no image in it.
    """
    with opened(FolderCamera(folder, recursive=True)) as all_of_it:
        captures = sum(1 for _ in all_of_it)
    return [
        _Share(FolderCamera(folder, loop=loop, recursive=True), index, cameras) for index in range(cameras)
    ], captures


class _Share:
    """Camera that shows every n-th capture of another camera."""

    def __init__(self, camera: Camera, index: int, of: int) -> None:
        self._camera = camera
        self._index = index
        self._of = of

    def __iter__(self) -> Iterator[Capture]:
        with opened(self._camera) as camera:
            for number, capture in enumerate(camera):
                if number % self._of == self._index:
                    yield capture


def share_out(total: int, parts: int) -> Sequence[int]:
    """Split a number into parts that differ by at most 1.

    Examples
    --------
    >>> share_out(7, 3)
    [3, 2, 2]
    """
    return [total // parts + (index < total % parts) for index in range(parts)]

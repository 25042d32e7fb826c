"""One contract for every built-in camera, then what is particular to each."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from models.opencv import cv2
from producers.camera import Camera, Capture, opened
from producers.cameras.folder import FolderCamera
from producers.cameras.opencv import OpenCvCamera
from producers.cameras.synthetic import SyntheticCamera
from producers.plugins import load_camera
from producers.testing import check_camera
from schemas.errors import PluginError
from schemas.topics import FRAMES, MAX_STORED_BYTES
from transport.bounded_call import call_in_thread

IMAGE = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, suffix in enumerate((".png", ".jpg", ".bmp", ".tif", ".JPEG")):
        _, data = cv2.imencode(suffix, IMAGE[: 10 + index])
        (tmp_path / f"{index}{suffix}").write_bytes(data.tobytes())
    return tmp_path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for level in range(5):
        writer.write(np.full_like(IMAGE, level * 40))
    writer.release()
    return path


@pytest.fixture(params=["folder", "video", "elpv", "synthetic"])
def make(request: pytest.FixtureRequest, folder: Path, video: Path) -> Callable[[], Camera]:
    spec, options = {
        "folder": (f"folder:{folder}", {}),
        "video": (f"video:{video}", {}),
        "elpv": ("elpv", {"camera": "1", "cameras": "200"}),
        "synthetic": ("synthetic", {"seed": "3", "count": "4"}),
    }[request.param]
    return lambda: load_camera(spec, options)


def captures_of(camera: Camera) -> list[Capture]:
    with opened(camera):
        return list(camera)


def content(capture: Capture) -> tuple[bytes | None, dict[str, str]]:
    return (capture.encoded if capture.image is None else capture.image.tobytes()), capture.attributes


def test_contract(make: Callable[[], Camera]) -> None:
    check_camera(make, repeats=True)
    assert len(captures_of(make())) >= 3


def test_contract_opens_again_after_close(make: Callable[[], Camera]) -> None:
    camera = make()
    first = [content(c) for c in captures_of(camera)]
    assert [content(c) for c in captures_of(camera)] == first


def test_folder_gives_damaged_files_as_they_are(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "5.png").write_bytes(b"damaged")
    (folder / "6.jpg").write_bytes(b"")
    (folder / "7.png").symlink_to(folder / "gone.png")
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    os.mkfifo(folder / "8.png")
    with caplog.at_level(logging.WARNING):
        captures = captures_of(FolderCamera(folder))
    assert [c.attributes["file"][0] for c in captures] == list("01234567")
    assert [c.encoded for c in captures[5:]] == [b"damaged", b"", b""]
    assert "skipped 1 file that is no image by the suffix, such as notes.txt" in caplog.text
    assert "cannot read" in caplog.text


def test_folder_gives_a_file_that_is_too_large_for_the_topic_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes by reference, and a cut image would be refused as damaged."""
    for name, size in (("1.bmp", FRAMES.max_message_bytes + 100), ("2.bmp", MAX_STORED_BYTES + 1)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    sizes = [len(capture.encoded or b"") for capture in captures_of(FolderCamera(tmp_path))]
    assert sizes == [FRAMES.max_message_bytes + 100, 0]
    assert "more than 256 MiB" in caplog.text


def test_folder_loops_and_goes_deep(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "9.png").write_bytes(b"x")
    assert len(captures_of(FolderCamera(folder))) == 5
    with opened(FolderCamera(folder, loop=True, recursive=True)) as camera:
        names = [c.attributes["file"] for c in islice(camera, 12)]
    assert names[5] == "sub/9.png"
    assert names[:6] == names[6:]


def test_folder_missing_or_empty(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none", "no folder"), (tmp_path, "no PNG, JPEG")):
        with pytest.raises(PluginError, match=message):
            captures_of(FolderCamera(path))


def test_a_folder_whose_sub_folders_have_the_images_names_one(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "1.png").write_bytes(b"x")
    with pytest.raises(PluginError, match=r"in its sub-folders: name one, such as .*good$"):
        captures_of(FolderCamera(tmp_path))


def test_video_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video", encoding="utf-8")
    for source, message in (
        (str(tmp_path / "none.mp4"), "no video file"),
        (str(tmp_path / "text.mp4"), "cannot open camera"),
        ("usb:first", "number or the path of a USB camera"),
        ("usb:77", "cannot open camera 'usb:77'"),
    ):
        with pytest.raises(PluginError, match=message):
            captures_of(OpenCvCamera(source))


def test_stream_error_hides_the_password() -> None:
    for address in (
        "rtsp://operator:secret@127.0.0.1:9/stream",
        "rtsp://operator:sec/ret@127.0.0.1:9/stream",
        "rtsp://127.0.0.1:9/user=operator&password=secret&channel=1.sdp",
    ):
        camera = OpenCvCamera(address)
        with pytest.raises(PluginError) as caught:
            captures_of(camera)
        assert "sec" not in f"{caught.value} {camera.name}"
        assert "127.0.0.1:9" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("usb:SECRET", "usb:***"),
        ("usb:admin:SECRET@10.0.0.5", "usb:***"),
        ("usb:/dev/x?password=SECRET", "usb:***"),
        ("rtsp:10.0.0.5/user=a&password=SECRET", "rtsp:***"),
        ("rtsp:/10.0.0.5/SECRET", "rtsp:***"),
        ("rtsp://admin:12 SECRET@127.0.0.1:9", "rtsp://127.0.0.1:9"),
        ("usb:/dev/video0", "usb:/dev/video0"),
    ],
)
def test_a_camera_that_is_typed_wrong_shows_no_secret(source: str, shown: str) -> None:
    camera = OpenCvCamera(source)
    assert camera.name == shown
    with pytest.raises(PluginError) as caught:
        captures_of(camera)
    assert "SECRET" not in str(caught.value)


def test_usb_cameras_have_names_that_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.cameras.opencv._USB_BY_ID", tmp_path)
    (tmp_path / "usb-Acme_Cam_0042-video-index0").touch()
    with pytest.raises(PluginError, match=r"usb:/dev/v4l/by-id/none' is not there; .* has usb-Acme_Cam_0042"):
        captures_of(OpenCvCamera("usb:/dev/v4l/by-id/none"))
    with pytest.raises(PluginError, match="cannot open camera 'usb:/dev/null'"):
        captures_of(OpenCvCamera("usb:/dev/null"))


@pytest.mark.parametrize("name", ["usb:77", "usb:/dev/video77"])
def test_a_number_of_a_usb_camera_is_advised_against(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("producers.cameras.opencv._USB_BY_ID", tmp_path)
    (tmp_path / "usb-Acme_Cam_0042-video-index0").touch()
    with pytest.raises(PluginError):
        captures_of(OpenCvCamera(name))
    assert f"a stable name is usb:{tmp_path}/usb-Acme_Cam_0042-video-index0" in caplog.text


class Device:
    """Stands for cv2.VideoCapture of a live camera that gives some pictures and dies."""

    def __init__(self, pictures: int = 10) -> None:
        self.left = pictures

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, IMAGE) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.left = 0


def test_live_camera_that_stops_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenCvCamera, "_open", lambda self: Device())
    with pytest.raises(PluginError, match="stopped giving pictures"):
        captures_of(OpenCvCamera("usb:0", reopen=0))


@pytest.mark.parametrize(
    ("image", "why"),
    [(np.zeros((4, 4, 2), np.uint8), "ValueError: an image is uint8"), (cv2.error("device lost"), "stopped giving")],
)
def test_whatever_a_live_camera_does_nobody_waits_for_ever(
    image: object, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(Device):
        def read(self) -> tuple[bool, np.ndarray | None]:
            if isinstance(image, Exception):
                raise image
            return True, image  # type: ignore[return-value]

    monkeypatch.setattr(OpenCvCamera, "_open", lambda self: Odd())
    with pytest.raises(PluginError, match=why):
        call_in_thread(lambda: captures_of(OpenCvCamera("usb:0", reopen=0)), 10, "camera")


def test_a_live_camera_whose_reading_fails_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Device):
        def read(self) -> tuple[bool, np.ndarray | None]:
            raise cv2.error("device lost")

    def open_device(camera: OpenCvCamera) -> Device:
        device = devices.pop(0)
        if isinstance(device, Exception):
            raise device
        return device

    devices: list[Device | Exception] = [Failing(), cv2.error("not there yet"), Device(10**6)]
    monkeypatch.setattr(OpenCvCamera, "_open", open_device)
    monkeypatch.setattr("producers.cameras.opencv.time.sleep", lambda seconds: None)
    with opened(OpenCvCamera("usb:0")) as camera:
        assert next(iter(camera)).image is IMAGE


def test_contract_of_a_live_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Device):
        def read(self) -> tuple[bool, np.ndarray | None]:
            time.sleep(0.005)
            return super().read()

    monkeypatch.setattr(OpenCvCamera, "_open", lambda self: Endless(10_000))
    check_camera(lambda: OpenCvCamera("usb:0", reopen=0))


def test_elpv_shares_show_each_cell_once() -> None:
    shares = [captures_of(load_camera("elpv", {"camera": str(i), "cameras": "3"})) for i in range(3)]
    names = [c.attributes["name"] for share in shares for c in share]
    assert len(names) == len(set(names)) > 600
    labels = {c.attributes["label"] for share in shares for c in share}
    assert labels == {"defective", "functional"}
    assert names != sorted(names)


def test_synthetic_depends_on_the_seed_alone() -> None:
    def first(seed: int) -> list[tuple[bytes | None, dict[str, str]]]:
        return [content(c) for c in islice(SyntheticCamera(seed=seed, width=64, height=48), 5)]

    assert first(1) == first(1) != first(2)


def test_synthetic_labels_tell_what_is_seen() -> None:
    captures = captures_of(SyntheticCamera(defect_rate=0.5, count=40))
    bright = [bool((c.image > 205).sum() > 30) for c in captures if c.image is not None]
    assert bright == [c.attributes["label"] == "defective" for c in captures]
    assert 10 < sum(bright) < 30

"""Folders with hidden files and files of tools: these are never data."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
import zlib
from pathlib import Path

import pytest

from models.image_folder import list_images
from producers.camera import Capture
from producers.cameras.folder import FolderCamera
from producers.spool import find_spools
from replay.analysis.golden import load_golden
from schemas.errors import PluginError

LEFT_BY_TOOLS = [
    ".ipynb_checkpoints/a-checkpoint.png", "good/.ipynb_checkpoints/a-checkpoint.png", "good/._a.png",
    "__MACOSX/._a.png", "__MACOSX/good/a.png", "good/@eaDir/a.png/SYNO_THUMB_M.jpg", ".hidden.png", "good/.git/x.png",
    "$RECYCLE.BIN/a.png", "lost+found/a.png", "good/~$a.png", "Thumbs.db", "good/desktop.ini", "good/c.png.part",
    "good/.syncthing.c.png.tmp",
]  # fmt: skip


@pytest.mark.parametrize("name", ["lot.zip", "lot.TAR.GZ"])
def test_a_camera_of_an_archive_says_to_unpack_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(PluginError, match=f"{name}: an archive; unpack it, and name the directory with the images"):
        FolderCamera(tmp_path / name).open()


def png(grey: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([grey]) * 16) * 16
    header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    for name in ("good/a.png", "defective/b.png", *LEFT_BY_TOOLS):
        path = tmp_path / "golden" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(90) if path.name[0] not in "._" else b"\x00\x05\x16\x07Mac OS X")
    return tmp_path / "golden"


def captured(camera: FolderCamera) -> list[Capture]:
    camera.open()
    return list(camera)


def test_golden_samples_are_those_that_a_person_sees(golden: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = load_golden(golden)
    assert [(sample.path.name, sample.is_defective) for sample in samples] == [("b.png", True), ("a.png", False)]
    assert [line for line in caplog.text.splitlines() if f"skipped {len(LEFT_BY_TOOLS)} files" in line]


def test_a_folder_camera_publishes_what_a_person_sees(golden: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [capture.attributes["file"] for capture in captured(FolderCamera(golden, recursive=True))]
    assert names == ["defective/b.png", "good/a.png"]
    assert f"skipped {len(LEFT_BY_TOOLS)} files that are hidden" in caplog.text
    assert [capture.attributes["file"] for capture in captured(FolderCamera(golden / "good"))] == ["a.png"]


def test_a_folder_below_a_hidden_one_is_data(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "__MACOSX"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(png(1))
    assert [path.name for path in list_images(folder).images] == ["a.png"]


def test_hidden_spools_are_none(tmp_path: Path) -> None:
    (tmp_path / "inspection").mkdir()
    for name in ("press.top.spool", "._press.top.spool"):
        (tmp_path / "inspection" / name).touch()
    assert [found.path.name for found in find_spools(tmp_path)] == ["press.top.spool"]


def test_a_file_that_is_being_copied_is_waited_for(tmp_path: Path) -> None:
    whole = png(90)
    target = tmp_path / "a.png"
    target.write_bytes(b"")

    def copy() -> None:
        with target.open("wb", buffering=0) as file:
            for at in range(0, len(whole), 16):
                file.write(whole[at : at + 16])
                time.sleep(0.05)

    thread = threading.Thread(target=copy)
    camera = FolderCamera(tmp_path)
    camera.open()
    thread.start()
    [capture] = camera
    thread.join()
    assert capture.encoded == whole


def test_old_files_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.cameras.folder.time.sleep", lambda _: pytest.fail("waited"))
    for name, age_s in (("a.png", 10), ("b.png", -3600)):  # the second: another machine's clock
        (tmp_path / name).write_bytes(png(1))
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    assert len(captured(FolderCamera(tmp_path))) == 2


def test_a_name_that_is_no_utf8_is_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"gr\xfcn.png")
    (tmp_path / "latin1").mkdir()
    (tmp_path / "latin1" / name).write_bytes(png(90))
    [capture] = captured(FolderCamera(tmp_path / "latin1"))
    assert capture.attributes == {"file": r"gr\xfcn.png"}
    assert capture.encoded == png(90)
    (tmp_path / "golden" / "good").mkdir(parents=True)
    (tmp_path / "golden" / "good" / name).write_bytes(png(90))
    [sample] = load_golden(tmp_path / "golden")
    assert sample.path.read_bytes() == png(90)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "link.png").symlink_to("a.png")
    with socket.socket(socket.AF_UNIX) as own:
        place = os.open(tmp_path, os.O_RDONLY)
        own.bind(f"/proc/self/fd/{place}/socket.png")
        os.close(place)
    found = list_images(tmp_path)
    # A link to nowhere is an image that is missing: who reads it gets an error.
    assert [path.name for path in found.images] == ["a.png", "gone.png", "link.png"]
    assert [path.name for path in found.skipped] == ["device.png", "pipe.png", "socket.png"]

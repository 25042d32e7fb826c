"""Files that a person named, or that lie in a folder: no pipe is waited for, no size is believed."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from models.errors import ModelPackageError
from models.image_folder import read_image_file
from models.manifest_file import MANIFEST_NAME, ManifestFile
from models.package import load_model
from operations.audit.edge import NoEdgeReport, read_report
from replay.analysis.golden import load_golden
from replay.past.selection import Selection
from schemas.errors import InspectionError, SettingsError
from schemas.plain_files import read_plain, real_path
from schemas.topics import MAX_STORED_BYTES
from tests.support.packages import MakePackage


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", tmp_path / "socket", tmp_path, Path("/dev/zero")):
            with pytest.raises(OSError, match=r"regular file|directory"):
                read_plain(path, 10)
    with pytest.raises(OSError, match="null"):
        read_plain(tmp_path / "a\0b", 10)


def test_a_pipe_of_a_shell_is_read_up_to_the_limit(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for size, most in ((20, 20), (21, 20)):
        writer = threading.Thread(target=pipe.write_bytes, args=(bytes(size),))
        writer.start()
        try:
            if size <= most:
                assert read_plain(pipe, most, regular=False) == bytes(size)
            else:
                with pytest.raises(OSError, match="more than 20 bytes"):
                    read_plain(pipe, most, regular=False)
        finally:
            writer.join()
    with pytest.raises(OSError, match="regular file"):
        read_plain(Path("/dev/zero"), 10, regular=False)


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "a.png"
    with large.open("wb") as file:
        file.truncate(MAX_STORED_BYTES + 1)
    with pytest.raises(OSError, match="256 MiB") as caught:
        read_image_file(large)
    assert caught.value.errno == errno.EINVAL


def test_links_in_a_circle_are_one_line(tmp_path: Path, make_package: MakePackage) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to("circle")
    assert real_path(circle) == circle
    package = make_package()
    (package / "model.onnx").unlink()
    (package / "model.onnx").symlink_to("model.onnx")
    with pytest.raises(ModelPackageError, match="symbolic links"):
        load_model(package)


def test_files_that_options_and_packages_name_are_bounded(tmp_path: Path) -> None:
    """A sparse file of 8 GiB stands for one that ends the process."""
    os.mkfifo(tmp_path / MANIFEST_NAME)
    with pytest.raises(ModelPackageError, match="no regular file"):
        ManifestFile.read(tmp_path / MANIFEST_NAME)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(8 * 2**30)
    for read, refused in ((Selection.load, SettingsError), (read_report, NoEdgeReport), (load_golden, SettingsError)):
        with pytest.raises(refused, match="more than 64 MiB") as caught:
            read(large)
        assert isinstance(caught.value, InspectionError)

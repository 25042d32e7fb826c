"""Files that arguments name: folders, patterns, links, repetitions."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from models.image_folder import list_images, walk_files
from replay.predict.listing import ListingCounts, list_files
from schemas.errors import SettingsError

NAMES = ("b.png", "a/c.JPG", "a/d.txt", "a.png", "e.png/f.bmp", ".h.png", ".git/x.png", "z/Thumbs.db", "z/y/x.tif")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return Path("images")


def listed(*arguments: str) -> tuple[list[str], ListingCounts]:
    counts = ListingCounts()
    return [path.as_posix() for path in list_files(arguments, counts)], counts


def test_a_folder_is_listed_as_a_person_reads_it(folder: Path) -> None:
    found, counts = listed("images")
    assert found == [f"images/{name}" for name in ("a/c.JPG", "a.png", "b.png", "e.png/f.bmp", "z/y/x.tif")]
    assert (counts.others, counts.skipped, counts.repeated, counts.unlisted) == (1, 3, 0, 0)
    assert found == [path.as_posix() for path in list_images(folder).images]
    assert list(list_images(folder).images) == sorted(list_images(folder).images)


def test_named_files_are_taken_as_they_are(folder: Path) -> None:
    assert listed("images/a/d.txt", "images/.h.png")[0] == ["images/a/d.txt", "images/.h.png"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("images/*.png", ["images/a.png", "images/b.png", "images/e.png/f.bmp"]),
        ("images/**/*.tif", ["images/z/y/x.tif"]),
        ("images/[ab].png", ["images/a.png", "images/b.png"]),
    ],
)
def test_patterns(pattern: str, names: list[str], folder: Path) -> None:
    assert listed(pattern)[0] == names


def test_no_file_is_listed_twice(folder: Path) -> None:
    found, counts = listed("images", "images/a.png", "./images/../images/a", "images/*.png")
    assert len(found) == len(set(found)) == 5
    assert counts.repeated == 5


def test_a_name_with_the_characters_of_a_pattern_is_that_file(folder: Path) -> None:
    Path("images/[ab].png").touch()
    assert listed("images/[ab].png")[0] == ["images/[ab].png"]


@pytest.mark.parametrize("argument", ["nowhere", "nowhere/*.png", "images/*.gif", ""])
def test_an_argument_that_names_nothing_is_refused(argument: str, folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"no such file|no file matches"):
        listed(argument)


def test_links_to_files_are_read_and_links_to_folders_are_not(folder: Path) -> None:
    Path("images/link.png").symlink_to("a.png")
    Path("images/lost.png").symlink_to("nowhere")
    Path("images/loop").symlink_to(".")
    Path("images/self.png").symlink_to("self.png")
    os.mkfifo("images/pipe.png")
    found, counts = listed("images")
    assert [name for name in found if name.startswith(("images/l", "images/s", "images/p"))] == [
        "images/link.png", "images/lost.png", "images/self.png",
    ]  # fmt: skip
    assert len(found) == 8
    assert counts.skipped == 5


def test_a_folder_with_nothing_but_a_link_to_a_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "lot1").symlink_to(tmp_path / "real")
    found, counts = listed(str(tmp_path / "links"))
    assert found == []
    [line] = counts.lines()
    assert "a link to a folder" in line
    assert "lot1" in line


def test_a_tree_deeper_than_the_stack_is_listed(tmp_path: Path) -> None:
    """A walk that calls itself for each folder would end there."""
    for _ in range(300):
        tmp_path = tmp_path / "d"
    tmp_path.mkdir(parents=True)
    (tmp_path / "a.png").touch()
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(_depth() + 100)
    try:
        found = [path for path, _ in walk_files(tmp_path.parents[299])]
    finally:
        sys.setrecursionlimit(before)
    assert found == [tmp_path / "a.png"]


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    return depth


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_reported(folder: Path) -> None:
    Path("images/z").chmod(0)
    try:
        found, counts = listed("images")
    finally:
        Path("images/z").chmod(0o700)
    assert (len(found), counts.unlisted) == (4, 1)
    assert counts.lines()[-1] == "images/z cannot be listed: check the permissions"


def test_a_folder_that_vanishes_is_reported(folder: Path) -> None:
    walk = walk_files(folder)
    assert next(walk)[0].name == "x.png"
    for name in ("z/y/x.tif", "z/Thumbs.db"):
        (folder / name).unlink()
    (folder / "z" / "y").rmdir()
    (folder / "z").rmdir()
    assert [path.name for path, kind in walk if kind == "unlisted"] == ["z"]


@pytest.mark.parametrize("name", ["lot.zip", "lot.tar.gz"])
def test_an_archive_is_to_be_unpacked(name: str, folder: Path) -> None:
    (folder / name).touch()
    with pytest.raises(SettingsError, match=f"^images/{name}: an archive; unpack it, and name the directory"):
        listed(f"images/{name}")
    # Beside images it is a file that is no image.
    assert listed("images")[1].others == 2

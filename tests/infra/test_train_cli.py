"""`inspection train` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from click.testing import Result
from typer.testing import CliRunner

from infra.cli.root import app
from models import load_model
from schemas.errors import SettingsError
from tests.support.parts import good_part


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_a_folder_becomes_a_package(tmp_path: Path) -> None:
    images, out = tmp_path / "good", tmp_path / "model"
    images.mkdir()
    for number in range(24):
        cv2.imwrite(str(images / f"{number}.png"), good_part(number))
    (images / "broken.png").write_bytes(b"no image")
    done = run("--images", images, "--out", out, "--time-budget", "1", "--json")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert (figures["good_images"], figures["overkill_asked"]) == (24, 0.02)
    assert all(isinstance(warning, str) for warning in figures["warnings"])
    assert any(line.startswith("left out broken.png: ") for line in figures["survey"])
    assert load_model(out).name == "model"


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda folder: None, "no such directory"),
        (lambda folder: folder.write_bytes(b"GIF89a"), "images: a file, not a directory"),
        (lambda folder: folder.mkdir(), "has no images"),
        (lambda folder: (folder.mkdir(), (folder / "a.png").write_bytes(b"no image")), "0 different images"),
    ],
)
def test_a_folder_without_images_ends_in_one_line(make, line: str, tmp_path: Path) -> None:
    make(tmp_path / "images")
    done = run("--images", tmp_path / "images", "--out", tmp_path / "model")
    assert isinstance(done.exception, SettingsError)
    assert line in str(done.exception)


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "lot 7.ZIP"
    archive.write_bytes(b"PK")
    done = run("--images", archive, "--out", tmp_path / "model")
    assert str(done.exception) == (f"--images {archive}: an archive; unpack it, and name the directory with the images")


def test_a_package_that_cannot_be_written_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file")
    done = run("--images", tmp_path, "--out", tmp_path / "model")
    assert "not a directory" in str(done.exception)


def test_a_package_is_not_replaced_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.yaml").write_text("name: of another day")
    done = run("--images", tmp_path, "--out", tmp_path / "model")
    assert "--overwrite" in str(done.exception)
    assert (tmp_path / "model" / "manifest.yaml").read_text() == "name: of another day"


@pytest.mark.parametrize("roi", ["1,2,3", "0,0,0,10", "0,0 9,9", "here"])
def test_a_region_that_is_none_ends_in_one_line(roi: str, tmp_path: Path) -> None:
    done = run("--images", tmp_path, "--out", tmp_path / "model", "--roi", roi)
    assert isinstance(done.exception, SettingsError)
    assert str(done.exception).startswith(f"--roi {roi!r}: ")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--tiles", "0x0"), "--tiles '0x0': "),
        (("--tiles", "2x2", "--tile-overlap", "1"), "--tile-overlap 1: "),
        (("--tile-overlap", "0.1"), "--tile-overlap is for --tiles"),
        (("--bit-depth", "17"), "--bit-depth 17: "),
        (("--window", "9,1"), "--window 9,1: "),
    ],
)
def test_tiles_and_samples_that_do_not_fit_end_in_one_line(options: tuple[str, ...], line: str, tmp_path: Path) -> None:
    done = run("--images", tmp_path, "--out", tmp_path / "model", *options)
    assert isinstance(done.exception, SettingsError)
    assert line in str(done.exception)

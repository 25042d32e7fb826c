"""Folders of a training: which parts are good is never guessed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training.survey import Survey, TrainingFolder, sampled
from schemas.errors import SettingsError


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize(
    ("names", "good", "wanted", "defects"),
    [
        (["a.png", "b.png"], (), 2, {}),
        (["lot1/a.png"], (), 1, {}),
        (["good/a.png", "crack/b.png", "crack/deep/c.png", "hole/d.png"], (), 1, {"crack": 2, "hole": 1}),
        (["Nominal/a.png", "PASS/b.png", "bad/c.png"], (), 2, {"bad": 1}),
        (["fine/a.png", "fine too/b.png", "ok/c.png"], ("fine", "fine too"), 2, {"ok": 1}),
        (["a/a.png", "b/b.png", "c.png"], (".",), 3, {}),
        (["all/good/a.png", "all/crack/b.png"], (".",), 2, {}),
        (["train/good/a.png", "train/good/b.png"], (), 2, {}),
        (["lot1/good/a.png", "lot2/ok/b.png"], (".",), 2, {}),
        (["lot1/good/a.png", "lot2/ok/b.png"], (), 2, {}),
        (["week 7/lot1/a.png", "week 7/lot1/b.png"], (), 2, {}),
        (["week 7/fine/a.png", "week 7/torn/b.png"], (".",), 2, {}),
        (["train/good/lot1/a.png", "train/good/lot2/b.png"], (), 2, {}),
        (["good/lot1/ok/a.png", "good/lot2/b.png", "crack/c.png"], (), 2, {"crack": 1}),
        (["train/good/a.png", "stains/crack/b.png"], ("train",), 1, {"stains": 1}),
        (["train/good/a.png", "masks/crack/b.png"], ("train",), 1, {}),
        (["good/a.png", "crack/b.png", "ground_truth/crack/b.png", "crack/Masks/b.png"], (), 1, {"crack": 1}),
        (["masks/a.png", "masks/b.png", "torn/c.png"], ("masks",), 2, {"torn": 1}),
        (["a.png", "ground_truth/a.png"], (), 1, {}),
        (["masks/a.png", "masks/b.png"], (), 2, {}),
    ],
)
def test_folders(names: list[str], good: tuple[str, ...], wanted: int, defects: dict[str, int], tmp_path: Path) -> None:
    folder = TrainingFolder.read(make(tmp_path / "parts", *names), good)
    assert len(folder.good) == wanted
    assert {kind: len(paths) for kind, paths in folder.defects.items()} == defects


def test_masks_are_named(tmp_path: Path) -> None:
    names = ("good/a.png", "crack/b.png", "ground_truth/crack/b.png", "ground_truth/crack/c.png", "crack/gt/b.png")
    folder = TrainingFolder.read(make(tmp_path, *names))
    assert list(folder.notes) == [
        "3 images are left out, as masks of defects by the name of the folder: ground_truth, gt"
    ]


def picture(path: Path, *, is_mask: bool) -> None:
    """Write a photo, or a mask: black with a white square."""
    pixels = np.zeros((40, 30), np.uint8) if is_mask else np.arange(1200).reshape(40, 30).astype(np.uint8)
    pixels[5:9, 5:9] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.mark.parametrize(
    ("photo", "mask"),
    [("7.jpg", "7.png"), ("7.PNG", "7_mask.png"), ("7.png", "7_GT.png"), ("Part0.jpg", "Part0_label.bmp")],
)
def test_masks_beside_their_images_are_no_parts(photo: str, mask: str, tmp_path: Path) -> None:
    for name in ("good/imgs", "crack"):
        picture(tmp_path / name / photo, is_mask=False)
        picture(tmp_path / name / mask, is_mask=True)
    folder = TrainingFolder.read(tmp_path)
    assert (folder.good, folder.defects) == (
        (tmp_path / "good/imgs" / photo,),
        {"crack": (tmp_path / "crack" / photo,)},
    )
    [note] = folder.notes
    assert note.startswith("2 images are left out, as masks of defects with the name of the image beside them")
    assert note.endswith(f"such as crack/{mask}")


@pytest.mark.parametrize(
    ("names", "are_masks"),
    [
        (("a.png", "a.bmp"), (True, True)),  # outlines of parts, saved twice
        (("a.png", "a_label.png"), (False, False)),  # a bottle, and its label
        (("a.png", "b_mask.png"), (False, True)),
        (("1.png", "2.png"), (False, True)),
    ],
)
def test_other_pictures_with_two_values_or_such_names_are_parts(
    names: tuple[str, ...], are_masks: tuple[bool, ...], tmp_path: Path
) -> None:
    for name, is_mask in zip(names, are_masks, strict=True):
        picture(tmp_path / name, is_mask=is_mask)
    folder = TrainingFolder.read(tmp_path)
    assert {path.name for path in folder.good} == set(names)
    assert not folder.notes


def test_lots_of_a_folder_of_good_parts_are_good(tmp_path: Path) -> None:
    folder = TrainingFolder.read(make(tmp_path / "Good", "lot1/a.png", "lot2/b.png", "lot3/c.png"))
    assert (len(folder.good), folder.defects) == (3, {})


@pytest.mark.parametrize(
    ("names", "good", "line"),
    [
        (["fine/a.png", "scratch/b.png"], (), r"has the folders fine, scratch: .* --good NAME, .* --good \."),
        (["a.png", "scratch/b.png"], (), "has the folders scratch and images beside them"),
        ([f"{number}/a.png" for number in range(9)], (), r"has the folders 0, 1, 2, 3, 4 \.\.\.:"),
        (
            ["week 7/fine/a.png", "week 7/torn/b.png"],
            (),
            r"parts/week 7 has the folders fine, torn: state --images '.*/parts/week 7' and name .* --good NAME, or",
        ),
        (
            ["a/b/fine/a.png", "a/b/torn/deep/b.png"],
            (),
            "parts/a/b has the folders fine, torn: .*--images .*/parts/a/b ",
        ),
        (["week/a.png", "week/torn/b.png"], (), "parts/week has the folders torn and images beside them: state"),
        (["OK_0.png", "OK_1.png", "NOK_0.png", "7.png"], (), r"names begin with NOK, OK: .* a folder ok .* --good \."),
        (["week/good-1.png", "week/crack 1.png"], (), "parts/week has files whose names begin with crack, good:"),
        (["fine/a.png", "scratch/b.png"], ("god",), "--good god: .* it has fine, scratch"),
        (["a.png"], ("good",), "it has no folder of images"),
        (
            ["all/good/a.png", "all/crack/b.png"],
            (),
            "all/good has the name of good parts, .*, --images .*/parts/all, or",
        ),
        (["a b/c/Good/a.png", "a b/c/crack/b.png"], (), "--images '.*/parts/a b/c', or rename"),
        (
            ["train/good/a.png", "test/good/b.png", "test/crack/c.png"],
            (),
            "--images .*/parts/test or --images .*/train,",
        ),
        (["train/good/a.png", "test/good/b.png", "test/crack/c.png"], ("train",), "test/good has the name of good"),
        (["train/good/a.png", "train/crack/b.png", "hole/c.png"], ("train",), "train/good has the name of good"),
        (["good/a.png", "test/good/b.png"], (), "test/good has the name of good"),
    ],
)
def test_what_is_not_clear_is_asked(names: list[str], good: tuple[str, ...], line: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=line):
        TrainingFolder.read(make(tmp_path / "parts", *names), good)


@pytest.mark.parametrize(
    ("names", "good"),
    [
        (["OK_0.png", "ok 1.png", "7.png"], ()),
        (["OK_0.png", "NOK_0.png"], (".",)),
        (["good/OK_0.png", "good/retake.png"], ()),
        (["fine.png", "crack.png"], ()),
    ],
)
def test_names_of_files_that_say_nothing_against_good_parts(
    names: list[str], good: tuple[str, ...], tmp_path: Path
) -> None:
    assert len(TrainingFolder.read(make(tmp_path / "parts", *names), good).good) == len(names)


def test_an_empty_folder_of_good_parts_is_not_replaced_by_another(tmp_path: Path) -> None:
    make(tmp_path / "parts", "crack/a.png")
    (tmp_path / "parts" / "OK").mkdir()
    with pytest.raises(SettingsError, match="OK has no images"):
        TrainingFolder.read(tmp_path / "parts")


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["d1/fine/a.png", "d1/torn/b.png", "d2/fine/c.png", "d2/torn/d.png"], "d1, d2, and several of them have fine"),
        (["d1/fine/a.png", "d2/fine/c.png", "d2/torn/d.png", "d3/torn/e.png"], "put all good parts into one folder"),
        (["x/d1/fine/a.png", "x/d1/torn/b.png", "x/d2/fine/c.png", "x/d2/torn/d.png"], "x has the folders d1, d2, and"),
        (["d1/fine/a.png", "d2/torn/d.png"], "name those of good parts with --good NAME"),
        (["fine/d1/a.png", "torn/d1/d.png"], "name those of good parts with --good NAME"),
    ],
)
def test_of_days_that_have_good_and_bad_parts_none_is_to_be_named(names: list[str], line: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        TrainingFolder.read(make(tmp_path / "parts", *names))
    assert line in str(refused.value)
    assert ("--good NAME" in str(refused.value)) == ("--good NAME" in line)


def test_images_beside_the_folders_are_counted(tmp_path: Path) -> None:
    folder = TrainingFolder.read(make(tmp_path / "parts", "good/a.png", "b.png"))
    assert (len(folder.good), folder.loose) == (1, 1)


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    root = make(tmp_path / "parts", "good/a.png", "crack/b.webp", "hole/c.heic", "hole/._d.png")
    make(tmp_path / "elsewhere", "e.png")
    (root / "dent").symlink_to(tmp_path / "elsewhere")
    folder = TrainingFolder.read(root)
    lines = Survey(len(folder.good), notes=folder.notes).lines(root)
    assert "skipped 2 files that are no images by the suffix, such as b.webp" in lines
    assert any(line.startswith("skipped 2 files that are hidden") and line.endswith(": dent") for line in lines)


def test_a_link_to_the_folder_of_good_parts_is_named(tmp_path: Path) -> None:
    root = make(tmp_path / "parts", "crack/a.png")
    make(tmp_path / "elsewhere", "b.png")
    (root / "good").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="parts/good is a link to a folder, which is not followed"):
        TrainingFolder.read(root)


def test_numbers_and_nouns_agree(tmp_path: Path) -> None:
    one, two = (Survey(5, repeated=count, alike=count, loose=count, in_both=count) for count in (1, 2))
    assert [line for line in one.lines(tmp_path) if line.startswith("1 ")] == [
        "1 file is an exact copy of another and was left out",
        "1 defective image is also good and was left out",
        "1 image beside the folders was left out",
        "1 image is nearly the same as the one before: few different parts, or a still line",
    ]
    assert sum("2 files are" in line or "2 images" in line for line in two.lines(tmp_path)) == 3


def test_a_large_folder_is_sampled() -> None:
    chosen = sampled(range(100_000))
    assert (len(chosen), chosen[0], chosen[-1]) == (2000, 0, 99_950)


def test_days_with_good_and_bad_parts_each_are_not_trained_on_alone(tmp_path: Path) -> None:
    make(tmp_path, "d1/OK/a.png", "d1/NG/b.png", "d2/OK/c.png", "d2/NG/d.png")
    with pytest.raises(SettingsError, match=r"in each of d1, d2: if .* --images .*d1; if .* put all good parts into"):
        TrainingFolder.read(tmp_path)

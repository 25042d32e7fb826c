"""`inspection model init`, `check`, `show` and `list` as a user runs them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from infra.cli.root import app
from models import default_model_path, load_model
from models.errors import ModelPackageError
from schemas.errors import SettingsError
from tests.support.linear_models import linear_model, scored
from tests.support.packages import MakePackage, encoded, mean_classifier, scene

ANSWERS = (
    "--labels", "defect", "--activation", "sigmoid", "--threshold", "0.5", "--provenance", "a test",
    "--licence", "ours", "--scale", "1", "--size", "8x8",
)  # fmt: skip


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["model", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(mean_classifier())
    return path


def test_init_makes_a_package_that_loads(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "my_model"
    done = run("init", file, "--out", out, *ANSWERS, "--layout", "nchw", "--colour", "Grey")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].endswith(f"next: inspection model check {out} --images DIR")
    model = load_model(out)
    assert (model.name, model.manifest.training.licence) == ("my_model", "ours")
    assert run("check", out).exit_code == 0


def test_a_region_of_interest_is_stated_and_shown(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "my_model"
    done = run("init", file, "--out", out, *ANSWERS, "--roi", "40,20,16,32", "--tiles", "2x3", "--tile-overlap", "0.1")
    assert done.exit_code == 0, done.output
    shown = run("show", out).stdout
    assert "16x32 pixels at 40,20" in shown
    assert "samples" not in shown
    assert "2x3 tiles, overlap 0.1; the worst one decides" in shown
    assert run("check", out).exit_code == 0
    raw = ("--bit-depth", "12", "--alignment", "low", "--window", "0,4000", "--bayer", "rggb")
    assert run("init", file, "--out", tmp_path / "raw", *ANSWERS, *raw).exit_code == 0
    assert "bit_depth 12, alignment low, window [0, 4000], bayer RGGB" in run("show", tmp_path / "raw").stdout
    refused = run("init", file, "--out", tmp_path / "other", *ANSWERS, "--roi", "0,0 9,9")
    assert "--roi '0,0 9,9': " in str(refused.exception)
    for options, line in (
        (("--tiles", "0x0"), "--tiles '0x0': "),
        (("--tiles", "2x2", "--tile-overlap", "1"), "--tile-overlap 1: "),
        (("--tile-overlap", "0.1"), "--tile-overlap is for --tiles"),
        (("--bit-depth", "12.5"), "--bit-depth '12.5': a whole number from 9 to 16"),
        (("--alignment", "low"), "--alignment low: an alignment needs the bit_depth"),
        (("--tiles", "99x1", "--roi", "0,0,9,9"), "a grid of 99x1 tiles does not fit 9x9 pixels"),
    ):
        assert line in str(run("init", file, "--out", tmp_path / "other", *ANSWERS, *options).exception)


#: Outputs of the graph, options, and the line of `show`.
OUTPUTS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "rows": (
        {"r": scored([[2, 2, 6, 6, 0, 1]], [[0, 0, 0, 0, 1, 0]])},
        (
            "--labels", "dent", "--task", "detection", "--output", "detections=r", "--box", "yxyx", "--coordinates",
            "pixels", "--first-class", "1", "--suppression", "all_labels",
        ),
        "yxyx, pixels, from score 0.25, suppression all_labels, IoU 0.5, class 0 is the background",
    ),
    "class map": (
        {"m": scored(np.zeros((1, 8, 8)), np.ones((1, 8, 8)), "int64")},
        ("--labels", "background,dent", "--min-area", "12"), "from 12 pixels of the frame",
    ),
    "finished score": (
        {"s": scored([0], [9])}, ("--labels", "anomaly", "--map-range", "0,9"), "finished score, 0 to 9",
    ),
    "labels at the same time": (
        {"p": scored([[0, 0]], [[0.5, 0.2]])},
        (
            "--labels", "dent,stain", "--good-label", "", "--activation", "none", "--label-thresholds",
            "dent=0.3,stain=0.7",
        ),
        "of each label: dent 0.3, stain 0.7; they count as 0.5",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("outputs", "options", "line"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_forms_of_outputs_are_stated_shown_and_checked(
    outputs: dict[str, Any], options: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    file, out = tmp_path / "net.onnx", tmp_path / "my_model"
    file.write_bytes(linear_model(outputs))
    done = run("init", file, "--out", out, *ANSWERS[4:], *options)
    assert done.exit_code == 0, done.exception
    assert line in run("show", out).stdout
    assert run("check", out).exit_code == 0


def test_init_names_each_missing_fact_with_its_option(file: Path, tmp_path: Path) -> None:
    done = run("init", file, "--out", tmp_path / "my_model")
    assert isinstance(done.exception, SettingsError)
    first, *lines = str(done.exception).splitlines()
    assert first.startswith(f"{file}: ")
    assert [line.partition(":")[0] for line in lines] == [
        "--scale", "--threshold", "--labels", "--activation", "--provenance", "--licence",
    ]  # fmt: skip
    assert not (tmp_path / "my_model").exists()


def test_init_asks_on_a_terminal(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "my_model"
    code = "from infra.cli.root import main; main()"
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, "model", "init", str(file), "--out", str(out), *ANSWERS[2:]],
        stdin=follower, stdout=subprocess.PIPE, stderr=follower, text=True,
    )  # fmt: skip
    os.close(follower)
    os.write(leader, b"defect\n")
    stdout, _ = process.communicate(timeout=60)
    os.close(leader)
    assert process.returncode == 0
    assert "next: inspection model check" in stdout
    assert load_model(out).manifest.labels == ("defect",)


def test_init_replaces_nothing(file: Path, tmp_path: Path) -> None:
    for name in ("full", "file"):
        path = tmp_path / name
        if name == "full":
            path.mkdir()
            (path / "precious").touch()
        else:
            path.touch()
        done = run("init", file, "--out", path, *ANSWERS)
        assert isinstance(done.exception, SettingsError)
        assert "exists and is not empty" in str(done.exception)


@pytest.mark.parametrize(
    ("content", "line"), [(None, "no such file"), (b"", "not an ONNX model"), (b"\x1b[2Jgarbage", "not an ONNX model")]
)
def test_init_refuses_garbage_in_one_line(content: bytes | None, line: str, tmp_path: Path) -> None:
    path = tmp_path / "garbage.onnx"
    if content is not None:
        path.write_bytes(content)
    done = run("init", path, "--out", tmp_path / "out")
    assert isinstance(done.exception, SettingsError | ModelPackageError)
    assert line in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_init_says_if_the_package_does_not_load(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "my_model"
    done = run("init", file, "--out", out, *ANSWERS[:2], "--activation", "softmax", *ANSWERS[4:])
    assert isinstance(done.exception, ModelPackageError)
    assert "is written, but does not load" in str(done.exception)
    assert f"then: inspection model check {out}" in str(done.exception)
    checked = run("check", out)
    assert checked.exit_code == 1
    assert "ERROR" in checked.stdout


def test_check_with_images_as_json(make_package: MakePackage, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):
        (images / f"{number}.png").write_bytes(encoded(scene(40, 40, seed=number)))
    (images / "broken.png").write_bytes(b"x")
    done = run("check", make_package(), "--images", images, "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert found["ok"]
    assert found["failures"] == {"unreadable-image": 1}
    assert sum(found["verdicts"].values()) == 5
    assert found["timing"]["p50_ms"] > 0
    assert {check["outcome"] for check in found["checks"]} == {"ok", "warning"}


def test_check_of_nothing(tmp_path: Path) -> None:
    done = run("check", tmp_path)
    assert done.exit_code == 1
    assert "ERROR   manifest: " in done.stdout
    (tmp_path / "empty").mkdir()
    (tmp_path / "lot.zip").touch()
    for images, line in (
        ("nowhere", "no such directory"), ("empty", "no image in it"), ("lot.zip", "an archive; unpack it"),
    ):  # fmt: skip
        done = run("check", default_model_path(), "--images", tmp_path / images)
        assert line in str(done.exception)


def test_show(make_package: MakePackage, tmp_path: Path) -> None:
    done = run("show", default_model_path())
    assert "elpv-cells 1.0.0" in done.stdout
    assert json.loads(run("show", default_model_path(), "--json").stdout)["recipe_revision"] == "1-44936f85"
    assert isinstance(run("show", tmp_path).exception, ModelPackageError)
    hostile = make_package(labels=["\x1b[2J\nERROR"])
    shown = run("show", hostile).stdout
    assert "\x1b" not in shown
    assert not [line for line in shown.splitlines() if line.startswith("ERROR")]


def test_list(make_package: MakePackage, tmp_path: Path) -> None:
    package = make_package()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.yaml").write_text("name: [")
    lines = run("list", tmp_path).stdout.splitlines()
    assert len(lines) == 5
    assert "elpv-cells 1.0.0, classification, 224x224 grey, threshold 0.5, 3.8 MB" in lines[0]
    assert lines[3].startswith(f"{tmp_path / 'broken'}: cannot be read: ")
    assert lines[4].startswith(f"{package}: tiny 1.0.0")
    assert len(json.loads(run("list", "--json").stdout)) == 3
    assert isinstance(run("list", tmp_path / "nowhere").exception, SettingsError)

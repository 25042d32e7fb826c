"""Checks of a package: everything that loading refuses is one line with a cure, and nothing raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import default_model_path
from models.package_report import PackageReport, check_package
from models.package_summary import PackageSummary, find_packages, shipped_packages, summary_lines
from tests.support.agreement import INPUT, LOGITS, TWO, described, node, scores
from tests.support.packages import MakePackage, encoded, scene


def readers(images: Iterable[bytes]) -> list[Callable[[], bytes]]:
    return [lambda image=image: image for image in images]  # type: ignore[misc]


def outcomes(report: PackageReport) -> dict[str, str]:
    return {check.name: check.outcome for check in report.checks}


def unreadable() -> bytes:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("package", sorted(shipped_packages().iterdir()), ids=lambda path: path.name)
def test_the_packages_that_ship_are_in_order(package: Path) -> None:
    done: list[int] = []
    images = [encoded(scene(300, 300, seed=number)) for number in range(4)]
    report = check_package(package, readers(images), on_progress=done.append)
    assert report.is_ok, report.checks
    assert {check.outcome for check in report.checks} == {"ok"}
    assert report.timing is not None
    assert 0 < report.timing.p50_ms <= report.timing.p99_ms
    assert report.timing.images_per_s > 0
    assert report.peak_memory_mib > 50
    assert done == [1, 2, 3, 4]
    assert report.verdicts.total() == 4


def test_without_images_a_made_up_picture_is_timed(make_package: MakePackage) -> None:
    report = check_package(make_package())
    assert report.is_ok
    assert outcomes(report)["drift reference"] == "warning"
    assert report.timing is not None
    assert any("inspections of a made-up picture" in check.text for check in report.checks)


def test_all_contradictions_are_listed(make_package: MakePackage) -> None:
    """Loading stops at the first one."""
    data = described(
        scores([*LOGITS, node("Softmax", ["logits"], ["p"])], 2), names="{0: 'bad', 1: 'good'}", task="detect"
    )
    package = make_package(data, input=INPUT, outputs={"names": {"scores": "p"}, "activation": "softmax"}, **TWO)
    report = check_package(package)
    found = {check.name for check in report.checks if check.outcome == "error"}
    assert found == {"task", "labels and their order", "activation, applied once"}
    assert all(check.cure for check in report.checks if check.outcome == "error")
    assert not report.is_ok
    assert report.model is None


def test_an_overruled_contradiction_is_a_warning(make_package: MakePackage) -> None:
    data = described(scores([*LOGITS, node("Softmax", ["logits"], ["p"])], 2), names="{0: 'bad', 1: 'good'}")
    manifest: dict[str, Any] = {"input": INPUT, "outputs": {"names": {"scores": "p"}, "activation": "none"}, **TWO}
    report = check_package(make_package(data, **manifest, overrule=["labels"]))
    assert report.is_ok
    assert outcomes(report)["labels and their order"] == "warning"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.yaml").unlink(),
        lambda folder: (folder / "manifest.yaml").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "manifest.yaml").write_text("[" * 10_000),
        lambda folder: (folder / "manifest.yaml").write_text("name: x"),
        lambda folder: (folder / "model.onnx").unlink(),
        lambda folder: (folder / "model.onnx").write_bytes(b"other bytes"),
        lambda folder: (folder / "model.onnx").write_bytes(b""),
    ],
    ids=["no manifest", "no text", "deep", "little", "no model", "another model", "empty model"],
)
def test_garbage_is_an_error_and_no_traceback(damage: Any, make_package: MakePackage) -> None:
    folder = make_package()
    damage(folder)
    report = check_package(folder)
    assert not report.is_ok
    assert [check.outcome for check in report.checks].count("error") == 1
    assert PackageSummary.read(folder).path == folder
    assert summary_lines(PackageSummary.read(folder))


def test_images_that_cannot_be_read_are_counted(make_package: MakePackage) -> None:
    images = [*readers([encoded(scene(40, 40)), b"no image", b""]), unreadable]
    report = check_package(make_package(), images)
    assert report.is_ok
    assert report.failures == {"unreadable-image": 2, "unreadable-file": 1}
    assert outcomes(report)["images"] == "warning"
    report = check_package(make_package(), [unreadable])
    assert outcomes(report)["images"] == "error"
    assert report.timing is None


def test_equal_scores_and_verdicts_are_suspicious(make_package: MakePackage) -> None:
    same = [encoded(np.full((20, 20), 255, np.uint8)) for _ in range(12)]
    assert outcomes(check_package(make_package(), readers(same)))["scores"] == "warning"
    bright = [encoded(np.full((20, 20), 200 + number, np.uint8)) for number in range(12)]
    report = check_package(make_package(), readers(bright))
    assert "all images have one verdict" in next(check.text for check in report.checks if check.name == "scores")
    mixed = [encoded(np.full((20, 20), 20 * number, np.uint8)) for number in range(12)]
    assert "scores" not in outcomes(check_package(make_package(), readers(mixed)))


def test_a_summary_is_one_page() -> None:
    lines = dict(summary_lines(PackageSummary.read(default_model_path())))
    assert lines["name"] == "elpv-cells 1.0.0"
    assert lines["labels"] == "functional, defective; good: functional"
    assert lines["threshold"] == "0.5, review from 0.4 to 0.6"
    assert lines["png, all"].startswith("images 654, accuracy 0.8991")
    assert lines["parity"] == "not measured"
    assert len(lines) < 40


def test_packages_in_a_folder(make_package: MakePackage, tmp_path: Path) -> None:
    first, second = make_package(), make_package()
    (tmp_path / "notes").mkdir()
    assert list(find_packages(tmp_path)) == [first, second]
    assert list(find_packages(first)) == [first]

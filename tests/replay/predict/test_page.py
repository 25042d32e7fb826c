"""Report page of files: complete, and safe whatever the names are."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from models.package import load_model
from replay.predict.figures import BINS, FAILED_ROWS, GALLERY_ROWS, figures_of
from replay.predict.page import write_page
from replay.predict.rows import FileRow
from replay.predict.run import PredictOptions, predict
from replay.predict.unfinished import UnfinishedRun
from schemas import Action, ResultState, Verdict
from tests.support.packages import MakePackage, encoded
from tests.support.task_models import CASES

HOSTILE = "<script>alert(1)</script>\u202e{{7*7}}.png"


def row(number: int, score: float | None, **changes: Any) -> FileRow:
    verdict = Verdict.NOT_DECIDABLE if score is None else Verdict.NOT_OK if score >= 0.5 else Verdict.OK
    return FileRow(**{
        "path": f"{number}.png", "verdict": verdict,
        "action": Action.ACCEPT if verdict is Verdict.OK else Action.REJECT,
        "result_state": ResultState.FAILED if score is None else ResultState.COMPLETED, "reason": f"score {score}",
        "failure": "unreadable-image" if score is None else "", "score": score,
        "threshold": None if score is None else 0.5, **changes,
    })  # fmt: skip


def markup_of(page: str) -> str:
    return re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.S)


def test_figures_keep_the_highest_and_the_nearest() -> None:
    scores = [number / 1000 for number in range(1001)]
    found = figures_of(
        [*(row(number, score) for number, score in enumerate(scores)), *map(row, range(500), [None] * 500)]
    )
    assert (found.images, found.actions["ACCEPT"], found.actions["REJECT"]) == (1501, 500, 1001)
    assert [each.score for _, each in found.rejected] == [1 - number / 1000 for number in range(GALLERY_ROWS)]
    nearest = [each.score for _, each in found.nearest]
    assert len(nearest) == GALLERY_ROWS
    assert nearest[0] == 0.5
    assert all(abs(score - 0.5) <= 0.0061 for score in nearest if score is not None)
    assert len(found.failed) == FAILED_ROWS
    assert found.failures == {"unreadable-image": 500}
    assert sum(sum(bins) for bins in found.histogram.values()) == 1001
    assert all(len(bins) == BINS for bins in found.histogram.values())


def test_among_equal_scores_the_first_files_are_shown() -> None:
    found = figures_of(row(number, 0.9) for number in range(100))
    assert [number for number, _ in found.rejected] == list(range(GALLERY_ROWS))
    assert [number for number, _ in found.nearest] == list(range(GALLERY_ROWS, 2 * GALLERY_ROWS))


@pytest.fixture
def page(make_package: MakePackage, tmp_path: Path) -> str:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(0, 256, 8):
        (folder / f"{number:03}.png").write_bytes(encoded(np.full((90, 160), number, np.uint8)))
    (folder / HOSTILE.replace("/", "_")).write_bytes(b"no image")
    (folder / os.fsdecode(b"gr\xfcn.png")).write_bytes(encoded(np.full((400, 900), 255, np.uint8)))
    data, changes = CASES["detection"]
    html = tmp_path / "report.html"
    predict(
        PredictOptions(
            arguments=[str(folder)], model=make_package(data(), **changes), out=tmp_path / "rows.csv", html=html,
            processes=1,
        )
    )  # fmt: skip
    return html.read_text(encoding="utf-8")


def test_the_page_shows_scores_pictures_and_failures(page: str) -> None:
    markup = markup_of(page)
    assert page.count('<img class="picture" src="data:image/jpeg') == 2 * GALLERY_ROWS
    assert "<rect " in markup, "boxes of the defects"
    assert 'data-figure="scores"' in markup
    assert "threshold 0.5" in page
    assert "prefers-color-scheme: dark" in page
    assert "unreadable-image" in markup
    assert "gr\\xfcn.png" in markup
    assert "not a PNG, JPEG" in markup or "unreadable-image: " in markup


def test_the_page_runs_no_name_and_asks_for_nothing(page: str) -> None:
    markup = markup_of(page)
    assert "alert(1)</script>" not in page
    assert "\u202e" not in page
    assert "{{7*7}}" in markup
    addresses = re.findall(r"""\b(?:src|href|srcset|action|poster)=["']?([^"'>\s]*)""", markup)
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)


def test_a_picture_that_has_changed_or_gone_is_said(make_package: MakePackage, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((20, 20), 250, np.uint8))
    run = UnfinishedRun(tmp_path / "rows.csv")
    rows = [row(0, 0.9, path="a.png", image_sha256="00"), row(1, 0.8, path="b.png", image_sha256="00")]
    manifest = load_model(make_package()).manifest
    with run.lock():
        run.begin({"folder": str(tmp_path)}, [Path("a.png"), Path("b.png")])
        assert list(run.append(each.dumps() for each in rows)) == [1, 2]
        (tmp_path / "b.png").unlink()
        write_page(tmp_path / "r.html", run, figures_of(run.rows()), manifest, "t")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "the file has changed since it was inspected" in page
    assert "No such file or directory" in page


def test_a_run_of_failed_files_alone_has_a_page(make_package: MakePackage, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    predict(
        PredictOptions(
            arguments=[str(tmp_path / "a.png")], model=make_package(), out=tmp_path / "r.csv", html=tmp_path / "r.html"
        )
    )
    markup = markup_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert 'id="failed"' in markup
    assert 'id="scores"' not in markup

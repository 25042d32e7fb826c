"""The report of a training is complete in itself, and names from the file system cannot add to it."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training.drawings import histogram, roc
from models.training.synthetic import add_defect
from models.training.train import TrainingOptions, train
from models.training.write_package import write_package
from tests.support.parts import good_part

HOSTILE = b"<img src=x onerror=alert(1)>\xff"


class Page(HTMLParser):
    """Tags, addresses and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = tmp_path_factory.mktemp("parts")
    (root / "good").mkdir()
    hostile = os.fsencode(root) + b"/" + HOSTILE
    os.mkdir(hostile)
    for number in range(30):
        cv2.imwrite(str(root / "good" / f"{number}.png"), good_part(number))
    for number in range(12):
        defective = add_defect(good_part(100 + number), "speck", 0.1, np.random.default_rng(number))
        data = cv2.imencode(".png", defective)[1].tobytes()
        Path(os.fsdecode(hostile + b"/%d.png" % number)).write_bytes(data)
    options = TrainingOptions(time_budget_s=0.001)
    model = write_package(train(root, options), root / "model", options)
    return Page((model.path / "report.html").read_text(encoding="utf-8"))


@pytest.mark.long
def test_the_page_asks_for_nothing_and_runs_nothing(page: Page) -> None:
    assert "script" not in page.tags
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    assert page.tags.count("svg") == 2


@pytest.mark.long
def test_the_page_has_all_parts(page: Page) -> None:
    text = " ".join(page.words)
    for expected in (
        "Most suspicious good parts", "Least suspicious defective parts", "Synthetic defects", "30 of 30 images",
        "learned from defective parts too", "recipe places", "threshold 0.5",
    ):  # fmt: skip
        assert expected in text
    assert page.tags.count("figure") == 16
    assert re.search(r"<img src=x onerror=alert\(1\)>\\xff", text)


def test_drawings_are_bounded() -> None:
    rng = np.random.default_rng(1)
    good, defective = rng.normal(0.3, 0.1, 100_000), rng.normal(0.7, 0.1, 50_000)
    assert len(histogram({"good": good, "defective": defective}, 0.5)) < 40_000
    assert len(roc({"defective": (good, defective)})) < 10_000
    assert "NaN" not in histogram({"good": np.array([])}, 0.9)

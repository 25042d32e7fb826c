"""The report in a real browser: what is seen, what can be done with it, and that it asks for nothing."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from replay.analysis import analyse, compare
from replay.report import DataQuality, Gallery, write_report
from tests.support.reports import CHALLENGER, HOSTILE, example, hostile

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no browser: install the Debian packages chromium and chromium-driver",
    ),
]
PLOTS = {"scores", "cost", "rates", "calibration", "compared", "time_line", "latency"}
WIDTH = 1280


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    options = Options()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    driver.set_window_size(WIDTH, 900)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    one = example()
    analysis = analyse(one.table, cost_ratio=10, episodes=one.episodes)
    comparison = compare(one.table, challenger=CHALLENGER)
    gallery = Gallery.choose(analysis, one.table, comparison, each=3)
    gallery = gallery.with_pictures(one.frames, one.replayed, decider=1, model=one.model, steps=5)
    quality = DataQuality(labels=one.truths.counts, labels_waiting=one.truths.waiting)
    write_report(path, analysis, one.table, comparison=comparison, gallery=gallery, quality=quality)
    return path


class Page:
    """An open page and what the browser said meanwhile."""

    def __init__(self, driver: Chrome, path: Path) -> None:
        self.driver = driver
        for kind in ("browser", "performance"):
            driver.get_log(kind)
        driver.get(path.as_uri())
        self.path = path
        self.wait(lambda: self.run("return document.readyState") == "complete")
        self.console = driver.get_log("browser")
        self.requests = self._requests()

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, until: Any) -> None:
        WebDriverWait(self.driver, 10).until(lambda _: until())

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def shot(self, element: Any, file: Path) -> Any:
        """The pixels of an element, BGR, wherever on the page it is."""
        clip = self.run(
            "const r = arguments[0].getBoundingClientRect();"
            "return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1}",
            element,
        )
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        file.write_bytes(base64.b64decode(taken["data"]))
        return cv2.imread(str(file))

    def emulate(self, **features: str) -> None:
        given = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": given})

    def _requests(self) -> set[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return {url for url in sent if not url.startswith(("data:", "blob:"))}


@pytest.fixture(scope="module")
def page(browser: Chrome, report: Path) -> Page:
    return Page(browser, report)


def share_of(pixels: Any, colour: str, tolerance: int = 30) -> float:
    """Share of the pixels that have about a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (5, 3, 1)])
    return float((np.abs(pixels.astype(int) - wanted).max(axis=2) <= tolerance).mean())


def test_it_opens_without_errors_and_asks_for_nothing(page: Page):
    assert page.console == []
    assert page.requests == {page.path.as_uri()}
    assert page.run("return typeof Plotly") == "object"


def test_the_first_screen_says_what_to_do(page: Page):
    text = page.driver.find_element(By.TAG_NAME, "body").text
    assert "80 parts inspected on 2 cameras (el/left, el/right) of line demo" in text
    assert "Do not promote good-only" in text
    assert re.search(r"A threshold of 0\.\d+ may be better, now 0\.5", text)


def test_every_plot_is_drawn(page: Page, tmp_path: Path):
    plots = page.all("[data-figure]")
    assert {plot.get_attribute("data-figure") for plot in plots} == PLOTS
    for plot in plots:
        name = plot.get_attribute("data-figure")
        assert "js-plotly-plot" in plot.get_attribute("class")
        assert plot.size["width"] > 400
        assert plot.size["height"] > 250
        marks = page.run("return arguments[0].querySelectorAll('.point, .js-line').length", plot)
        assert marks > 0, name
        pixels = page.shot(plot, tmp_path / f"{name}.png")
        assert pixels.std() > 5, f"{name} is blank"
    scores = cv2.imread(str(tmp_path / "scores.png"))
    assert share_of(scores, "#0072B2") > 0.01  # good
    assert share_of(scores, "#D55E00") > 0.01  # defective


def test_a_plot_says_its_numbers_when_pointed_at(page: Page):
    for name, wanted in (
        ("cost", r"from 0\.\d+ on: cost"),
        ("rates", r"escape rate : \d"),
        ("time_line", r"accepted : \d"),
    ):
        plot = page.driver.find_element(By.CSS_SELECTOR, f"[data-figure={name}]")
        page.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
        for shift in (0, 11, 22):  # a bar is narrow, and there is space between two
            ActionChains(page.driver).move_to_element_with_offset(plot, shift, 0).pause(0.15).perform()
            texts = page.run(
                "return [...arguments[0].querySelectorAll('.hoverlayer text')].map(t => t.textContent).join(' ')", plot
            )
            if re.search(wanted, texts):
                break
        assert re.search(wanted, texts), (name, texts)


def test_no_button_of_a_plot_sends_it_away(page: Page):
    titles = page.run("return [...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)")
    assert {title.split()[0] for title in titles} == {"Zoom", "Pan", "Reset", "Download"}


def test_the_gallery_shows_pictures(page: Page, tmp_path: Path):
    pictures = page.all(".picture")
    assert len(pictures) == len(page.all(".card")) >= 6
    for number, picture in enumerate(pictures):
        natural = page.run("return [arguments[0].naturalWidth, arguments[0].naturalHeight]", picture)
        assert natural == [300, 300]
        assert "label:" in picture.get_attribute("alt")
        assert page.shot(picture, tmp_path / f"{number}.png").std() > 10
    for heat in page.all(".heat"):
        assert page.run("return arguments[0].naturalWidth", heat) == 6
    assert page.run("return [...document.images].every(i => i.alt && i.complete && i.naturalWidth)")
    command = page.driver.find_element(By.CSS_SELECTOR, ".run code").text
    assert re.fullmatch(r"inspection replay --offsets [01]:\d+-\d+", command)


@pytest.mark.parametrize(("layer", "selector"), [("heat", ".heat"), ("boxes", ".stack svg")])
def test_what_lies_over_the_pictures_can_be_taken_away(page: Page, tmp_path: Path, layer: str, selector: str):
    button = page.driver.find_element(By.CSS_SELECTOR, f"[data-layer={layer}]")
    over = page.driver.find_element(By.CSS_SELECTOR, selector)
    stack = page.run("return arguments[0].closest('.stack')", over)
    page.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    assert over.is_displayed()
    before = page.shot(stack, tmp_path / "with.png")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert not any(one.is_displayed() for one in page.all(selector))
    without = page.shot(stack, tmp_path / "without.png")
    assert (np.abs(before.astype(int) - without).max(axis=2) > 20).mean() > 0.002
    button.click()
    assert over.is_displayed()


def test_slices_can_be_sorted(page: Page):
    def parts() -> list[int]:
        return [int(cell.get_attribute("data-value")) for cell in page.all("#slices-table tbody td:nth-child(3)")]

    head = page.driver.find_element(By.CSS_SELECTOR, "#slices-table th:nth-child(3)")
    page.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", head)
    before = parts()
    assert before != sorted(before, reverse=True)
    head.find_element(By.TAG_NAME, "button").click()
    assert parts() == sorted(before, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.find_element(By.TAG_NAME, "button").click()
    assert parts() == sorted(before)
    # By a column with gaps: what is not known comes last, whichever way.
    rate = page.driver.find_element(By.CSS_SELECTOR, "#slices-table th:nth-child(6)")
    for _ in range(2):
        rate.find_element(By.TAG_NAME, "button").click()
        values = [cell.get_attribute("data-value") for cell in page.all("#slices-table tbody td:nth-child(6)")]
        known = [float(value) for value in values if value != "NaN"]
        assert values[len(known) :] == ["NaN"] * (len(values) - len(known))
        assert known in (sorted(known), sorted(known, reverse=True))


def luminance(colour: str) -> float:
    """Relative luminance of ``#rgb`` or ``#rrggbb``, as WCAG 2.2 has it."""
    digits = colour.strip("#")
    digits = "".join(c * 2 for c in digits) if len(digits) == 3 else digits
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_it_is_read_on_dark_and_on_light(page: Page, tmp_path: Path):
    try:
        for scheme in ("dark", "light"):
            page.emulate(prefers_color_scheme=scheme)
            script = "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0]).trim()"
            of = {
                name: page.run(script, f"--{name}") for name in ("paper", "card", "ink", "soft", "good", "act", "link")
            }
            for paper in ("paper", "card"):
                for ink in ("ink", "soft", "good", "act", "link"):
                    light, dark = sorted((luminance(of[paper]), luminance(of[ink])), reverse=True)
                    assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, paper, ink)
            drawn = f"rgb({', '.join(str(int(of['ink'][i : i + 2], 16)) for i in (1, 3, 5))})"
            tick = "return getComputedStyle(document.querySelector('[data-figure=cost] .xtick text')).fill"
            page.wait(lambda drawn=drawn, tick=tick: page.run(tick) == drawn)
            plot = page.driver.find_element(By.CSS_SELECTOR, "[data-figure=cost]")
            mean = page.shot(plot, tmp_path / f"{scheme}.png").mean()
            assert mean < 90 if scheme == "dark" else mean > 200
    finally:
        page.emulate()


@pytest.mark.parametrize("width", [1280, 1024])
def test_nothing_sticks_out(page: Page, width: int):
    page.driver.set_window_size(width, 900)
    try:
        assert page.run("return document.documentElement.scrollWidth - innerWidth") <= 0
    finally:
        page.driver.set_window_size(WIDTH, 900)


def test_headings_go_down_step_by_step(page: Page):
    levels = page.run("return [...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.run("return [...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")


def test_names_out_of_messages_run_nothing(browser: Chrome, tmp_path: Path):
    table, frames, replayed = hostile()
    analysis = analyse(table)
    comparison = compare(table, challenger=HOSTILE)
    gallery = Gallery.choose(analysis, table, comparison).with_pictures(frames, replayed)
    quality = DataQuality(differences=[HOSTILE])
    path = tmp_path / "hostile.html"
    write_report(path, analysis, table, comparison=comparison, gallery=gallery, quality=quality, heat_maps_of=HOSTILE)
    page = Page(browser, path)
    assert page.console == []
    assert page.requests == {path.as_uri()}
    assert page.driver.title.startswith("Inspection of")
    assert len(page.all("script")) == 3
    assert page.all("img[src^=http]") == []
    assert page.all(".plot img, .plot a[href]") == []
    text = page.driver.find_element(By.TAG_NAME, "body").text
    assert HOSTILE in text  # shown as it is
    plots = page.all("[data-figure]")
    assert plots
    assert all(page.run("return arguments[0].querySelectorAll('.main-svg').length", plot) for plot in plots)
    assert page.run("return document.documentElement.scrollWidth - innerWidth") <= 0

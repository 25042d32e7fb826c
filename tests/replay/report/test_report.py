"""What is written, without a browser: figures, gallery, words, and stretches that lack something."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import plotly.graph_objects as go
import pytest

from models import default_model_path, load_model
from monitoring.quality.label_index import LabelIndex
from replay.analysis import analyse, compare
from replay.analysis.table import build_table
from replay.past.replayed_frame import ReplayedFrame
from replay.past.selection import Selection
from replay.report import DataQuality, Gallery, write_report
from replay.report import plots as figures
from replay.report.advice import advise
from schemas import Action, Defect, ResultState, Verdict
from schemas.errors import SettingsError
from tests.support.quality_records import make_decision, make_label
from tests.support.reports import CHALLENGER, episode, example
from transport.stored_message import MessagePosition, StoredMessage


def written(path: Path, *arguments: Any, **more: Any) -> str:
    write_report(path, *arguments, **more)
    return path.read_text(encoding="utf-8")


def pixels_of(address: str) -> Any:
    data = base64.b64decode(address.partition(",")[2])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_file_holds_all_it_needs(tmp_path: Path):
    one = example(16)
    analysis = analyse(one.table, episodes=one.episodes)
    page = written(tmp_path / "r.html", analysis, one.table, selection=Selection(lots=("L0",), last=5))
    # Markup alone: within plotly.js there are addresses, which nothing asks for.
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    addresses = re.findall(r"""\b(?:src|href|srcset|action|poster)=["']?([^"'>\s]*)""", markup)
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "@import" not in markup
    assert "url(" not in markup
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)
    assert policy is not None
    assert set(re.findall(r"sha256-([^&']+)", policy[1])) == digests
    assert len(digests) == 2
    assert policy[1].startswith("default-src &#39;none&#39;")
    assert "Selected: last 5; lots" in page
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert len(page.encode()) < 6_000_000
    assert written(tmp_path / "r.html", analysis, one.table, selection=Selection(lots=("L0",), last=5)) == page


def test_plotly_knows_every_trace_and_option():
    one = example(16)
    analysis = analyse(one.table, episodes=one.episodes)
    assert analysis.curve is not None
    assert analysis.time_line is not None
    drawn = [
        figures.scores(one.table, analysis), figures.cost(analysis.curve, analysis),
        figures.rates(analysis.curve, analysis), figures.calibration(analysis), figures.time_line(analysis.time_line),
        figures.latency(one.table), figures.compared(one.table, compare(one.table, challenger=CHALLENGER)),
    ]  # fmt: skip
    for figure in drawn:
        assert figure is not None
        go.Figure(figure)  # raises for what plotly.js does not know
        with pytest.raises(ValueError, match="Invalid property"):
            go.Figure({**figure, "layout": {**figure["layout"], "yaxes": {}}})
    scores = drawn[0]
    assert scores is not None
    assert sum(sum(trace["y"]) for trace in scores["data"]) == 16


def test_a_long_stretch_makes_no_long_page(tmp_path: Path):
    frames = []
    for number in range(6_000):
        one = make_decision(number, Action.REJECT if number % 7 == 0 else Action.ACCEPT, score=number % 97 / 97)
        other = replace(one, action=Action.REJECT, verdict=Verdict.NOT_OK)
        frames.append(
            ReplayedFrame(position=MessagePosition("f", 0, number), timestamp_us=1, recorded=one, replayed=(other,))
        )
    labels = LabelIndex(make_label(n, Verdict.NOT_OK if n % 9 else Verdict.OK) for n in range(6_000))
    table = build_table(frames, labels, variants=["new"])
    analysis = analyse(table, episodes=[episode(episode_id=f"{n}", station="s", camera_id="c") for n in range(500)])
    plain = written(tmp_path / "r.html", analyse(example(16).table), example(16).table)
    page = written(tmp_path / "r.html", analysis, table, comparison=compare(table))
    assert len(page) - len(plain) < 700_000
    figure = figures.compared(table, compare(table))
    assert figure is not None
    assert sum(len(trace["x"]) for trace in figure["data"]) <= 4_000


def no_labels() -> Any:
    return build_table(example(16).replayed, variants=[CHALLENGER])


def nothing_inspected() -> Any:
    aborted = make_decision(1, result_state=ResultState.ABORTED, score=None, threshold=None)
    return build_table([ReplayedFrame(position=MessagePosition("f", 0, 1), timestamp_us=1, recorded=aborted)])


def only_replayed() -> Any:
    rows = [replace(one, recorded=None) for one in example(16).replayed]
    return build_table(rows, example(16).truths, variants=[CHALLENGER])


def odd_times() -> Any:
    late = make_decision(1, captured_at_us=2**60, decided_at_us=2**60 - 5)
    return build_table([ReplayedFrame(position=MessagePosition("f", 0, 1), timestamp_us=2**60, recorded=late)])


@pytest.mark.parametrize("make", [no_labels, nothing_inspected, only_replayed, odd_times])
def test_what_is_not_known_is_said(tmp_path: Path, make: Any):
    table = make()
    page = written(tmp_path / "r.html", analyse(table), table, gallery=Gallery.choose(analyse(table), table))
    body = page.partition("<body>")[2].partition("<script")[0]
    assert "cannot be estimated" in body
    assert "No threshold can be recommended" in body
    assert "None" not in re.sub(r"None of \d+", "", body)
    assert not re.search(r">\s*nan\b", body)


def test_the_first_advice_is_the_gates():
    one = example()
    comparison = compare(one.table, challenger=CHALLENGER)
    titles = [found.title for found in advise(analyse(one.table), comparison)]
    assert titles[0] == f"Do not promote {CHALLENGER}"
    assert re.fullmatch(r"A threshold of 0\.\d+ may be better, now 0\.5.*", titles[1])
    promoted = replace(comparison, gate=replace(comparison.gate, decision="promote", checks=()))
    assert advise(analyse(one.table), promoted)[0].kind == "good"


def test_the_worst_slice_is_named():
    frames, labels = [], []
    for number in range(400):
        is_bad = number % 4 == 0
        missed = is_bad and number >= 300
        action = Action.ACCEPT if missed or not is_bad else Action.REJECT
        decision = make_decision(number, action, lot="L9" if number >= 300 else f"L{number // 100}", score=0.4)
        frames.append(ReplayedFrame(position=MessagePosition("f", 0, number), timestamp_us=1, recorded=decision))
        labels.append(make_label(number, Verdict.NOT_OK if is_bad else Verdict.OK, sampled_because="random"))
    analysis = analyse(build_table(frames, LabelIndex(labels)))
    worst = next(one for one in advise(analysis) if one.title.startswith("Look into"))
    assert worst.title == "Look into lot L9"
    assert worst.text.startswith("25 of 25 defective parts accepted, of the others 0 of 75")


def test_the_gallery_shows_each_part_once():
    one = example()
    analysis = analyse(one.table)
    gallery = Gallery.choose(analysis, one.table, compare(one.table, challenger=CHALLENGER), each=4)
    assert len(set(gallery.rows)) == len(gallery.rows)
    assert [section.name for section in gallery.sections] == ["escapes", "disagreements", "nearest"]
    assert all(len(section.rows) <= 4 for section in gallery.sections)
    assert gallery.frame_ids == set(one.table["frame_id"][list(gallery.rows)])
    assert len(gallery.positions) == len(gallery.rows)


def test_pictures_that_are_not_there_are_said_to_be_gone(tmp_path: Path):
    one = example(16)
    analysis = analyse(one.table)
    gallery = Gallery.choose(analysis, one.table, each=4)
    by_place = {found.position: found for found in one.frames}
    found = [by_place[place] for place in gallery.positions]
    first = found[0].record
    assert first is not None
    changed = replace(first, image=b"\x89PNG" + (first.image or b"")[4:-900])
    broken = [
        replace(found[0], record=changed),
        StoredMessage(found[1].position, 0, None, problem="truncated: the bytes end"),
        *found[3:],
    ]
    made = gallery.with_pictures(broken)
    cards = [made.card(row) for row in made.rows]
    assert cards[0].missing.startswith("altered-image")
    assert cards[1].missing == "no frame: truncated: the bytes end"
    assert cards[2].missing == "the frame is not there any more"
    assert cards[3].picture
    page = written(tmp_path / "r.html", analysis, one.table, gallery=made)
    assert page.count("No picture: ") == 3


def test_a_card_has_picture_boxes_and_heat_map():
    one = example(16)
    gallery = Gallery.choose(analyse(one.table), one.table, each=1)
    row = gallery.rows[0]
    nan = float("nan")
    boxes = [(0, 0, 150, 75), (290, 290, 50, 50), (nan, 0, 1, 1), (400, 0, 5, 5)]
    defects = tuple(Defect("crack", 0.9, box) for box in boxes)
    replayed = [replace(r, recorded=replace(r.recorded, defects=defects)) for r in one.replayed if r.recorded]
    card = gallery.with_pictures(one.frames, replayed, model=one.model, steps=3).card(row)
    assert [box for _, box in card.boxes] == [(0, 0, 0.5, 0.25), pytest.approx((290 / 300, 290 / 300, 1 / 30, 1 / 30))]
    assert pixels_of(card.picture).shape == (300, 300, 3)
    heat = pixels_of(card.heat)
    assert heat.shape == (4, 4, 4)
    assert heat[:, :, 3].max() > 0
    assert card.heat_kind == "occlusion"
    anomaly = load_model(default_model_path().parent / "elpv_good_only")
    other = gallery.with_pictures(one.frames, one.replayed, decider=1, model=anomaly).card(row)
    assert other.heat_kind == "anomaly"
    assert not gallery.with_pictures(one.frames).card(row).heat


def test_a_large_picture_is_made_small():
    one = example(16)
    gallery = Gallery.choose(analyse(one.table), one.table, each=1)
    stored = next(found for found in one.frames if found.position == gallery.positions[0])
    noise = np.random.default_rng(1).integers(0, 255, (1600, 2400, 3), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    assert stored.record is not None
    large = replace(stored.record, image=data, sha256=hashlib.sha256(data).hexdigest())
    card = gallery.with_pictures([replace(stored, record=large)]).card(gallery.rows[0])
    assert (card.width, card.height) == (320, 213)
    assert pixels_of(card.picture).shape == (213, 320, 3)
    assert len(card.picture) < 90_000


def test_what_is_known_of_the_data_is_said(tmp_path: Path):
    one = example(16)
    quality = DataQuality(
        labels=one.truths.counts,
        labels_waiting=3,
        unreadable=2,
        reproduced=15,
        not_reproduced=1,
        differences=["f: 0.5"],
    )
    page = written(tmp_path / "r.html", analyse(one.table), one.table, quality=quality, title="Shift 3")
    assert "<title>Shift 3</title>" in page
    for text in (
        "labels that contradict",
        "messages that could not be read",
        "decisions reproduced",
        "<li>f: 0.5</li>",
    ):
        assert text in page
    assert "decisions reproduced" not in written(tmp_path / "r.html", analyse(one.table), one.table)


def test_what_cannot_be_written_is_one_line(tmp_path: Path):
    one = example(16)
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "nowhere" / "r.html", tmp_path / "folder"):
        with pytest.raises(SettingsError, match=re.escape(str(target))):
            write_report(target, analyse(one.table), one.table)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_is_not_installed_is_named(repository: Path):
    program = (
        "import sys; sys.modules['jinja2'] = sys.modules['plotly'] = None\n"
        "from pathlib import Path\n"
        "from replay.analysis import analyse\n"
        "from replay.past.replayed_frame import ReplayedFrame\n"
        "from replay.report import write_report\n"
        "from transport.stored_message import MessagePosition\n"
        "from replay.analysis.table import build_table\n"
        "from schemas.errors import SettingsError\n"
        "from tests.support.quality_records import make_decision\n"
        "one = ReplayedFrame(position=MessagePosition('f', 0, 1), timestamp_us=1, recorded=make_decision(1))\n"
        "table = build_table([one])\n"
        "try: write_report(Path('r.html'), analyse(table), table)\n"
        "except SettingsError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=repository)
    assert done.stdout == "a report needs jinja2 and plotly: pip install 'streaming-inspection[analysis]'\n"

"""Latency, time line, duplicates and rankings; and tables that say little: a sentence, never a traceback."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from infra.cli.past.analysis_text import analysis_lines
from models.package import default_model_path, load_model
from monitoring.drift.episodes import build_episodes
from replay.analysis import GoldenSample, analyse, as_json, compare_golden, load_golden
from replay.analysis.duplicates import duplicates_of
from replay.analysis.latency import latency_of
from replay.analysis.rankings import rankings_of
from replay.analysis.table import Table, build_table
from replay.analysis.time_line import MAX_BINS, bin_us, time_line_of
from replay.analysis.view import decider_view
from schemas import DriftEvent, DriftKind, DriftType, EpisodeState
from schemas.errors import SettingsError
from tests.support.tables import BEGIN_US, labels, make_table, population, with_columns

MIN_US = 60_000_000


def test_latency_and_deadlines_by_hand() -> None:
    latency = np.arange(1.0, 101.0)
    table = make_table(
        104, recorded__latency_ms=[*latency, np.nan, 500.0, 600.0, 1.0], camera=["s/a"] * 100 + ["s/b"] * 4,
        recorded__is_late=[0] * 98 + [1, 1] + [-1, 1, 0, -1],
        recorded__result_state=["COMPLETED"] * 101 + ["ABORTED", "ABORTED", "FAILED"],
    )  # fmt: skip
    found = latency_of(table)
    one, two = found.by_camera
    assert (one.camera, one.total.count, one.total.p50_ms, one.total.max_ms) == ("s/a", 100, 50.5, 100.0)
    assert one.total.p99_ms == pytest.approx(np.quantile(latency, 0.99))
    assert (one.with_deadline, one.late, one.shed, one.missed) == (100, 2, 0, 2)
    # Late and shed is shed.
    assert (two.total.count, two.with_deadline, two.late, two.shed, two.missed) == (3, 2, 0, 2, 2)
    assert (found.all.missed, found.all.stages["infer"].p50_ms) == (4, 5.0)


def episode(name: str, camera: str, begin_us: int, end_us: int | None) -> list[DriftEvent]:
    station, _, camera_id = camera.partition("/")
    values: dict[str, Any] = dict(
        episode_id=name, drift_type=DriftType.DATA, kind=DriftKind.SUDDEN, line="l", station=station,
        camera_id=camera_id, reason="brightness rose", started_frame_id="", started_at_us=begin_us,
        detected_frame_id="",
        detected_at_us=begin_us, model_name="", model_version="", model_sha256="", recipe_id="", recipe_revision="",
        source_topic="", source_partition=0, source_offset=0, cause="saturated",
    )  # fmt: skip
    opened = DriftEvent(event_id=f"{name}1", state=EpisodeState.OPENED, emitted_at_us=1, **values)
    closed = DriftEvent(event_id=f"{name}2", state=EpisodeState.CLOSED, emitted_at_us=2, closed_at_us=end_us, **values)
    return [opened] if end_us is None else [opened, closed]


def test_time_line_by_hand() -> None:
    # Ten parts a minute for six minutes, five hours apart from ten more.
    captured = np.concatenate([BEGIN_US + np.arange(60) * 6_000_000, BEGIN_US + 5 * 60 * MIN_US + np.arange(10)])
    score = np.array([0.1, 0.9] * 35)
    table = make_table(
        70, captured_at_us=captured, recorded__score=score, recorded__is_late=[1] * 3 + [-1] * 67,
        recorded__result_state=["COMPLETED"] * 69 + ["FAILED"], **labels([1, 0] * 5 + [-1] * 60),
    )  # fmt: skip
    events = [
        *episode("e1", "s/c", BEGIN_US + MIN_US, BEGIN_US + 2 * MIN_US), *episode("e2", "s/other", BEGIN_US, None),
        *episode("e3", "s/c", BEGIN_US - 9, BEGIN_US - 1), *episode("e4", "s/c", BEGIN_US + 3 * MIN_US, None),
    ]  # fmt: skip
    line = time_line_of(decider_view(table), build_episodes(events))
    assert line is not None
    assert line.bin_us == 5 * MIN_US
    assert line.begin_us[0] == BEGIN_US
    assert line.parts[:3].tolist() == [50, 10, 0]
    assert (line.parts.sum(), line.not_inspected.tolist()[-1]) == (69, 1)
    assert (line.rejects[0], line.escapes[0], line.overkill[0], line.late[0], line.labelled[0]) == (25, 5, 5, 3, 10)
    assert line.mean_score[0] == pytest.approx(0.5)
    assert np.isnan(line.mean_score[2])
    assert [(mark.episode_id, mark.parts, mark.end_us is None) for mark in line.episodes] == [
        ("e1", 11, False), ("e4", 39, True),
    ]  # fmt: skip
    assert (line.episodes[0].cause, line.episodes[0].kind) == ("saturated", "SUDDEN")


def test_a_time_line_of_many_episodes_is_quick_and_counts_as_by_hand() -> None:
    count, chance = 60_000, np.random.default_rng(5)
    captured = BEGIN_US + chance.integers(0, 10**10, count)
    camera = chance.choice(["s/c", "s/d", "s/e"], count)
    table = make_table(
        count, captured_at_us=captured, camera=camera.tolist(), recorded__score=chance.random(count),
        **labels(chance.integers(-1, 2, count)),
    )  # fmt: skip
    view = decider_view(table)
    spans = {
        f"e{number}": (f"s/{'cde'[number % 3]}", BEGIN_US + number * 10**6, BEGIN_US + number * 10**6 + length)
        for number, length in enumerate(chance.integers(0, 10**9, 2_000).tolist())
    }
    events = [event for name, span in spans.items() for event in episode(name, *span)]
    episodes = list(build_episodes(events))
    began = time.process_time()
    line = time_line_of(view, episodes)
    assert time.process_time() - began < 2
    assert line is not None
    assert len(line.episodes) == 2_000
    for mark in line.episodes[::50]:
        name, first, last = spans[mark.episode_id]
        within = (camera == name) & (captured >= first) & (captured <= last)
        assert (mark.parts, mark.labelled) == (within.sum(), (within & view.labelled).sum())
        assert (mark.escapes, mark.overkill) == ((within & view.is_escape).sum(), (within & view.is_overkill).sum())


@pytest.mark.parametrize("span", [0, 1, 239 * 1_000_000, 3600 * 10**6, 86_400 * 10**6, 40 * 365 * 86_400 * 10**6])
def test_a_time_line_is_never_long(span: int) -> None:
    for begin in (0, BEGIN_US + 12_345_678):
        step = bin_us(begin, begin + span)
        assert (begin + span) // step - begin // step < MAX_BINS


def test_duplicates_by_hand() -> None:
    table = make_table(
        8, part_id=["A", "A", "A", "B", "B", None, None, "A"], camera=["s/c"] * 7 + ["s/d"],
        recorded__score=[0.1, 0.9, 0.1, 0.1, 0.1, 0.9, 0.1, 0.9], copies=[1, 1, 3, 1, 1, 1, 2, 1],
        image_sha256=["x", "y", "x", "z", "w", "z", "", ""],
    )  # fmt: skip
    found = duplicates_of(decider_view(table))
    assert (found.parts_seen_again, found.contradictory_parts, found.frames_published_again) == (2, 1, 2)
    [group] = found.contradictions
    assert (group.name, group.camera, group.rows, group.verdicts) == ("A", "s/c", (0, 1, 2), ("OK", "NOT_OK", "OK"))
    assert (found.images_seen_again, found.contradictory_images) == (2, 1)
    assert [(one.name, one.rows) for one in found.images] == [("z", (3, 5)), ("x", (0, 2))]


def test_rankings_by_hand() -> None:
    score = [0.4, 0.1, 0.3, 0.9, 0.6, 0.52, 0.45]
    table = make_table(
        7, variants=("new",), recorded__score=score, new__score=[0.4, 0.8, 0.3, 0.1, 0.6, 0.48, 0.45],
        **labels([1, 1, 0, 0, 0, -1, 1]),
    )  # fmt: skip
    found = rankings_of(decider_view(table))
    assert found.escapes == (1, 0, 6)
    assert found.overkill == (3, 4)
    assert found.nearest[:3] == (5, 6, 0)
    assert found.disagreements == (3, 1, 5)
    many = rankings_of(decider_view(population(0, 5000)))
    assert [len(rows) for rows in (many.escapes, many.overkill, many.nearest)] == [
        min(100, int(decider_view(population(0, 5000)).is_escape.sum())), 100, 100,
    ]  # fmt: skip


NAN = float("nan")
TRUTHS = labels([0, 1] * 20)
LITTLE: dict[str, tuple[Table, str]] = {
    "no labels": (make_table(40), "no part has a label"),
    "all good": (make_table(40, **labels([0] * 40)), "all 40 labels say good"),
    "all defective": (make_table(40, **labels([1] * 40)), "all 40 labels say defective"),
    "one row": (make_table(1, **labels([1])), "all 1 labels say defective"),
    "no scores": (make_table(40, recorded__score=NAN, **TRUTHS), "no decision has a score"),
    "all review": (make_table(40, recorded__action="REVIEW", **TRUTHS), "parts"),
    "threshold 0": (make_table(40, recorded__threshold=0.0, **TRUTHS), "now 0:"),
    "threshold 1": (make_table(40, recorded__threshold=1.0, **TRUTHS), "now 1:"),
    "nothing inspected": (make_table(40, recorded__result_state="ABORTED", **TRUTHS), "inspected none of the 40"),
    "nothing decided": (
        make_table(40, recorded__result_state=None, recorded__action=None, recorded__verdict=None,
                   recorded__model=None, recorded__latency_ms=NAN), "inspected none of the 40",
    ),
    "only rejects labelled": (population(0, 400, random_share=0.0), "no accepted part was labelled at random"),
    "contradiction": (
        make_table(40, part_id="P", recorded__score=[0.1, 0.9] * 20, **TRUTHS), "1 parts were judged both OK and",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LITTLE)
def test_what_says_little_is_said_in_words(name: str) -> None:
    table, sentence = LITTLE[name]
    found = analyse(table)
    text = "\n".join(analysis_lines(found))
    assert sentence in text
    assert "nan" not in text.lower()
    assert "None" not in text
    assert json.loads(json.dumps(as_json(found), allow_nan=False))["decider"] == "recorded"


def test_an_empty_table_and_an_impossible_ratio() -> None:
    with pytest.raises(SettingsError, match="nothing to analyse"):
        analyse(build_table([]))
    for ratio in (0.0, -1.0, NAN, float("inf")):
        with pytest.raises(SettingsError, match="cost ratio"):
            analyse(make_table(1), cost_ratio=ratio)


def test_a_whole_analysis_is_the_same_each_time() -> None:
    table = population(5, 3000, random_share=0.2)
    found = analyse(table)
    assert as_json(analyse(table)) == as_json(found)
    assert (found.extent.frames, found.extent.inspected, found.extent.models) == (3000, 3000, ("m 1 abcdef01",))
    text = "\n".join(analysis_lines(found))
    assert "threshold, if an escape costs 20 overkills" in text


def test_hostile_names_do_not_reach_the_terminal() -> None:
    table = with_columns(population(5, 300), camera=["s/c\x1b[2J"] * 300, recorded__model="m\u202e")
    text = "\n".join(analysis_lines(analyse(table)))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_cameras_that_are_labelled_unevenly_are_named() -> None:
    because = (["random"] * 5 + [None] * 5) * 50 + (["random"] + [None] * 99) * 20
    truth = [0 if one else -1 for one in because]
    found = analyse(make_table(2500, camera=["s/a"] * 500 + ["s/b"] * 2000, **labels(truth, because)))
    assert any("s/a have random labels" in warning and "s/b" in warning for warning in found.warnings)
    assert not any("random labels" in warning for warning in analyse(population(0, 2000, random_share=0.1)).warnings)


def images(folder: Path) -> list[GoldenSample]:
    random = np.random.default_rng(0)
    for name in ("good/1.png", "good/2.PNG", "crack/sub/3.png", "nok/4.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path.with_suffix(".png")), random.integers(0, 255, (64, 64), np.uint8))
        path.with_suffix(".png").rename(path)
    (folder / "good" / "notes.txt").write_text("no image")
    return load_golden(folder)


def test_golden_samples_of_a_folder(tmp_path: Path) -> None:
    found = [(one.path.name, one.is_defective, one.defect) for one in images(tmp_path)]
    assert found == [("3.png", True, "crack"), ("1.png", False, ""), ("2.PNG", False, ""), ("4.png", True, "")]


@pytest.mark.parametrize("separator", [",", ";"])
def test_golden_samples_of_a_table(tmp_path: Path, separator: str) -> None:
    images(tmp_path)
    rows = [("file", "truth", "defect"), ("good/1.png", "OK", ""), ("nok/4.png", "Defective", "stain")]
    path = tmp_path / "golden.csv"
    path.write_text("\n".join(separator.join(row) for row in rows))
    assert [(one.path, one.is_defective, one.defect) for one in load_golden(path)] == [
        (tmp_path / "good/1.png", False, ""), (tmp_path / "nok/4.png", True, "stain"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file,truth\nx.png,maybe\n", "row 2: truth 'maybe'"),
        ("file,truth\n,good\n", "row 2: file is empty"),
        ("name,truth\nx.png,good\n", "the first row names"),
        ("file,truth\n", "no images"),
        ("", "the first row names"),
        (b"\xff\xfe\x00", "golden.csv"),
    ],
)
def test_tables_of_golden_samples_that_are_none(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    path = tmp_path / "golden.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError, match=complaint):
        load_golden(path)


def test_golden_folders_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SettingsError, match="golden samples"):
            load_golden(path)


def test_two_models_on_golden_samples(tmp_path: Path) -> None:
    samples = images(tmp_path)
    champion = load_model(default_model_path())
    challenger = load_model(default_model_path().parent / "elpv_good_only")
    found = compare_golden(samples, champion, challenger)
    assert (found.good, found.defective) == (2, 2)
    assert found.challenger_escapes - found.champion_escapes == found.newly_missed - found.newly_found
    assert found.challenger_overkill - found.champion_overkill == found.newly_overkilled - found.newly_accepted
    same = compare_golden(samples, champion, champion)
    assert (same.newly_missed, same.newly_overkilled, same.changed) == (0, 0, ())
    (tmp_path / "good" / "1.png").write_bytes(b"no image")
    with pytest.raises(SettingsError, match=r"1\.png"):
        compare_golden(samples, champion, challenger)

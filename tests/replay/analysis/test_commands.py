"""`inspection analyse` and `inspection compare`, on what the topics hold."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from infra.cli.root import app
from models.package import default_model_path
from operations import publish_labels
from replay.analysis import load_golden
from replay.past.resolved_selection import EmptySelection
from schemas import (
    Action,
    DriftEvent,
    DriftKind,
    DriftType,
    Encoding,
    EpisodeState,
    Frame,
    KafkaSettings,
    Verdict,
)  # fmt: skip
from schemas.codec import encode
from schemas.errors import SettingsError
from tests.support.quality_lines import EPOCH_US, decision, publish, run
from tests.support.quality_records import make_label


def lay(kafka: KafkaSettings) -> None:
    """200 parts, 20 rejected and looked at; 60 accepted ones labelled at random; one label too many, one episode."""
    decisions = [
        decision(number, Action.REJECT if number % 10 == 9 else Action.ACCEPT, source_topic=kafka.frames,
                 score=0.9 if number % 10 == 9 else 0.1 + number / 1000, signals={"brightness": 80.0 + number % 7})
        for number in range(200)
    ]  # fmt: skip
    publish(kafka, kafka.decisions, [*decisions, decisions[0], b"garbage", replace(decisions[1], is_simulated=True)])
    accepted = [one.sequence for one in decisions if one.action is Action.ACCEPT][:60]
    given = [
        make_label(number, Verdict.NOT_OK if number in accepted[58:] else Verdict.OK, sampled_because="random",
                   defect="crack" if number in accepted[58:] else None)
        for number in accepted
    ]  # fmt: skip
    given += [make_label(number, Verdict.OK if number == 9 else Verdict.NOT_OK) for number in range(9, 200, 10)]
    publish_labels(kafka, [*given, make_label(999)])
    opened = DriftEvent(
        event_id="e1", episode_id="ep", state=EpisodeState.OPENED, drift_type=DriftType.DATA, kind=DriftKind.SUDDEN,
        line="l", station="s", camera_id="c", reason="brightness rose", started_frame_id="", emitted_at_us=EPOCH_US,
        started_at_us=EPOCH_US + 100_000_000, detected_frame_id="", detected_at_us=EPOCH_US + 101_000_000,
        model_name="", model_version="", model_sha256="", recipe_id="", recipe_revision="", source_topic="",
        source_partition=0, source_offset=0,
    )  # fmt: skip
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    producer.produce(kafka.drift, encode(opened), b"s/c", timestamp=EPOCH_US // 1000)
    assert producer.flush(20) == 0


@pytest.mark.long
@pytest.mark.broker
def test_analyse_says_what_quality_says_and_more(line: KafkaSettings) -> None:
    lay(line)
    quality = json.loads(run(line, "quality", "--json").stdout)["figures"][0]
    found = json.loads(run(line, "analyse", "--json").stdout)
    for name in ("escape_rate", "overkill_rate", "accuracy"):
        assert found["rates"][name] == {key: value for key, value in quality[name].items() if key != "word"}
    assert (found["extent"]["inspected"], found["extent"]["labelled"]) == (quality["parts"], quality["labelled"])
    assert (found["confusion"]["escapes"], found["confusion"]["overkill"]) == (2, 1)
    assert found["labels"] == {
        "labels": 81, "duplicates": 0, "undecided": 0, "corrections": 0, "contradictions": 0, "waiting": 1,
        "future": 0,
    }  # fmt: skip
    assert [mark["parts"] for mark in found["time_line"]["episodes"]] == [100]
    assert found["duplicates"]["parts_seen_again"] == 0
    assert found["duplicates"]["images_seen_again"] == 1
    shown = run(line, "analyse", "--cost-ratio", "50").stdout
    assert "  escape rate    24.00% (6.12% to 49.40%), 80 labels" in shown
    assert "threshold, if an escape costs 50 overkills" in shown
    assert "drift: 1 episode in this time" in shown
    assert "1 label is about parts of another time, or of none" in shown


@pytest.mark.long
@pytest.mark.broker
def test_what_is_selected_is_analysed(line: KafkaSettings) -> None:
    lay(line)
    found = json.loads(run(line, "analyse", "--lot", "L3", "--json").stdout)
    assert found["extent"]["frames"] == 10
    rejects = json.loads(run(line, "analyse", "--verdict", "REJECT", "--json").stdout)
    assert (rejects["extent"]["frames"], rejects["rates"]["overkill_among_rejects"]["value"]) == (20, 0.05)
    empty = run(line, "analyse", "--lot", "nowhere")
    assert isinstance(empty.exception, EmptySelection)
    assert "nothing selected" in str(empty.exception)
    misspelt = run(line, "analyse", "--truth-attribute", "lable").exception
    assert "--truth-attribute lable: no frame has this attribute; they have none at all" in str(misspelt)
    unknown = run(line, "analyse", "--decider", "new")
    assert isinstance(unknown.exception, SettingsError)
    assert "there are recorded" in str(unknown.exception)


@pytest.mark.broker
def test_an_empty_line_is_said(line: KafkaSettings) -> None:
    found = run(line, "analyse").exception
    assert isinstance(found, EmptySelection)
    assert "there are no decisions at all" in str(found)


def compare(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("good/1.png", "good/2.png", "crack/3.png"):
        path = tmp_path / "golden" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), random.integers(0, 255, (64, 64), np.uint8))
    return tmp_path / "golden"


def test_golden_samples_alone_decide(samples: Path) -> None:
    same = compare("--challenger", default_model_path(), "--golden", samples)
    assert same.exit_code == 0, same.output
    assert "PROMOTE" in same.stdout.splitlines()
    assert "golden samples: 1 defective, 2 good" in same.stdout
    found = compare(
        "--challenger", default_model_path().parent / "elpv_good_only", "--golden", samples, "--max-golden-overkill", 0,
        "--json",
    )  # fmt: skip
    report = json.loads(found.stdout)
    assert found.exit_code == report["exit_code"]
    assert report["golden"]["good"] == 2
    gate = {check["name"]: check["outcome"] for check in report["gate"]["checks"]}
    assert gate["golden overkill"] == ("fail" if report["golden"]["newly_overkilled"] else "pass")
    assert report["escape_rate"]["champion"] is None


def test_golden_samples_that_are_shrunk_are_said_once_a_model(samples: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in samples.rglob("*.png"):
        assert cv2.imwrite(str(path), np.zeros((64, 6000), np.uint8))
    compare("--challenger", default_model_path(), "--golden", samples)
    said = [record.getMessage() for record in caplog.records if "times fewer" in record.getMessage()]
    assert [text.partition(":")[0] for text in said] == ["golden samples, champion", "golden samples, challenger"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--golden", "GOLDEN"], "--golden needs a model"),
        (["--golden", "/nowhere", "--challenger", "MODEL"], "golden samples /nowhere"),
        (["--golden", "GOLDEN", "--challenger", "/nowhere"], "/nowhere"),
        ([], "--challenger DIR"),
    ],
)
def test_what_cannot_be_compared(samples: Path, arguments: list[str], complaint: str) -> None:
    words = {"GOLDEN": str(samples), "MODEL": str(default_model_path())}
    found = compare(*(words.get(word, word) for word in arguments))
    assert found.exit_code == 1
    assert complaint in str(found.exception)


def test_without_a_defective_golden_sample_nobody_is_promoted(samples: Path) -> None:
    (samples / "crack" / "3.png").unlink()
    found = compare("--challenger", default_model_path(), "--golden", samples)
    assert found.exit_code == 3, found.output
    assert "undecided: no golden sample is defective" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["analyse", "--html", "/nowhere/r.html"], "/nowhere is no folder"),
        (["analyse", "--html", "/"], "is a folder"),
        (["analyse", "--rows", "/nowhere/r.csv"], "/nowhere is no folder"),
        (["export", "rows", "/nowhere/r.parquet"], "/nowhere is no folder"),
        (["compare", "--challenger", "x", "--html", "/nowhere/r.html"], "/nowhere is no folder"),
        (["compare", "--challenger", "x", "--golden", "x", "--html", "r.html"], "--html shows recorded parts"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(arguments: list[str], complaint: str) -> None:
    found = CliRunner().invoke(app, [*arguments, "--bootstrap-servers", "127.0.0.1:1"])
    assert isinstance(found.exception, SettingsError)
    assert complaint in str(found.exception)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("file,truth\nx\0y.png,good\n", "row 2: file 'x\\x00y.png'"),
     (f"file,truth\n{'a' * 200_000},good\n", "field limit"),
     (f"{'a' * 200_000}\n", "field limit")],
)  # fmt: skip
def test_a_damaged_list_of_golden_samples_is_said(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "golden.csv"
    path.write_text(text)
    with pytest.raises(SettingsError, match="golden samples") as found:
        load_golden(path)
    assert complaint in str(found.value)


@pytest.mark.parametrize(
    ("file", "complaint"),
    [("/dev/zero", "not a regular file"), ("pipe.png", "not a regular file"), ("folder", "not a regular file"),
     ("../none.png", "no such file")],
)  # fmt: skip
def test_a_golden_sample_is_a_regular_file(tmp_path: Path, file: str, complaint: str) -> None:
    """Reading a pipe or a device would never end."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder").mkdir()
    path = tmp_path / "golden.csv"
    path.write_text(f"file,truth\n{file},good\n")
    with pytest.raises(SettingsError, match=f"row 2: .*{complaint}"):
        load_golden(path)


@pytest.mark.parametrize("name", ["a\nb.png", "a\r\nb.png", "a\u2028b.png", "a\x85b.png"])
def test_a_golden_sample_may_have_a_line_end_in_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    path = tmp_path / "golden.csv"
    path.write_bytes(f'file,truth\r\n"{name}",good\r\n'.encode())
    assert [sample.path for sample in load_golden(path)] == [tmp_path / name]


def test_a_wrong_usage_is_2() -> None:
    assert compare("--max-escape-increase", "2").exit_code == 2


def lay_frames(kafka: KafkaSettings, count: int = 24) -> None:
    """Frames of small images, undecided; the first three in four are labelled at random, every third as defective."""
    random = np.random.default_rng(1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for number in range(count):
        image = cv2.imencode(".png", random.integers(0, 1 + 10 * number, (48, 48), np.uint8))[1].tobytes()
        frame = Frame(
            frame_id=decision(number).frame_id, line="l", station="s", camera_id="c", started_at_us=1, sequence=number,
            captured_at_us=EPOCH_US + number, encoding=Encoding.PNG, width=48, height=48, image=image,
            sha256=hashlib.sha256(image).hexdigest(), part_id=f"P{number}",
        )  # fmt: skip
        producer.produce(kafka.frames, encode(frame), b"s/c", timestamp=EPOCH_US // 1000 + number)
    assert producer.flush(20) == 0
    publish_labels(kafka, [
        make_label(number, Verdict.NOT_OK if number % 3 == 0 else Verdict.OK, sampled_because="random")
        for number in range(count * 3 // 4)
    ])  # fmt: skip


@pytest.mark.long
@pytest.mark.broker
def test_models_are_compared_on_a_selection_and_on_a_run_alike(line: KafkaSettings, tmp_path: Path) -> None:
    lay_frames(line)
    new = str(default_model_path().parent / "elpv_good_only")
    both = ["--champion", str(default_model_path()), "--challenger", new]
    found = run(line, "compare", *both, "--json")
    report = json.loads(found.stdout)
    assert (report["parts"], report["labelled"], found.exit_code) == (24, 18, report["exit_code"])
    page = tmp_path / "selection.html"
    written = run(line, "compare", *both, "--html", str(page), "--last", "24")
    assert (written.exit_code, written.stdout.splitlines()[-1]) == (3, f"written: {page}"), written.output
    assert "Champion and challenger: champion and challenger" in page.read_text(encoding="utf-8")
    assert "Whether to promote challenger is undecided" in page.read_text(encoding="utf-8")
    assert report["exit_code"] == 3, "18 labels decide nothing"
    folder = tmp_path / "run"
    replayed = run(line, "replay", "--model", str(default_model_path()), "--challenger", f"new={new}", "--out",
                   str(folder))  # fmt: skip
    assert folder.exists(), replayed.output
    again = json.loads(
        run(line, "compare", str(folder), "--champion", "champion", "--challenger", "new", "--json").stdout
    )
    page = tmp_path / "run.html"
    run(line, "compare", str(folder), "--champion", "champion", "--challenger", "new", "--html", str(page))
    text = page.read_text(encoding="utf-8")
    assert "Champion and challenger: champion and new" in text
    assert ("Parts that are treated otherwise" in text) == bool(again["changed_total"])
    assert text.count('<img class="picture"') > 0
    for name in ("agreement", "escapes", "overkill", "escape_rate", "overkill_rate", "changed_total"):
        assert again[name] == report[name]
    analysis = json.loads(run(line, "analyse", str(folder), "--decider", "new", "--json").stdout)
    assert (analysis["decider"], analysis["extent"]["inspected"]) == ("new", 24)
    assert analysis["rates"]["escape_rate"]["value"] == pytest.approx(report["escape_rate"]["challenger"])
    part = json.loads(run(line, "compare", *both, "--part", "P3", "--json").stdout)
    assert (part["parts"], part["labelled"]) == (1, 1)
    lenient = run(
        line, "compare", *both, "--min-labels", "1", "--max-escape-increase", "1", "--max-overkill-increase", "1"
    )
    assert lenient.exit_code == 0, lenient.output
    text = run(line, "compare", str(folder), "--challenger", "new").stdout
    assert "0 parts inspected by both" in text
    (folder / "finished.json").unlink()
    stopped = run(line, "analyse", str(folder)).stdout
    assert "! the run was stopped before its end" in stopped
    assert "the run was stopped before its end" in run(line, "compare", str(folder), "--json").stdout
    both_ways = run(line, "analyse", str(folder), "--part", "P3").exception
    assert isinstance(both_ways, SettingsError)
    assert isinstance(run(line, "compare", *both, "--part", "nowhere").exception, EmptySelection)

"""`inspection quality` and `inspection review`, on what the topics hold."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from monitoring.quality.sampling import hash_share
from operations import make_label, publish_labels
from schemas import Action, DriftEvent, DriftKind, DriftType, EpisodeState, KafkaSettings, Verdict
from schemas.errors import BrokerUnavailable, SettingsError
from schemas.ids import frame_id
from tests.support.quality_lines import EPOCH_US, decision, publish, run


@pytest.mark.broker
def test_labels_of_the_command_are_found(line: KafkaSettings) -> None:
    decisions = [decision(number, Action.REJECT if number % 10 == 9 else Action.ACCEPT) for number in range(200)]
    publish(line, line.decisions, [*decisions, decisions[0], b"garbage", replace(decisions[1], is_simulated=True)])
    accepted = [one.frame_id for one in decisions if one.action is Action.ACCEPT]
    for frames, options in (
        (accepted[:58], ["--truth", "good", "--because", "random"]),
        (accepted[58:60], ["--truth", "defective", "--defect", "crack", "--because", "random"]),
        ([one.frame_id for one in decisions if one.action is Action.REJECT], ["--truth", "nok", "--defect", "stain"]),
    ):
        assert run(line, "label", *frames, *options).exit_code == 0
    assert run(line, "label", "--part", "P9", "--camera", "s/c", "--truth", "good").exit_code == 0  # a newer one
    assert run(line, "label", "--part", "P999", "--camera", "s/c", "--truth", "good").exit_code == 0
    result = run(line, "quality")
    assert result.exception is None, result.exception
    assert result.stdout.splitlines() == [
        "s/c: 200 parts, 80 labelled, 2 escapes, 1 overkill",
        "  escape rate        24.00% (6.12% to 49.40%), 80 labels: bad",
        "  accepted defective 3.33% (0.92% to 11.36%), 60 labels",
        "  overkill rate      0.57% (0.56% to 0.62%), 80 labels: good",
        "  rejected good      5.00% (0.89% to 23.61%), 20 labels",
        "  accuracy           96.50% (90.23% to 98.88%), 80 labels",
        "s/c: 1 labels have no decision in this time",
        "1 messages could not be read",
    ]
    report = json.loads(run(line, "quality", "--by", "class", "--json").stdout)
    assert {row["name"]: row["escapes"] for row in report["figures"]} == {"crack": 2, "stain": 0}
    assert report["cameras"]["s/c"]["shadow_decisions"] == 1
    assert report["alarms"] == []
    # A range is of decisions: 100 of them, and the labels that came since.
    begin, end = (datetime.fromtimestamp(EPOCH_US / 1e6 + after_s, UTC).isoformat() for after_s in (0, 100))
    part = json.loads(run(line, "quality", "--from", begin, "--to", end, "--json").stdout)
    assert (part["figures"][0]["parts"], part["figures"][0]["labelled"]) == (100, 70)
    assert "no decisions and labels there" in run(line, "quality", "--camera", "s/other").stdout


@pytest.mark.broker
def test_without_random_labels_escapes_are_not_guessed(line: KafkaSettings) -> None:
    publish(line, line.decisions, [decision(0), decision(1, Action.REJECT)])
    assert run(line, "label", decision(1).frame_id, "--truth", "bad").exit_code == 0
    shown = run(line, "quality").stdout
    assert "  escape rate        cannot be estimated: no accepted part was labelled at random" in shown


@pytest.mark.long
@pytest.mark.broker
def test_a_rise_of_the_errors_is_shown_with_its_begin(line: KafkaSettings) -> None:
    chance = random.Random(1)
    decisions = [decision(number) for number in range(1200)]
    wrong = [chance.random() < (0.02 if number < 800 else 0.4) for number in range(1200)]
    labels = [
        make_label("bad" if wrong[number] else "good", frame_id=one.frame_id, station="s", camera_id="c",
                   labelled_by="eol", labelled_at_us=EPOCH_US + number, sampled_because="random")
        for number, one in enumerate(decisions)
    ]  # fmt: skip
    chance.shuffle(labels)
    publish_labels(line, labels)
    publish(line, line.decisions, decisions)
    [alarm] = json.loads(run(line, "quality", "--json").stdout)["alarms"]
    assert alarm["side"] == "escapes"
    assert 780 <= int(alarm["started_frame_id"].rpartition(".")[2]) <= 820
    assert int(alarm["detected_frame_id"].rpartition(".")[2]) < 900
    assert "s/c: escapes rose from" in run(line, "quality").stdout


@pytest.mark.long
@pytest.mark.broker
def test_what_is_worth_a_label_comes_back_as_labels(line: KafkaSettings, tmp_path: Path) -> None:
    numbers = [n for n in range(500) if hash_share(frame_id("s", "c", 1, n), "random") >= 0.02]
    drawn = [n for n in range(500) if n not in numbers]
    near, nearer, clear, labelled = numbers[:4]
    scores = {near: 0.46, nearer: 0.49, clear: 0.1, labelled: 0.495}
    sent = [decision(number, score=score) for number, score in scores.items()]
    sent += [decision(drawn[0]), decision(drawn[1]), decision(drawn[2], Action.REJECT), sent[0]]
    sent += [replace(decision(numbers[4], score=0.499), model_stage="challenger")]  # no gate acted on it
    publish(line, line.decisions, sent)
    for number in (labelled, drawn[1], drawn[2]):
        assert run(line, "label", decision(number).frame_id, "--truth", "good", "--because", "complaint").exit_code == 0
    options = ("--random-share", "0.02", "--band", "0.05")
    rows = json.loads(run(line, "review", *options, "--json").stdout)["frames"]
    # What was drawn blindly and accepted is asked for though a complaint has labelled it; what was rejected is not.
    assert [row["frame_id"] for row in rows] == [
        decision(number).frame_id for number in (drawn[1], drawn[0], nearer, near)
    ]
    assert [row["sampled_because"] for row in rows] == ["random", "random", "near-threshold", "near-threshold"]
    assert len(run(line, "review", *options, "--limit", "3").stdout.splitlines()) == 3
    table = list(csv.DictReader(io.StringIO(run(line, "review", *options, "--csv").stdout)))
    for row in table[:3]:
        row["truth"] = "defective"
    path = tmp_path / "look.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    filled = run(line, "label", "--csv", str(path))
    assert filled.stdout == "3 labels published, 1 rows without a truth left out\n", filled.exception
    rows = json.loads(run(line, "review", *options, "--json").stdout)["frames"]
    assert [row["frame_id"] for row in rows] == [decision(near).frame_id]
    found = json.loads(run(line, "quality", "--json").stdout)["figures"][0]
    assert found["escapes_among_accepts"]["labels"] == 2


@pytest.mark.broker
def test_frames_of_an_episode(line: KafkaSettings) -> None:
    decisions = [decision(number) for number in range(400)]
    event = DriftEvent(
        event_id="e", episode_id="e", state=EpisodeState.CLOSED, drift_type=DriftType.DATA, kind=DriftKind.SUDDEN,
        line="l", station="s", camera_id="c", reason="", started_frame_id="", detected_frame_id="", detected_at_us=0,
        started_at_us=decisions[100].captured_at_us, closed_at_us=decisions[299].captured_at_us, emitted_at_us=0,
        model_name="", model_version="", model_sha256="", recipe_id="", recipe_revision="", source_topic="",
        source_partition=0, source_offset=0,
    )  # fmt: skip
    publish(line, line.decisions, decisions)
    publish(
        line, line.drift, [event, replace(event, event_id="x", episode_id="x", camera_id="other", closed_at_us=None)]
    )
    rows = json.loads(run(line, "review", "--random-share", "0", "--json").stdout)["frames"]
    numbers = [int(row["frame_id"].rpartition(".")[2]) for row in rows]
    assert numbers
    assert {row["sampled_because"] for row in rows} == {"episode"}
    assert all(100 <= number < 300 for number in numbers)
    part = f"P{numbers[0]}"
    label = make_label(Verdict.OK, part_id=part, station="s", camera_id="c", labelled_by="ada", labelled_at_us=1)
    publish_labels(line, [label])
    assert len(json.loads(run(line, "review", "--random-share", "0", "--json").stdout)["frames"]) == len(rows) - 1


@pytest.mark.parametrize("command", ["quality", "review"])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--last", "soon"], SettingsError, "as in 90s"),
        (["--last", "5m", "--from", "2026-01-01"], SettingsError, "stands alone"),
        (["--from", "2026-01-02", "--to", "2026-01-01"], SettingsError, "not before"),
        (["--bootstrap-servers", "127.0.0.1:9"], BrokerUnavailable, "127.0.0.1:9"),
    ],
)
def test_mistakes_are_errors_of_one_line(
    command: str, arguments: list[str], error: type[Exception], message: str
) -> None:
    result = CliRunner().invoke(app, [command, *arguments])
    assert isinstance(result.exception, error), result.output
    assert message in str(result.exception)


@pytest.mark.broker
def test_cameras_that_somebody_invents_take_no_memory(line: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.quality_report.MAX_CAMERAS", 3)
    publish(line, line.decisions, [decision(number, camera_id=f"c{number}") for number in range(10)])
    report = json.loads(run(line, "quality", "--json").stdout)
    assert (len(report["cameras"]), report["left_out"]) == (3, 7)
    assert "7 messages of further cameras are left out" in run(line, "quality").stdout
    report = json.loads(run(line, "quality", "--camera", "s/c9", "--json").stdout)
    assert (list(report["cameras"]), report["left_out"]) == (["s/c9"], 0)

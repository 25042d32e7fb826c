"""`inspection replay` on a line that a real worker has decided."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from infra.cli.root import app
from infra.demo.processes import inspection_command
from models import default_model_path
from models.manifest_file import ManifestFile
from replay.past.resolved_selection import EmptySelection, ResolvedSelection
from replay.past.selection import Selection
from replay.past.source import Source
from replay.reinspect.run import check_there, plan
from replay.reinspect.run_folder import RunError, RunFolder, RunProgress
from replay.reinspect.summary import Summary
from replay.reinspect.variants import Variant, load
from schemas import Action, KafkaSettings, ResultState, Verdict
from schemas.codec import encode
from schemas.errors import SettingsError
from schemas.topics import TOPICS
from tests.support.decided_lines import FRAMES, Decided
from tests.support.past import make_frame
from transport.topic_ranges import watermarks

pytestmark = pytest.mark.broker


def options(kafka: KafkaSettings) -> list[str]:
    return ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]


def replay(decided: Decided, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["replay", *options(decided.kafka), *arguments])


def summary(result: Result) -> dict[str, Any]:
    assert result.exception is None, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def ends(kafka: KafkaSettings) -> dict[str, Any]:
    """End offsets of all topics of the line, and what the workers' group has committed."""
    found: dict[str, Any] = {topic.suffix: watermarks(kafka, topic.name(kafka.prefix)) for topic in TOPICS}
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": kafka.prefix, "log_level": 0})
    committed = consumer.committed([TopicPartition(kafka.frames, number) for number in range(6)], 10)
    found["committed"] = [each.offset for each in committed]
    consumer.close()
    return found


def test_every_decision_is_reproduced_and_the_line_is_not_touched(decided: Decided) -> None:
    before = ends(decided.kafka)
    said = summary(replay(decided, "--json"))
    assert (said["selected"], said["inspected"], said["unreadable"]) == (FRAMES + 1, FRAMES, 1)
    # One was shed: its load and clock are not the replay's.
    assert said["variants"]["champion"]["likeness"] == {"same": FRAMES - 1, "not-inspected-then": 1}
    assert (said["different"], said["compared"], said["first"]) == (0, FRAMES - 1, [])
    assert said["variants"]["champion"]["failed"] == 3
    assert ends(decided.kafka) == before
    text = replay(decided).stdout
    assert f"every one of {FRAMES - 1} comparable decisions is reproduced" in text


def test_another_threshold_changes_what_its_score_says(decided: Decided, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = summary(replay(decided, "--threshold", "0.2", "--threshold", "0.9", "--out", str(out), "--json"))
    folder = RunFolder.open(out)
    assert folder.variants == ("champion", "champion@0.2", "champion@0.9")
    frames = list(folder.frames())
    assert len(frames) == FRAMES
    assert len({frame.position for frame in frames}) == FRAMES
    changed = 0
    for frame in frames:
        as_is, low, high = frame.replayed
        assert frame.recorded is not None
        assert as_is.score == low.score == high.score
        for other, threshold in ((low, 0.2), (high, 0.9)):
            assert other.recipe_revision != as_is.recipe_revision
            if other.result_state is not ResultState.COMPLETED or other.score is None:
                continue
            assert other.threshold == threshold
            assert other.verdict is (Verdict.NOT_OK if other.score >= threshold else Verdict.OK)
            if not 0.4 <= other.score <= 0.6:  # the review band stays
                assert other.action is (Action.REJECT if other.score >= threshold else Action.ACCEPT)
            changed += frame.recorded.result_state is ResultState.COMPLETED and other.verdict is not as_is.verdict
    counted = sum(sum(said["variants"][name]["verdicts"].values()) for name in folder.variants[1:])
    assert changed == counted > 0
    assert said["variants"]["champion"]["verdicts"] == {}
    assert said["variants"]["champion@0.2"]["likeness"] == {"other-model": FRAMES}


def test_a_model_that_decides_otherwise_under_the_same_name_is_found_out(decided: Decided, tmp_path: Path) -> None:
    """As from a worker whose decisions are not those of its model and recipe."""
    package = tmp_path / "package"
    shutil.copytree(default_model_path(), package)
    manifest = ManifestFile.read(package / "manifest.yaml").manifest
    # The name is not among what the recipe's revision covers, so it is the same recipe to all that compare.
    text = (package / "manifest.yaml").read_text(encoding="utf-8")
    (package / "manifest.yaml").write_text(text.replace(f"name: {manifest.name}", "name: renamed", 1), encoding="utf-8")
    result = replay(decided, "--model", str(package))
    assert result.exit_code == 1
    assert f"NOT REPRODUCED: {FRAMES - 1} of {FRAMES - 1}" in result.stdout
    assert f"model_name '{manifest.name}' -> 'renamed'" in result.stdout
    assert replay(decided, "--model", str(package), "--tolerate-differences").exit_code == 0


def test_an_empty_selection_says_what_there_is(decided: Decided, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    nowhere = ["--camera", "no/where", "--out"]
    for arguments in (
        ["--to", "2001-01-01T00:00Z"], [*nowhere, str(tmp_path / "run")], [*nowhere, str(tmp_path / "link")],
    ):  # fmt: skip
        result = replay(decided, *arguments)
        assert isinstance(result.exception, EmptySelection)
        assert "decidedline.frames has frames from 20" in str(result.exception)
    assert not (tmp_path / "run").exists()
    assert list((tmp_path / "disk").iterdir()) == []


def rows(path: Path) -> list[tuple[Any, ...]]:
    """Without what two runs never share: the times."""
    times = ("received_at_us", "decided_at_us", "durations_ms", "is_late")
    found = []
    for frame in RunFolder.open(path).frames():
        decisions = [{n: repr(getattr(d, n)) for n in d.__slots__ if n not in times} for d in frame.replayed]
        found.append((frame.position, frame.timestamp_us, frame.recorded, decisions))
    return sorted(found, key=lambda row: row[0])


@pytest.mark.long
def test_killed_and_gone_on_with_it_is_as_in_one_go(decided: Decided, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = summary(replay(decided, "--threshold", "0.3", "--out", str(whole), "--json"))
    command = inspection_command(
        "replay", *options(decided.kafka), "--threshold", "0.3", "--out", str(broken), "--threads", "1",
        "--max-mib-s", "0.4", "--part-s", "0.1",
    )  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (broken / "rows-000000.avro").exists():
        assert process.poll() is None, "it was too quick to be killed"
        assert time.monotonic() < until
        time.sleep(0.005)
    refused = replay(decided, "--resume", str(broken)).exception
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert isinstance(refused, RunError)
    assert "another process is at work" in str(refused)
    (broken / ".rows-000009.avro.part").write_bytes(b"half")  # what a kill in the middle of a write leaves
    done = len(rows(broken))
    assert 0 < done < FRAMES
    result = summary(replay(decided, "--resume", str(broken), "--json"))
    for name in ("selected", "inspected", "recorded", "variants", "different"):
        assert result[name] == expected[name]
    assert rows(broken) == rows(whole)
    # Once more it only says what there is.
    again = summary(replay(decided, "--resume", str(broken), "--json"))
    assert (again["selected"], again["frames_per_second"]) == (FRAMES + 1, 0)


@pytest.mark.long
def test_interrupted_it_writes_what_is_done(decided: Decided, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = inspection_command(
        "replay", *options(decided.kafka), "--out", str(out), "--max-mib-s", "0.6", "--part-s", "0.1"
    )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (out / "rows-000000.avro").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert f"go on with: inspection replay --resume {out}" in err
    assert "Traceback" not in err
    assert summary(replay(decided, "--resume", str(out), "--json"))["selected"] == FRAMES + 1


def test_a_model_that_has_changed_is_refused(decided: Decided, tmp_path: Path) -> None:
    package, out = tmp_path / "package", tmp_path / "run"
    shutil.copytree(default_model_path(), package)
    assert replay(decided, "--model", str(package), "--out", str(out), "--json").exit_code == 0
    (out / "finished.json").unlink()
    manifest = package / "manifest.yaml"
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace("threshold: 0.5", "threshold: 0.6"), encoding="utf-8"
    )
    result = replay(decided, "--resume", str(out))
    assert isinstance(result.exception, RunError)
    assert "variant 'champion' has changed since the run began (recipe_revision" in str(result.exception)
    for arguments in (["--last", "5"], ["--threshold", "0.3"]):
        assert isinstance(replay(decided, "--resume", str(out), *arguments).exception, SettingsError)
    assert isinstance(replay(decided, "--out", str(out)).exception, SettingsError)


@pytest.mark.long
def test_what_was_meant_when_a_run_began_is_meant_when_it_goes_on(decided: Decided) -> None:
    source = Source(decided.kafka)
    for selection in (Selection(last=20), Selection(decided_as=("NOT_DECIDABLE",)), Selection(cameras=("press/top",))):
        with ResolvedSelection(source, selection) as first:
            places = [found.position for found, _ in first.frames()]
            with ResolvedSelection(source, first.effective_selection, offsets=first.offsets) as again:
                pairs = list(again.frames())
                # Each partition comes in order; the order of partitions is that of the broker's answers.
                assert sorted(found.position for found, _ in pairs) == sorted(places) != []
                assert (again.ranges, again.offsets) == (first.ranges, first.offsets)
                assert [found.value for found, decision in pairs if decision is None] == [
                    each.value for each, _ in pairs if each.value == b"garbage"
                ]
            # Newer messages than those that were meant are none of it.
            fewer = {number: spans for number, spans in first.offsets.items() if number == places[0].partition}
            with ResolvedSelection(source, first.effective_selection, offsets=fewer) as part:
                assert {found.position for found, _ in part.frames()} == {p for p in places if p.partition in fewer}


def test_what_is_not_there_any_more_is_no_end_of_a_run(line: KafkaSettings, tmp_path: Path) -> None:
    """Retention took frames that the run had not read: it would end with less than in one go."""
    out = tmp_path / "run"
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for number in range(6):
        producer.produce(line.frames, encode(make_frame(number)), "press/top", partition=number % 2)
    assert producer.flush(20) == 0
    source = Source(line)
    loaded = load([Variant("champion", None)])
    with ResolvedSelection(source, Selection()) as resolved:
        folder = RunFolder.create(out, plan(resolved, source, loaded))
        summary_of_one = Summary(folder.variants)
        folder.add([], RunProgress({0: 2, 1: 0}, summary_of_one))
    admin = AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})

    def delete(partition: int, before: int) -> None:
        for done in admin.delete_records([TopicPartition(line.frames, partition, before)]).values():
            done.result(20)

    delete(0, 2)  # has been read
    check_there(folder, source)
    delete(1, 1)
    result = CliRunner().invoke(app, ["replay", *options(line), "--resume", str(out)])
    assert isinstance(result.exception, RunError)
    assert f"1 offsets that are left of the run are not there any more, the first is {line.frames}-1@0" in str(
        result.exception
    )


def test_a_speed_of_nothing(decided: Decided) -> None:
    result = replay(decided, "--last", "1", "--speed", "10x")
    assert isinstance(result.exception, SettingsError)
    assert "--speed is for --to-topic" in str(result.exception)


def test_where_nobody_looks_the_bar_leaves_nothing(decided: Decided) -> None:
    assert replay(decided, "--last", "1", "--json").stderr == ""

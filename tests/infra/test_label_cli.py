"""`inspection label`: what people type, and what comes of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.root import app
from operations import LabelError
from operations.labels.csv_file import LabelFileError, labels_from_csv
from replay import read_topic
from schemas import Codec, KafkaSettings, Label, Verdict
from schemas.errors import BrokerUnavailable, SettingsError
from schemas.ids import frame_id

FRAMES = [frame_id("press", "top", 1, number) for number in range(3)]


def run(kafka: KafkaSettings, *arguments: str) -> Result:
    options = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    return CliRunner().invoke(app, ["label", *options, *arguments])


def published(kafka: KafkaSettings) -> list[Label]:
    codec = Codec.from_settings(kafka)
    messages = read_topic(kafka, kafka.labels)
    return [codec.decode(message.value, Label) for message in messages]


@pytest.mark.broker
def test_frames_and_parts(line: KafkaSettings) -> None:
    result = run(line, *FRAMES, "--truth", "defective", "--defect", "crack", "--because", "random", "--by", "ada")
    assert result.stdout == "3 labels published\n", result.output
    assert run(line, "--part", "P-7", "--camera", "press/top", "--truth", "good", "--note", "seen").exit_code == 0
    *frames, part = published(line)
    assert [one.frame_id for one in frames] == FRAMES
    assert {(one.truth, one.defect, one.sampled_because, one.labelled_by, one.key) for one in frames} == {
        (Verdict.NOT_OK, "crack", "random", "ada", "press/top")
    }
    assert (part.part_id, part.frame_id, part.truth, part.note) == ("P-7", None, Verdict.OK, "seen")
    assert part.labelled_by


@pytest.mark.broker
def test_of_a_file_all_or_nothing(line: KafkaSettings, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    rows = [f"{FRAMES[0]},good", f"{FRAMES[1]},perhaps", f"{FRAMES[2]},"]
    path.write_text("\n".join(["frame_id,truth", *rows]))
    assert run(line, FRAMES[2], "--truth", "good").exit_code == 0
    result = run(line, "--csv", str(path), "--json")
    assert isinstance(result.exception, SettingsError)
    assert "1 bad rows, nothing published" in str(result.exception)
    assert f"{path}, line 3: truth 'perhaps'" in result.stderr
    assert [one.frame_id for one in published(line)] == FRAMES[2:]
    result = run(line, "--csv", str(path), "--skip-bad", "--by", "ada", "--because", "reject")
    assert result.stdout == "1 labels published, 1 bad rows and 1 rows without a truth left out\n"
    result = run(line, "--csv", str(path), "--skip-bad", "--by", "ada", "--because", "reject", "--json")
    assert json.loads(result.stdout)["published"] == 1
    _, first, again = published(line)
    assert first == again  # the same label: whoever reads them counts one
    assert (first.labelled_by, first.sampled_because) == ("ada", "reject")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], SettingsError, "nothing to label"),
        ([FRAMES[0]], SettingsError, "--truth: good or defective"),
        ([FRAMES[0], "--truth", "so so"], LabelError, "truth 'so so'"),
        ([FRAMES[0], "--truth", "good", "--camera", "press"], SettingsError, "as station/camera"),
        ([FRAMES[0], "--truth", "good", "--camera", "press/side"], LabelError, "not of press/side"),
        (["P-7", "--truth", "good"], LabelError, "does not say which camera"),
        (["--part", "P-7", "--truth", "good"], SettingsError, "name the camera too"),
        ([FRAMES[0], "--part", "P-7", "--truth", "good"], SettingsError, "one way at a time"),
        (["--csv", "/nowhere.csv"], SettingsError, "No such file"),
        (["--csv", "/nowhere.csv", "--truth", "good"], SettingsError, "are in the file"),
        ([FRAMES[0], "--truth", "good", "--bootstrap-servers", "127.0.0.1:9"], BrokerUnavailable, "127.0.0.1:9"),
    ],
)
def test_mistakes_are_errors_of_one_line(arguments: list[str], error: type[Exception], message: str) -> None:
    result = CliRunner().invoke(app, ["label", *arguments])
    assert isinstance(result.exception, error), result.output
    assert message in str(result.exception)


@pytest.mark.parametrize("first", ["x" * 200_000, f"frame_id,{'x' * 200_000}"], ids=["one word", "a long name"])
def test_a_first_line_without_an_end_is_an_error_of_one_line(tmp_path: Path, first: str) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with pytest.raises(SettingsError, match="is not a regular file"):
        list(labels_from_csv(pipe))
    path = tmp_path / "long.csv"
    path.write_text(f"{first}\na,b\n", encoding="utf-8")
    with pytest.raises(LabelFileError, match="line 1") as caught:
        list(labels_from_csv(path))
    assert len(str(caught.value)) < 500

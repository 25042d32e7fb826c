"""`inspection produce` as a person meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import typer
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from infra.cli.line.produce import ProduceFailed, produce
from infra.demo.processes import inspection_command
from schemas.errors import BrokerUnavailable, PluginError, SettingsError
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES
from transport.admin import list_topics

app = typer.Typer()
app.command()(produce)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def at(line: KafkaSettings) -> tuple[str, ...]:
    return ("--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--camera", "foldr:x"], PluginError, "did you mean"),
        (["--camera", "synthetic", "--option", "seed"], SettingsError, "as in seed=7"),
        *(
            (
                ["--camera", "synthetic", "--fps", fps],
                SettingsError,
                rf"--fps {fps}.*: from one frame a day \(0.0000116\) to",
            )
            for fps in ("0", "1e-05", "1e-300", "2000000", "nan", "inf", "-1")
        ),
        (["--camera", "synthetic", "--deadline-ms", "9999999999999"], SettingsError, "ms: from 1 to 2147483647"),
        (["--camera", "synthetic", "--station", "a b"], SettingsError, "letters"),
        (["--camera", "synthetic", "--camera", "synthetic", "--camera-id", "a"], SettingsError, "2 different names"),
        (
            ["--camera", "synthetic", "--spool", "off", "--bootstrap-servers", "127.0.0.1:9"],
            BrokerUnavailable,
            "127.0.0.1:9",
        ),
    ],
)
def test_mistakes_are_errors_of_one_line(arguments: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.broker
def test_two_cameras_share_the_cells(line: KafkaSettings) -> None:
    out = run("--camera", "elpv", "--camera", "elpv", "--frames", "20", "--json", *at(line))
    summary = json.loads(out)
    assert summary["captured"] == 40
    assert [row["published"] for row in summary["cameras"]] == [20, 20]
    assert [row["name"] for row in summary["cameras"]] == ["station-1/camera-1", "station-1/camera-2"]


@pytest.mark.broker
def test_files_without_a_rate_wait_and_none_is_lost(line: KafkaSettings, tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number:03}.png").write_bytes(b"x" * 50_000)
    assert "300 captured, 300 published, 0 dropped, 0 failed" in run("--camera", f"folder:{tmp_path}", *at(line))


@pytest.mark.broker
def test_a_failing_camera_is_a_failure_and_the_other_goes_on(line: KafkaSettings, tmp_path: Path) -> None:
    with pytest.raises(ProduceFailed, match="no PNG, JPEG"):
        run("--camera", f"folder:{tmp_path}", "--camera", "synthetic", "--frames", "3", *at(line))


def test_metrics_are_served_while_it_runs(tmp_path: Path) -> None:
    arguments = ["--camera", "synthetic", "--fps", "50", "--bootstrap-servers", "127.0.0.1:9", "--http-port", "0"]
    command = inspection_command("produce", *arguments, "--spool-dir", str(tmp_path))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "metrics at" in line)
            deadline = time.monotonic() + 20
            text = ""
            expected = ('captured_total{camera="station-1/camera-1"}', "spool_frames{")
            while not all(f"inspection_producer_{each}" in text for each in expected) and time.monotonic() < deadline:
                time.sleep(0.2)
                with urllib.request.urlopen(line.split()[-1], timeout=5) as answer:
                    text = answer.read().decode()
        finally:
            process.kill()
    assert [each for each in expected if f"inspection_producer_{each}" not in text] == []


@pytest.mark.broker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(line: KafkaSettings, number: signal.Signals) -> None:
    code = "import typer; from infra.cli.line.produce import produce; typer.run(produce)"
    command = [sys.executable, "-c", code, "--camera", "synthetic", "--fps", "50", "--json", *at(line)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            await_frames(line, 21)
            process.send_signal(number)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    row = json.loads(out)["cameras"][0]
    assert process.returncode == 0
    assert row["captured"] == row["published"] > 20
    assert (row["pending"], row["started_at_us"] // 10**15) == (0, 1)
    assert line.frames in list_topics(line)


def await_frames(line: KafkaSettings, count: int) -> None:
    """Wait until the topic of frames holds ``count`` frames."""
    consumer = Consumer({"bootstrap.servers": line.bootstrap_servers, "group.id": line.prefix, "log_level": 0})
    deadline = time.monotonic() + 60
    found = 0
    try:
        consumer.assign([TopicPartition(line.frames, number, 0) for number in range(FRAMES.partitions)])
        while found < count:
            assert time.monotonic() < deadline, "the frames do not come"
            found += sum(message.error() is None for message in consumer.consume(count, 0.2))
    finally:
        consumer.close()

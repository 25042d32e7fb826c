"""The demo: the main job, end to end, as a user starts it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from rich.console import Console

from infra.demo.counts import DemoCounts, DemoQuality
from infra.demo.processes import inspection_command
from infra.demo.result import DemoResult, GateResult, summary
from schemas import Action, Decision, KafkaSettings, ResultState, Verdict


def run(*arguments: str, timeout_s: float = 150) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        inspection_command(*arguments), capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Callable[[], set[int]]:
    """Return a function that finds the brokers, workers and watches started by demos of this test."""
    name, value = "INSPECTION_DEMO_TEST", uuid.uuid4().hex
    monkeypatch.setenv(name, value)

    def find() -> set[int]:
        found = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                program = "infra.cli.root" in line and re.search(" (worker|watch|gateway) ", line)
                is_part = "kafka.Kafka" in line or program
                if is_part and process.environ().get(name) == value:
                    found.add(process.pid)
        return found

    return find


@pytest.mark.alone
@pytest.mark.broker
def test_the_demo_accounts_for_every_frame_and_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: Callable[[], set[int]]
) -> None:
    # A proxy that does not exist: the demo must not ask it for its own worker.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    result, journal = tmp_path / "result.json", tmp_path / "gate.jsonl"
    done = run("demo", "--frames", "90", "--json", str(result), "--journal", str(journal))
    assert done.returncode == 0, done.stderr
    assert "every frame accounted for" in done.stdout
    report: dict[str, Any] = json.loads(result.read_text())
    assert report["frames_published"] == report["decisions"] == 90
    assert report["unaccounted"] == report["drops_counted"] == report["dead_letters"] == 0
    assert report["accepted"] + report["rejected"] + report["review"] == 90
    assert report["quality"]["labelled"] == 90
    assert report["quality"]["accuracy"] > 0.7
    assert report["gate"]["actuated"] == 90
    assert report["gate"]["conflicts"] == 0
    assert set(report["latency_ms"]["capture_to_decision"]) == {"p50", "p95", "p99", "max"}
    assert report["model"]["name"] == "elpv-cells"
    parts = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len({(part["camera_id"], part["part_key"]) for part in parts}) == 90
    assert not ours()


@pytest.mark.long
@pytest.mark.broker
def test_a_folder_of_anything_is_answered(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, suffix in enumerate([".png", ".jpg", ".bmp", ".tiff", ".jpeg", ".tif"]):
        size = (int(rng.integers(1, 900)), int(rng.integers(1, 900)), 3)
        cv2.imwrite(str(folder / f"good{index}{suffix}"), rng.integers(0, 255, size, dtype=np.uint8))
    cv2.imwrite(str(folder / "deep.png"), rng.integers(0, 65535, (64, 80), dtype=np.uint16))
    (folder / "corrupt.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("not an image")
    result = tmp_path / "result.json"
    done = run("demo", "--folder", str(folder), "--fps", "0", "--json", str(result))
    assert done.returncode == 0, done.stderr
    report = json.loads(result.read_text())
    assert report["frames_published"] == report["decisions"] == 9
    assert report["dead_letters"] == report["not_decidable"] == 2
    assert report["shed"] == 0
    assert report["unaccounted"] == 0
    assert report["quality"] == {"labelled": 0, "accuracy": None, "escapes": 0, "overkill": 0}


@pytest.mark.long
@pytest.mark.broker
def test_a_camera_that_freezes_is_noticed(tmp_path: Path, ours: Callable[[], set[int]]) -> None:
    result = tmp_path / "result.json"
    options = ["--drift", "frozen", "--cameras", "2", "--frames", "160", "--fps", "40", "--json", str(result)]
    done = run("demo", *options)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(result.read_text())
    drift = report["drift"]
    assert (drift["scenario"], drift["camera_id"], drift["cause"]) == ("frozen", "cam1", "frozen")
    # The fifth equal frame to come is the alarm; neighbours may change places on their way.
    assert 3 <= drift["delay_frames"] <= 12
    assert (drift["early_alarms"], drift["other_alarms"]) == (0, 0)
    assert drift["changed_frame_id"].endswith("00000040")
    assert f"noticed after {drift['delay_frames']} frames" in done.stdout
    [opened] = [event for event in report["drift_events"] if event["state"] == "OPENED"]
    assert {name: opened[name] for name in ("changed_frame_id", "alarm_frame_id")}.items() <= drift.items()
    assert report["unaccounted"] == report["shed"] == 0
    assert not ours()


@pytest.mark.long
@pytest.mark.broker
def test_cameras_that_ask_over_http(tmp_path: Path, ours: Callable[[], set[int]]) -> None:
    result, journal = tmp_path / "result.json", tmp_path / "gate.jsonl"
    options = ["--gateway", "--frames", "60", "--fps", "0", "--json", str(result), "--journal", str(journal)]
    done = run("demo", *options)
    assert done.returncode == 0, done.stderr
    assert "60 requests: " in done.stdout
    assert "every frame accounted for" in done.stdout
    report: dict[str, Any] = json.loads(result.read_text())
    # At full speed a decision may come after its deadline: 504, with the decision inside.
    assert set(report["http"]["by_status"]) <= {"200", "504"}
    assert sum(report["http"]["by_status"].values()) == report["http"]["requests"] == 60
    assert report["frames_published"] == report["decisions"] == report["quality"]["labelled"] == 60
    assert report["unaccounted"] == report["drops_counted"] == report["dead_letters"] == 0
    assert report["shed"] <= report["http"]["by_status"].get("504", 0)
    assert report["gate"]["actuated"] == 60
    assert report["gate"]["conflicts"] == 0
    parts = [json.loads(line) for line in journal.read_text().splitlines()]
    assert {part["camera_id"] for part in parts} == {"cam1--demo--0", "cam2--demo--0", "cam3--demo--0"}
    assert not ours()


@pytest.mark.long
@pytest.mark.broker
def test_a_frozen_camera_is_noticed_over_http_and_other_files_are_refused(
    tmp_path: Path, ours: Callable[[], set[int]]
) -> None:
    result = tmp_path / "result.json"
    options = ["--drift", "frozen", "--cameras", "2", "--frames", "160", "--fps", "40", "--json", str(result)]
    done = run("demo", "--gateway", *options)
    assert done.returncode == 0, done.stderr
    drift = json.loads(result.read_text())["drift"]
    assert (drift["camera_id"], drift["cause"]) == ("cam1--demo--0", "frozen")
    assert 3 <= drift["delay_frames"] <= 12
    folder = tmp_path / "mixed"
    folder.mkdir()
    cv2.imwrite(str(folder / "good.png"), np.zeros((64, 80), np.uint8))
    (folder / "empty.png").touch()
    done = run("demo", "--gateway", "--folder", str(folder), "--fps", "0", "--json", str(result))
    assert done.returncode == 0, done.stderr
    report = json.loads(result.read_text())
    assert report["http"]["by_status"].pop("415") == 1
    assert report["http"]["by_status"] in ({"200": 1}, {"504": 1})  # a busy machine decides too late
    assert (report["frames_published"], report["drops_counted"], report["unaccounted"]) == (1, 1, 0)
    assert not ours()


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--drift", "earthquake"], 2, "'exposure', 'blur'"),
        (["--drift", "product-change", "--folder", "."], 1, "not with --folder"),
    ],
)
def test_drift_options_that_do_not_fit(options: list[str], status: int, message: str) -> None:
    done = run("demo", *options)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.broker
def test_on_a_broker_of_the_users_it_leaves_no_topics(broker: Any, tmp_path: Path) -> None:
    from transport.admin import list_topics

    before = set(list_topics(KafkaSettings(broker.bootstrap_servers)))
    done = run("demo", "--frames", "12", "--fps", "0", "--bootstrap-servers", broker.bootstrap_servers)
    assert done.returncode == 0, done.stderr
    left = set(list_topics(KafkaSettings(broker.bootstrap_servers))) - before - {"__consumer_offsets"}
    assert not left


ERRORS = {
    "no such folder": (["demo", "--folder", "/no/such/folder"], "no folder /no/such/folder"),
    "no such model": (["demo", "--model", "/no/model"], "/no/model"),
    "wrong bootstrap": (["worker", "--bootstrap-servers", "127.0.0.1:1"], "no Kafka broker answers at 127.0.0.1:1"),
    "no folder for the result": (["demo", "--json", "/no/folder/r.json"], "--json /no/folder/r.json: no folder"),
    "no images": (["produce", "--camera", "folder:/no/such"], "error: camera station-1/camera-1: no folder /no/such"),
    "bad prefix": (["worker", "--prefix", "a b"], "topic prefix 'a b'"),
    "no such camera": (["produce", "--camera", "nonsense"], "no camera 'nonsense'"),
    "no such driver": (["actuate", "--driver", "nonsense"], "nonsense"),
}


@pytest.mark.parametrize(("arguments", "text"), ERRORS.values(), ids=ERRORS)
def test_what_a_user_can_cause_is_one_line(arguments: list[str], text: str) -> None:
    done = run(*arguments)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert text in errors[0]


@pytest.mark.broker
def test_missing_topics_are_named_with_the_command(broker: Any, unique: str) -> None:
    done = run("worker", "--bootstrap-servers", broker.bootstrap_servers, "--prefix", unique)
    assert done.returncode == 1
    assert f"missing topics on {broker.bootstrap_servers}: {unique}.frames" in done.stderr
    assert "inspection topics apply" in done.stderr
    assert f"--prefix {unique}" in done.stderr


def decision(action: Action, verdict: Verdict, label: str, frame: str = "f") -> Decision:
    return Decision(
        decision_id=f"{frame}-{action}", frame_id=frame, line="l", station="s", camera_id="c", started_at_us=0,
        sequence=0, image_sha256="", verdict=verdict, action=action, result_state=ResultState.COMPLETED, reason="",
        model_name="m", model_version="1", model_sha256="", recipe_id="r", recipe_revision="1", captured_at_us=0,
        received_at_us=0, decided_at_us=5_000, source_topic="t", source_partition=0, source_offset=0,
        attributes={"label": label},
    )  # fmt: skip


def test_the_tally_counts_escapes_and_overkill() -> None:
    counts = DemoCounts()
    for index, (action, verdict, label) in enumerate(
        [
            (Action.ACCEPT, Verdict.OK, "functional"),
            (Action.ACCEPT, Verdict.OK, "defective"),
            (Action.REJECT, Verdict.NOT_OK, "functional"),
            (Action.REVIEW, Verdict.OK, "defective"),
            (Action.REJECT, Verdict.NOT_OK, "defective"),
        ]
    ):
        counts.decision(decision(action, verdict, label, f"f{index}"))
    assert counts.quality.labelled == 5
    assert counts.quality.accuracy == pytest.approx(2 / 5)
    assert (counts.quality.escapes, counts.quality.overkill) == (1, 1)


def test_a_summary_with_shed_frames_says_what_to_do() -> None:
    names = ("frames_published", "decisions", "accepted", "rejected", "review", "not_decidable", "shed", "dead_letters")
    counts = dict.fromkeys((*names, "drops_counted", "duplicates", "unaccounted"), 0)
    nothing = dict.fromkeys(("p50", "p95", "p99", "max"))
    result = DemoResult(
        **counts, gate=GateResult(0, 0, 0, 0), quality=DemoQuality(), throughput_fps=0.0, cameras=1, seconds=1.0,
        latency_ms={"capture_to_decision": nothing, "capture_to_gate": nothing}, model={"name": "m", "version": "1"},
    )  # fmt: skip
    assert "--fps" not in text_of(result)
    assert "3 frames came too late to inspect and count as rejected" in text_of(replace(result, shed=3))
    assert "a lower --fps" in text_of(replace(result, shed=3))
    stopped = replace(result, gate=GateResult(20, 14, 0, 0, "10 parts in a row without a usable decision"))
    assert "FAULT (10 parts in a row without a usable decision)" in text_of(stopped)
    assert "FAULT" not in text_of(result)


def text_of(result: DemoResult) -> str:
    console = Console(width=300, file=io.StringIO())
    with console.capture() as captured:
        console.print(summary(result))
    return captured.get()


def test_the_tally_tells_duplicates_from_conflicts() -> None:
    counts = DemoCounts()
    counts.published("f")
    counts.published("g")
    counts.decision(decision(Action.ACCEPT, Verdict.OK, "good"))
    counts.decision(decision(Action.ACCEPT, Verdict.OK, "good"))
    counts.decision(decision(Action.REJECT, Verdict.NOT_OK, "good"))
    assert (counts.decisions, counts.duplicates, counts.conflicts, counts.unaccounted) == (1, 2, 1, 1)


def test_a_file_that_is_not_onnx_is_named_with_its_line(tmp_path: Path, repository: Path) -> None:
    garbage = b"this is not a model"
    (tmp_path / "model.onnx").write_bytes(garbage)
    manifest = (repository / "models" / "zoo" / "elpv_cells" / "manifest.yaml").read_text(encoding="utf-8")
    digest = hashlib.sha256(garbage).hexdigest()
    (tmp_path / "manifest.yaml").write_text(re.sub(r"sha256: '?[0-9a-f]{64}'?", f"sha256: '{digest}'", manifest))
    done = run("demo", "--model", str(tmp_path))
    assert done.returncode == 1
    assert re.fullmatch(r"error: \S+manifest\.yaml:\d+: file: model\.onnx .*ONNX.*\n", done.stderr)


@pytest.mark.broker
def test_a_port_in_use_is_named(line: KafkaSettings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run(
            "worker", "--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix, "--http-port", str(port)
        )
    assert done.returncode == 1
    assert f"error: cannot listen on 127.0.0.1:{port}: another program listens there; name another port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.broker
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(each, marks=pytest.mark.long) for each in (signal.SIGHUP, signal.SIGINT, signal.SIGKILL)),
    ],
)
def test_ended_by_a_signal_it_leaves_nothing_running(number: signal.Signals, ours: Callable[[], set[int]]) -> None:
    demo = subprocess.Popen(
        inspection_command("demo", "--fps", "10"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 180
        while len(ours()) < 2 and time.monotonic() < deadline:  # its broker and its worker
            time.sleep(0.1)
        assert len(ours()) >= 2
        demo.send_signal(number)
        assert demo.wait(60) != 0
    finally:
        demo.kill()
        demo.wait()
    deadline = time.monotonic() + 60
    while ours() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not ours()

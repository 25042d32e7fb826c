"""What the README tells people to type works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer

from infra.demo.processes import inspection_command
from schemas import Action, Decision, KafkaSettings, ResultState, Verdict
from schemas.codec import encode

pytestmark = pytest.mark.broker


def code(repository: Path, containing: str) -> str:
    """The Python block of the README that has some text in it."""
    blocks = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if containing in block]
    return found


def environment(line: KafkaSettings) -> dict[str, str]:
    return {
        **os.environ,
        "INSPECTION_BOOTSTRAP_SERVERS": line.bootstrap_servers,
        "INSPECTION_PREFIX": line.prefix,
        "PYTHONUNBUFFERED": "1",
    }


def test_the_camera(repository: Path, line: KafkaSettings, tmp_path: Path) -> None:
    text = code(repository, "class MyCamera")
    assert len([row for row in text.splitlines() if row.strip() and not row.startswith("#")]) <= 10
    (tmp_path / "my_camera.py").write_text(text)
    command = [sys.executable, "-c", "from infra.cli.root import main; main()"]  # finds modules in the current folder
    command += ["produce", "--camera", "my_camera:MyCamera", "--station", "press", "--camera-id", "top"]
    done = subprocess.run(
        [*command, "--fps", "20", "--frames", "3"],
        cwd=tmp_path, env=environment(line), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "press/top: 3 captured, 3 published" in done.stdout


def test_the_consumer(repository: Path, line: KafkaSettings, tmp_path: Path) -> None:
    decision = Decision(
        decision_id="d", frame_id="f", line="l", station="s", camera_id="c", started_at_us=0, sequence=0,
        image_sha256="", verdict=Verdict.NOT_OK, action=Action.REJECT, result_state=ResultState.COMPLETED,
        reason="score 0.9 >= 0.5", model_name="m", model_version="1", model_sha256="", recipe_id="r",
        recipe_revision="1", captured_at_us=0, received_at_us=0, decided_at_us=0, source_topic="t",
        source_partition=0, source_offset=0, part_id="part-7",
    )  # fmt: skip
    output = tmp_path / "printed.txt"
    with output.open("w") as out:
        program = subprocess.Popen(
            [sys.executable, "-c", code(repository, "DecisionConsumer")], env=environment(line), stdout=out
        )
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    deadline = time.monotonic() + 20
    try:
        # It starts at the newest decision: say it again until it listens; each has an id of its own.
        while not output.read_text().endswith("\n") and time.monotonic() < deadline:
            now_us = time.time_ns() // 1000
            fresh = replace(decision, decision_id=str(now_us), captured_at_us=now_us)
            producer.produce(line.decisions, encode(fresh), fresh.key)
            producer.flush(5)
            time.sleep(0.2)
    finally:
        program.kill()
        program.wait()
    assert output.read_text().startswith("part-7 NOT_OK score 0.9 >= 0.5")


def test_the_console_script_is_what_the_tests_run(repository: Path) -> None:
    script = Path(sys.executable).with_name("inspection")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=30, check=False)
    same = subprocess.run(inspection_command("--version"), capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == same.stdout
    assert done.stdout.startswith("streaming-inspection ")

"""`inspection actuate` as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from infra.demo.processes import inspection_command
from schemas import KafkaSettings
from schemas.codec import encode
from tests.support.gate_records import make_decision, make_frame, now_us


@pytest.mark.alone
@pytest.mark.broker
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_acts_and_ends_clean(line: KafkaSettings, tmp_path: Path, repository: Path, number: signal.Signals) -> None:
    journal = tmp_path / "gate.jsonl"
    options = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix, "--journal", str(journal)]
    options += ["--state-dir", str(tmp_path / "state"), "--belt-ms", "2000", "--json"]
    with subprocess.Popen(
        inspection_command("actuate", *options),
        cwd=repository,
        env={"PYTHONPATH": str(repository), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for text in process.stderr:
            if "gate ready" in text:
                break
        producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "enable.idempotence": True})
        captured = now_us()
        producer.produce(line.frames, encode(make_frame("p1", captured_at_us=captured)))
        producer.produce(line.frames, encode(make_frame("p2", captured_at_us=captured)))
        producer.produce(line.decisions, encode(make_decision("p1", captured_at_us=captured)))
        producer.flush(10)
        time.sleep(1.0)  # within the belt: the gate has heard of both parts and acts on them before it ends
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["actuated"], report["accepted"], report["failsafe"]) == (2, 1, 1), report
    assert report["triggers"]["expected"] == 2
    lines = [json.loads(text) for text in journal.read_text().splitlines()]
    assert {entry["part_key"]: entry["action"] for entry in lines} == {"p1": "ACCEPT", "p2": "REJECT"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--decide-by-ms", "900"], "before the part is at the gate"),
        (["--driver", "nothing"], "no actuator"),
        (["--driver-option", "pin"], "KEY=VALUE"),
        (["--bootstrap-servers", "127.0.0.1:1"], "no Kafka broker answers"),
    ],
)
def test_a_mistake_is_one_line(options: list[str], says: str, repository: Path) -> None:
    done = subprocess.run(
        inspection_command("actuate", *options),
        cwd=repository,
        env={"PYTHONPATH": str(repository), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1

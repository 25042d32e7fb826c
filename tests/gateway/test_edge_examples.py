"""The examples of docs/gateway.md: they accept on an acceptance in time, and on nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.broker.ports import free_port
from schemas import Action, KafkaSettings, ResultState, Verdict
from tests.support.answering import answering_worker
from tests.support.gateways import running_gateway

Decide = Callable[..., bool]
#: Ids with signs that mean something in a URL, a form, a shell or a header.
PART_IDS = [
    "P#1", "A+1", "B%31", "C&lot=9", "D 1", "Größe 7", "螺丝-1", "E?x=/..", "F;\"'\\$HOME`", "@part.png",
    "<part.png", "-G=1",
]  # fmt: skip


def block(repository: Path, language: str, containing: str) -> str:
    text = (repository / "docs" / "gateway.md").read_text(encoding="utf-8")
    (found,) = [each for each in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if containing in each]
    return found


@pytest.fixture(params=["shell", "python"])
def decide(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Decide:
    """Run an example: the address of the gateway, and the image; True if the part is accepted."""

    def run(address: str, image: Path, part_id: str = "P-1") -> bool:
        environment = {**os.environ, "GATEWAY": f"http://{address}", "GATEWAY_HOST": address}
        if request.param == "shell":
            script = tmp_path / "gate.sh"
            text = block(repository, "sh", "gate.sh")
            # A loaded machine of tests needs more time than a line.
            script.write_text(text.replace("--max-time 0.8", "--max-time 30").replace("wait=0.5", "wait=20"))
            command = ["sh", str(script), str(image), part_id]
            return subprocess.run(command, env=environment, check=False, timeout=120).returncode == 0
        script = tmp_path / "gate_example.py"
        script.write_text(
            block(repository, "python", "is_accepted").replace("wait_s: float = 0.5", "wait_s: float = 20")
        )
        command = [sys.executable, str(script), str(image), part_id]
        done = subprocess.run(command, env=environment, check=True, timeout=120, capture_output=True, text=True)
        return done.stdout == "accept\n"

    return run


def test_the_python_example_is_short(repository: Path) -> None:
    lines = block(repository, "python", "is_accepted").splitlines()
    assert len([line for line in lines if line.strip() and not line.startswith("#")]) <= 20


@pytest.mark.parametrize(
    ("changes", "accepts"),
    [
        ({}, True),
        ({"verdict": Verdict.NOT_OK, "action": Action.REJECT}, False),
        ({"is_late": True}, False),
        ({"result_state": ResultState.ABORTED}, False),
    ],
    ids=["accepted", "rejected", "late", "shed"],
)
def test_a_part_is_accepted_on_an_acceptance_in_time_alone(
    line: KafkaSettings, image: bytes, tmp_path: Path, decide: Decide, changes: dict[str, Any], accepts: bool
) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(image)
    with answering_worker(line, lambda frame: changes), running_gateway(line) as gateway:
        assert decide(gateway.url.removeprefix("http://"), path) is accepts


def test_a_part_is_rejected_if_nobody_answers(image: bytes, tmp_path: Path, decide: Decide) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(image)
    assert not decide(f"127.0.0.1:{free_port()}", path)


def test_the_part_id_arrives_as_it_is(line: KafkaSettings, image: bytes, tmp_path: Path, decide: Decide) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(image)
    with answering_worker(line) as frames, running_gateway(line) as gateway:
        address = gateway.url.removeprefix("http://")
        assert [part_id for part_id in PART_IDS if not decide(address, path, part_id)] == []
        assert [frame.part_id for frame in frames] == PART_IDS

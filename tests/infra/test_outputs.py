"""Outputs that take nothing: a full disk gives one line, and the exit status 1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from infra.cli.root import main
from infra.demo.processes import inspection_command
from schemas import KafkaSettings


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only line that starts with ``error:``; fail on a traceback or another status than 1."""
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["broker", "status", "--json"]], ids="-".join)
def test_a_standard_output_on_a_full_disk(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = inspection_command(*arguments)
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert "No space left on device; make room" in one_line(done)


def test_standard_files_that_are_closed_are_no_file_of_ours(tmp_path: Path) -> None:
    """A library that writes to the number 2 would write into a journal, a spool or the connection of a broker."""
    told = tmp_path / "told"
    code = f"""
import os
from infra.cli import root
def app():
    found = [os.readlink(f"/proc/self/fd/{{number}}") for number in range(3)]
    with open({str(told)!r}, "w") as file:
        file.write(" ".join(found))
root.app = app
root.main()
"""
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(closed, timeout=60, check=False).returncode == 0
    assert told.read_text().split() == ["/dev/null"] * 3


@pytest.mark.long
@pytest.mark.broker
def test_a_demo_on_a_full_disk(line: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECTION_STATE_DIR", str(tmp_path / "state"))
    command = inspection_command(
        "demo", "--frames", "6", "--fps", "0", "--json", "/dev/full", "--bootstrap-servers", line.bootstrap_servers
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert one_line(done) == "error: --json /dev/full: No space left on device"
    assert "every frame accounted for" in done.stdout
    # Its worker keeps nothing either.
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["train", "--images", "n" * 300, "--out", "out"], id="a name that is too long"),
        pytest.param(["gate", "status", "--state-dir", "/dev/null/gate"], id="a file in place of a folder"),
        pytest.param(["model", "show", "n" * 300], id="a package with such a name"),
    ],
)
def test_a_path_that_cannot_be_one_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["inspection", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


@pytest.mark.parametrize("command", [["topics", "diff"], ["acls", "apply", "--principals", "x"], ["gate", "reset"]])
@pytest.mark.parametrize("timeout", ["inf", "nan", "1e30"])
def test_a_time_that_no_client_can_wait_is_a_fault_of_the_command_line(
    command: list[str], timeout: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["inspection", *command, "--timeout", timeout])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--timeout" in capsys.readouterr().err

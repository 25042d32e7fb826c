"""`inspection broker start --secure`: TLS and a password on this machine, kept for later starts."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from infra.broker import BrokerError
from infra.broker.secured_start import find_security, make_security
from infra.demo.processes import inspection_command

pytestmark = pytest.mark.broker


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        inspection_command(*command),
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=120,
        check=False,
    )


@pytest.mark.long
def test_a_secured_broker_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    where = ("--data-dir", str(folder))
    started = run("broker", "start", "--secure", "--port", "0", *where)
    try:
        assert started.returncode == 0, started.stderr
        client = folder / "client.properties"
        assert f"export INSPECTION_KAFKA_CONFIG={client}" in started.stdout
        security = find_security(folder)
        assert security is not None
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir() if path.is_file()}
        assert set(modes.values()) == {"0o600"}, modes
        applied = run("topics", "apply", INSPECTION_KAFKA_CONFIG=str(client))
        assert applied.returncode == 0, applied.stderr
        [address] = [line for line in client.read_text().splitlines() if line.startswith("bootstrap.servers=")]
        stranger = run("topics", "show", "--bootstrap-servers", address.partition("=")[2])
        assert "the port speaks TLS, and the client does not" in stranger.stderr
        status = json.loads(run("broker", "status", "--json", *where).stdout)
        assert status["ready"]
        shown = " ".join(psutil.Process(status["pid"]).cmdline()) + started.stdout + started.stderr
        assert not [password for password in security.passwords.values() if password in shown]
        # A later start, without the option, keeps passwords and topics.
        assert run("broker", "stop", *where).returncode == 0
        started = run("broker", "start", "--port", "0", *where)
        assert started.returncode == 0, started.stderr
        assert find_security(folder) == security
        assert run("topics", "diff", INSPECTION_KAFKA_CONFIG=str(client)).returncode == 0
    finally:
        run("broker", "stop", *where)


def test_an_open_broker_does_not_become_a_secured_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").touch()
    with pytest.raises(BrokerError, match=r"the topics of a broker without passwords, .*--open"):
        make_security(tmp_path)
    (tmp_path / "security.json").write_text("{}")
    with pytest.raises(BrokerError, match="cannot be read"):
        find_security(tmp_path)

"""A whole line over a secured Kafka: each program logs in, and none shows its password."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.demo.processes import inspection_command
from tests.support.secured import LINE, PASSWORDS, SecuredBroker

pytestmark = pytest.mark.broker

FRAMES = 30
PATIENCE_S = 90.0


class Line:
    """Programs of one line, with the files of a client."""

    def __init__(self, folder: Path, env: dict[str, str], prefix: str) -> None:
        self.folder, self._prefix = folder, prefix
        self._env = {**env, "INSPECTION_PREFIX": prefix, "INSPECTION_STATE_DIR": str(folder / "state")}
        self._env.pop("INSPECTION_BOOTSTRAP_SERVERS", None)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a program; its output goes to a file with its name."""
        with (self.folder / f"{name}.log").open("wb") as out:
            process = subprocess.Popen(inspection_command(name, *options), stdout=out, stderr=out, env=self._env)
        self._running[name] = process
        return process

    def serve(self, name: str, *options: str) -> str:
        """Start a program with an endpoint, and return its address when it is healthy and has partitions."""
        process = self.start(name, "--http-port", "0", *options)
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            assert process.poll() is None, self.log(name)
            for word in self.log(name).split():
                if word.startswith("http://") and word.endswith("/health"):
                    try:
                        with urllib.request.urlopen(word, timeout=5) as answer:
                            health = json.load(answer)
                    except OSError:
                        continue
                    if health["ok"] and health["assigned"]:
                        return word.removesuffix("/health")
            time.sleep(0.2)
        raise AssertionError(self.log(name))

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command to its end, and return its output."""
        done = subprocess.run(
            inspection_command(*command), capture_output=True, text=True, env=self._env, timeout=PATIENCE_S, check=False
        )
        (self.folder / f"{'-'.join(command[:2])}.log").write_text(done.stdout + done.stderr)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def stop(self, name: str) -> str:
        """End a program with SIGTERM, and return what it wrote."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        return self.log(name)

    def log(self, name: str) -> str:
        """Return what a program has written."""
        return (self.folder / f"{name}.log").read_text()

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._running.values():
            process.kill()
            process.wait()


@pytest.fixture
def begin(unique: str, tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Line]]:
    """Make a line from an environment; its programs end with the test."""
    lines = []

    def begin(env: dict[str, str]) -> Line:
        lines.append(Line(tmp_path, env, unique))
        return lines[-1]

    yield begin
    for each in lines:
        each.close()


def produce(line: Line) -> dict[str, Any]:
    options = ("--frames", str(FRAMES), "--fps", "20", "--deadline-ms", "60000", "--json", "--encode", "png")
    [found] = json.loads(line.run("produce", "--camera", "synthetic", *options))["cameras"]
    return found


def shown_by_the_system() -> str:
    """Return the command lines and environments of all processes of this user, as `ps axe` shows them."""
    texts = []
    for process in psutil.process_iter():
        for path in ("cmdline", "environ"):
            try:
                texts.append(Path(f"/proc/{process.pid}/{path}").read_text(errors="replace"))
            except OSError:
                continue
    return "\n".join(texts)


@pytest.mark.long
def test_a_whole_line_over_tls_with_a_password(
    begin: Callable[[dict[str, str]], Line], secured: SecuredBroker, tmp_path: Path
) -> None:
    line = begin(secured.environment(tmp_path / "client.properties"))
    line.run("topics", "apply")
    worker = line.serve("worker", "--processes", "2", "--threads", "1")
    watch = line.serve("watch", "--snapshot-s", "0.5")
    line.start("actuate", "--belt-ms", "5000", "--journal", str(tmp_path / "gate.jsonl"))
    time.sleep(8)
    system = shown_by_the_system()
    assert produce(line)["published"] == FRAMES
    until_s = time.monotonic() + PATIENCE_S
    journal = tmp_path / "gate.jsonl"
    while not journal.exists() or len(journal.read_text().splitlines()) < FRAMES:
        assert time.monotonic() < until_s, line.log("actuate") + line.log("worker")
        time.sleep(0.2)
    acts = [json.loads(each) for each in journal.read_text().splitlines()]
    assert {each["why"] for each in acts} == {"decided"}, acts
    audit = json.loads(line.run("audit", "--json"))["total"]
    assert (audit["frames"], audit["decided"]) == (FRAMES, FRAMES)
    doctor = json.loads(line.run("doctor", "--json"))
    assert {each["name"]: each["status"] for each in doctor["checks"]}["topics"] == "ok"
    line.run("replay", "--last", "10", "--tolerate-differences")
    metrics = ""
    for address in (worker, watch):
        with urllib.request.urlopen(address + "/metrics", timeout=10) as answer:
            metrics += answer.read().decode()
    assert "inspection_" in metrics
    for name in ("actuate", "watch", "worker"):
        line.stop(name)
    logs = "".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log"))
    for password in PASSWORDS.values():
        assert password not in system + metrics + logs + json.dumps(doctor)
    assert PASSWORDS[LINE] in (tmp_path / "client.properties").read_text()
    assert os.environ.get("INSPECTION_KAFKA_CONFIG") is None


def test_a_client_with_a_certificate(
    begin: Callable[[dict[str, str]], Line], secured: SecuredBroker, tmp_path: Path, unique: str
) -> None:
    """In the names of Java's clients, with one file for key and certificate, and with PKCS#12."""
    files = secured.folder
    both = tmp_path / "client.pem"
    both.touch(0o600)
    both.write_bytes((files / "client.key").read_bytes() + (files / "client.pem").read_bytes())
    java = {
        "bootstrap.servers": secured.listener("SSL"),
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(files / "ca.pem"),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": "client.pem",
    }
    secured.create_topics(unique)
    line = begin(secured.environment(tmp_path / "client.properties", java))
    line.serve("worker", "--processes", "1")
    assert produce(line)["published"] == FRAMES
    until_s = time.monotonic() + PATIENCE_S
    while json.loads(line.run("audit", "--json"))["total"]["decided"] < FRAMES:
        assert time.monotonic() < until_s, line.log("worker")
        time.sleep(0.5)
    line.stop("worker")

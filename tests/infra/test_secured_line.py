"""A whole line over a secured Kafka: each program logs in as a user of its own, and none shows its password."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.demo.processes import inspection_command
from schemas.roles import ROLES, Principals
from tests.support.line_programs import FRAMES, PATIENCE_S, Line, produce
from tests.support.secured import PASSWORDS, SecuredBroker
from transport.acl_setup import apply_acls

pytestmark = pytest.mark.broker

PASSWORD = "pr1ncipal-pass-of-the-suite-"


@pytest.fixture
def begin(unique: str, tmp_path: Path) -> Iterator[Callable[..., Line]]:
    """Make a line from environments by role; its programs end with the test."""
    lines = []

    def begin(**envs: dict[str, str]) -> Line:
        lines.append(Line(tmp_path, envs, unique))
        return lines[-1]

    yield begin
    for each in lines:
        each.close()


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
def test_a_whole_line_with_a_user_for_each_program(
    begin: Callable[..., Line], secured: SecuredBroker, tmp_path: Path, unique: str
) -> None:
    """Each program has the rights of its role alone. No password is seen anywhere."""
    users = {role: f"{unique}-{role}" for role in ROLES}
    for role, user in users.items():
        secured.add_user(user, PASSWORD + role)
    groups = {"worker": f"{unique}-w", "watch": f"{unique}-v"}
    principals = Principals({role: (user,) for role, user in users.items()}, groups)
    apply_acls(secured.settings(unique), principals)
    envs = {
        role: secured.environment(tmp_path / f"{role}.properties", secured.lines_of(user, PASSWORD + role))
        for role, user in users.items()
    }
    line = begin(**envs)
    line.run("topics", "apply")
    line.run("topics", "diff")
    worker = line.serve("worker", "--processes", "2", "--threads", "1", "--group", groups["worker"])
    watch = line.serve("watch", "--snapshot-s", "0.5", "--group", groups["watch"])
    journal = tmp_path / "gate.jsonl"
    line.start("actuate", "--belt-ms", "30000", "--journal", str(journal))
    line.start("archive", "--to", str(tmp_path / "archive"))
    while "gate ready" not in line.log("actuate"):
        time.sleep(0.2)
    system = shown_by_the_system()
    produce(line)
    until_s = time.monotonic() + PATIENCE_S
    while not journal.exists() or len(journal.read_text().splitlines()) < FRAMES:
        assert time.monotonic() < until_s, line.log("actuate") + line.log("worker")
        time.sleep(0.2)
    acts = [json.loads(each) for each in journal.read_text().splitlines()]
    assert {each["why"] for each in acts} == {"decided"}, acts
    texts = [line.run("audit", "--json")]
    total = json.loads(texts[0])["total"]
    assert (total["frames"], total["decided"]) == (FRAMES, FRAMES)
    frame = acts[0]["part_key"]
    texts.append(line.run("label", frame, "--truth", "good", "--by", "ann"))
    for command in (
        ("quality", "--json"),
        ("review", "--json"),
        ("drift", "list", "--json"),
        ("dead-letters", "list", "--json"),
        ("replay", "--last", "10", "--tolerate-differences", "--json"),
    ):
        texts.append(line.run(*command))
    doctor = json.loads(line.run("doctor", "--json"))
    found = {each["name"]: each for each in doctor["checks"]}
    assert found["topics"]["status"] == "warn", found
    assert "settings not compared" in found["topics"]["detail"]
    metrics = ""
    for address in (worker, watch):
        with urllib.request.urlopen(address + "/metrics", timeout=60) as answer:
            metrics += answer.read().decode()
    assert "inspection_" in metrics
    for name in ("actuate", "archive", "watch", "worker"):
        line.stop(name)
    assert any((tmp_path / "archive").rglob("*.avro"))
    # A program under the role of another one ends at once, and names the right that is missing.
    for name, role in (("worker", "camera"), ("watch", "worker"), ("actuate", "watch"), ("produce", "gate")):
        options = {"produce": ("--camera", "synthetic")}.get(name, ())
        done = subprocess.run(
            inspection_command(name, *options), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
            env={**envs[role], "INSPECTION_PREFIX": unique, "INSPECTION_STATE_DIR": str(tmp_path / "other")},
        )  # fmt: skip
        [error] = [each for each in done.stderr.splitlines() if each.startswith("error: ")]
        assert (done.returncode, "the user may not" in error) == (78, True), done.stderr
        texts.append(done.stderr)
    logs = "".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log"))
    shown = system + metrics + logs + json.dumps(doctor) + "".join(texts) + repr(secured.settings(unique))
    for password in (*PASSWORDS.values(), *(PASSWORD + role for role in ROLES)):
        assert password not in shown
    assert PASSWORD + "worker" in (tmp_path / "worker.properties").read_text()
    assert os.environ.get("INSPECTION_KAFKA_CONFIG") is None


@pytest.mark.long
def test_a_client_with_a_certificate(
    begin: Callable[..., Line], secured: SecuredBroker, tmp_path: Path, unique: str
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
    line = begin(**{"": secured.environment(tmp_path / "client.properties", java)})
    line.serve("worker", "--processes", "1")
    produce(line)
    until_s = time.monotonic() + PATIENCE_S
    while json.loads(line.run("audit", "--json"))["total"]["decided"] < FRAMES:
        assert time.monotonic() < until_s, line.log("worker")
        time.sleep(0.5)
    line.stop("worker")

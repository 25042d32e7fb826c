"""A whole line over a secured Kafka: each program logs in as a user of its own, and none shows its password."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from schemas.roles import ROLES, Principals
from tests.support.programs import PATIENCE_S, Programs
from tests.support.secured import PASSWORDS, SecuredBroker
from transport.acl_setup import apply_acls

pytestmark = pytest.mark.broker

PASSWORD = "pr1ncipal-pass-of-the-suite-"
FRAMES = 30


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
    programs: Programs, secured: SecuredBroker, tmp_path: Path, unique: str
) -> None:
    """Each program has the rights of its role alone. No password is seen anywhere."""
    users = {role: f"{unique}-{role}" for role in ROLES}
    for role, user in users.items():
        secured.add_user(user, PASSWORD + role)
        programs.connect(role, secured.lines_of(user, PASSWORD + role))
    groups = {"worker": f"{unique}-w", "watch": f"{unique}-v"}
    principals = Principals({role: (user,) for role, user in users.items()}, groups)
    apply_acls(secured.settings(unique), principals)
    programs.run("topics", "apply")
    programs.run("topics", "diff")
    worker = programs.serve("worker", "--processes", "2", "--threads", "1", "--group", groups["worker"])
    watch = programs.serve("watch", "--snapshot-s", "0.5", "--group", groups["watch"])
    programs.gate(belt_ms=30_000)
    programs.start("archive", "--to", str(tmp_path / "archive"))
    system = shown_by_the_system()
    programs.publish(FRAMES)
    acts = programs.await_acts(FRAMES)
    assert {each["why"] for each in acts} == {"decided"}, acts
    texts = [programs.run("audit", "--json")]
    total = json.loads(texts[0])["total"]
    assert (total["frames"], total["decided"]) == (FRAMES, FRAMES)
    frame = acts[0]["part_key"]
    texts.append(programs.run("label", frame, "--truth", "good", "--by", "ann"))
    for command in (
        ("quality", "--json"),
        ("review", "--json"),
        ("drift", "list", "--json"),
        ("dead-letters", "list", "--json"),
        ("replay", "--last", "10", "--tolerate-differences", "--json"),
    ):
        texts.append(programs.run(*command))
    doctor = json.loads(programs.run("doctor", "--json"))
    found = {each["name"]: each for each in doctor["checks"]}
    assert found["topics"]["status"] == "warn", found
    assert "settings not compared" in found["topics"]["detail"]
    metrics = ""
    for address in (worker, watch):
        with urllib.request.urlopen(address + "/metrics", timeout=60) as answer:
            metrics += answer.read().decode()
    assert "inspection_" in metrics
    for name in ("actuate", "archive", "watch", "worker"):
        programs.stop(name)
    assert any((tmp_path / "archive").rglob("*.avro"))
    # A program under the role of another one ends at once, and names the right that is missing.
    for name, role in (("worker", "camera"), ("watch", "worker"), ("actuate", "watch"), ("produce", "gate")):
        options = {"produce": ("--camera", "synthetic")}.get(name, ())
        done = programs.call(name, *options, role=role, INSPECTION_STATE_DIR=str(tmp_path / "other"))
        [error] = [each for each in done.stderr.splitlines() if each.startswith("error: ")]
        assert (done.returncode, "the user may not" in error) == (78, True), done.stderr
        texts.append(done.stderr)
    shown = system + metrics + programs.logs() + json.dumps(doctor) + "".join(texts) + repr(secured.settings(unique))
    for password in (*PASSWORDS.values(), *(PASSWORD + role for role in ROLES)):
        assert password not in shown
    assert PASSWORD + "worker" in (tmp_path / "worker.properties").read_text()
    assert os.environ.get("INSPECTION_KAFKA_CONFIG") is None


@pytest.mark.long
def test_a_client_with_a_certificate(programs: Programs, secured: SecuredBroker, tmp_path: Path, unique: str) -> None:
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
    programs.connect("", java)
    programs.worker()
    programs.publish(FRAMES)
    until_s = time.monotonic() + PATIENCE_S
    while json.loads(programs.run("audit", "--json"))["total"]["decided"] < FRAMES:
        assert time.monotonic() < until_s, programs.log("worker")
        time.sleep(0.5)
    programs.stop("worker")

"""Signatures of the audit log: `inspection trail --verify --trust` names events that are not signed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.root import app
from operations.trail.record import Act, Deed, recorded
from schemas import KafkaSettings
from tests.support.trust_folders import Keys
from transport.audit_log import read_audit_log
from transport.producer import make_producer
from transport.public_keys import SignerRole

pytestmark = pytest.mark.broker

#: Signer and act of each event; "" signs nothing.
EVENTS = [("ann", Act.LABEL), ("", Act.LABEL), ("", Act.LABEL), ("site", Act.KEYS_PUBLISH), ("site", Act.LABEL)]


def verify(line: KafkaSettings, *options: str) -> Result:
    where = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix]
    return CliRunner().invoke(app, ["trail", "--verify", *where, *options])


def refuse(text: str) -> None:
    raise AssertionError(text)


def test_events_that_nobody_has_signed_are_named(line: KafkaSettings, tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.make("ann", SignerRole.OPERATOR)
    keys.make("site", SignerRole.AUTHORITY)
    for name, act in EVENTS:
        signing = replace(line, signing_key=str(keys.private(name)) if name else None)
        with recorded(signing, Deed(act, "press.top"), refuse):
            pass
    trust = ("--trust", str(keys.trust))
    named = "3 events are not signed by those of --trust: 2 unsigned (1 to 2), 1 wrong-role (4)"
    strict = verify(line, *trust)
    assert (strict.exit_code, str(strict.exception)) == (1, f"{line.audit_log} has events that are not signed")
    *_, faults, whole = strict.stdout.splitlines()
    assert (faults, whole.startswith("5 events, nothing changed or removed; head 4:")) == (named, True)
    warned = verify(line, *trust, "--signatures", "warn")
    assert (warned.exit_code, named in warned.stdout) == (0, True)

    # An event with the signature of another one.
    first = next(read_audit_log(line))
    producer = make_producer(line, {})
    forged, headers = first.value.replace(b"press.top", b"press.tip"), list(first.headers.items())
    producer.produce(line.audit_log, forged, first.key, partition=0, headers=headers)
    assert producer.flush(60) == 0
    check = json.loads(verify(line, *trust, "--json").stdout)["check"]
    assert [(each["offset"], each["why"]) for each in check["unsigned"]] == [
        (1, "unsigned"), (2, "unsigned"), (4, "wrong-role"), (5, "bad-signature")
    ]  # fmt: skip
    assert (check["is_whole"], verify(line, "--trust", str(tmp_path / "none")).exit_code) == (False, 1)


def test_a_signed_event_that_is_published_again_is_named(line: KafkaSettings, tmp_path: Path) -> None:
    """Whoever may write to the topic could let a reset of last year happen today."""
    keys = Keys(tmp_path)
    keys.make("ann", SignerRole.OPERATOR)
    with recorded(replace(line, signing_key=str(keys.private("ann"))), Deed(Act.GATE_RESET, "fault 1"), refuse):
        pass
    trust = ("--trust", str(keys.trust))
    assert verify(line, *trust).exit_code == 0
    [first] = read_audit_log(line)
    producer = make_producer(line, {})
    producer.produce(line.audit_log, first.value, first.key, partition=0, headers=list(first.headers.items()))
    assert producer.flush(60) == 0
    done = verify(line, *trust)
    assert (done.exit_code, str(done.exception)) == (1, f"{line.audit_log} is not what was written")
    assert "event 1: event 0, published again" in done.stdout


@pytest.mark.long
def test_without_a_folder_no_signature_is_checked(line: KafkaSettings) -> None:
    with recorded(line, Deed(Act.LABEL, "press.top"), refuse):
        pass
    done = verify(line)
    assert (done.exit_code, "signed" in done.stdout) == (0, False)

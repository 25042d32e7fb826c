"""Audit trail on a real Kafka: acts are recorded before they are done, and the log names what was changed."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from actuators.fault import Fault
from actuators.fault_store import FaultStore, PersistedFault
from infra.cli.root import app
from operations.trail.read import check_trail, read_trail
from operations.trail.record import Act, AuditLogMissing, Deed, has_audit_log, recorded
from schemas import AuditEvent, AuditOutcome, KafkaSettings
from schemas.clock import SystemClock
from schemas.ids import frame_id
from schemas.topics import AUDIT_LOG
from tests.support.secured import SecuredBroker
from tests.support.transactions import abort_transaction
from transport.admin import list_topics
from transport.audit_log import LoggedEvent, append_event, read_audit_log
from transport.chained_file import append_line
from transport.clients import client_config, make_admin
from transport.producer import make_producer
from transport.topic_setup import apply

pytestmark = pytest.mark.broker

FRAME = frame_id("press", "top", 1, 7)
DEED = Deed(Act.LABEL, FRAME, after="NOT_OK", stated_by="ada")


def run(kafka: KafkaSettings, *arguments: str) -> Result:
    where = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    return CliRunner().invoke(app, [*arguments, *where])


def events(kafka: KafkaSettings) -> list[AuditEvent]:
    return [each.event for each in read_trail(kafka) if each.event is not None]


def refuse(line: str) -> None:
    raise AssertionError(line)


def write(kafka: KafkaSettings, count: int) -> None:
    for number in range(count):
        with recorded(kafka, dataclasses.replace(DEED, note=str(number)), refuse):
            pass


def forge(rows: list[LoggedEvent], kafka: KafkaSettings) -> None:
    """Write a log of the same messages, as someone with the files of the broker could leave it."""
    producer = make_producer(kafka, {})
    for each in rows:
        producer.produce(kafka.audit_log, each.value, each.key, partition=0)
    assert producer.flush(30) == 0


@pytest.mark.long
def test_an_event_is_there_before_its_act(line: KafkaSettings) -> None:
    with recorded(line, DEED, refuse):
        [found] = events(line)
    assert (found.act, found.outcome, found.about, found.stated_by) == ("label", AuditOutcome.BEGUN, FRAME, "ada")
    assert (found.principal, found.login, found.uid) == ("ANONYMOUS", "none", os.getuid())
    with pytest.raises(ZeroDivisionError), recorded(line, DEED, refuse):
        _ = 1 / 0
    *_, failed = events(line)
    assert (failed.outcome, failed.note) == (AuditOutcome.FAILED, "division by zero")
    found_check = check_trail(line)
    assert (found_check.is_whole, found_check.events) == (True, 3)
    now_us = SystemClock().utc_us()
    assert all(abs(each.at_us - now_us) < 600_000_000 for each in read_audit_log(line))


@pytest.mark.long
def test_writers_at_the_same_time(line: KafkaSettings) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write(line, 2), range(4)))
    found = check_trail(line)
    assert (found.is_whole, found.events, len(events(line))) == (True, 8, 8)
    assert found.head is not None
    assert check_trail(line, found.head).is_whole


@pytest.mark.parametrize(
    "change",
    [
        "changed",
        *(pytest.param(change, marks=pytest.mark.long) for change in ("nothing", "removed", "last")),
    ],
)
def test_what_was_changed_is_named(line: KafkaSettings, unique: str, change: str) -> None:
    write(line, 4)
    head = check_trail(line).head
    assert head is not None
    rows = list(read_audit_log(line))
    if change == "removed":
        del rows[1]
    elif change == "changed":
        rows[1] = dataclasses.replace(rows[1], value=rows[1].value.replace(b"ada", b"eve"))
    elif change == "last":
        rows.pop()
    other = dataclasses.replace(line, prefix=f"{unique}-other")
    apply(other, [AUDIT_LOG])
    forge(rows, other)
    done = run(other, "trail", "--verify", "--head", f"{head.offset}:{head.sha256}")
    expected = {
        "nothing": "4 events, nothing changed or removed",
        "removed": "event 1: it states a chain that cannot be known there",  # it took the place of the removed one
        "changed": "event 1: not what event 2 states",
        "last": "event 3: the log does not have the head",
    }
    assert (done.exit_code, expected[change] in done.stdout) == (0 if change == "nothing" else 1, True), done.output
    make_admin(other).delete_topics([other.audit_log])


@pytest.mark.long
def test_garbage_in_the_log_is_told(line: KafkaSettings) -> None:
    write(line, 1)
    producer = make_producer(line, {})
    for value in (b"", b"\xff\xfe", b"\xc3\x01garbage", b"x" * 100_000):
        producer.produce(line.audit_log, value, b"k", partition=0)
    assert producer.flush(30) == 0
    write(line, 2)
    done = run(line, "trail", "--verify", "--json")
    assert done.exit_code == 1
    check = json.loads(done.stdout)["check"]
    assert (check["events"], check["unreadable"], check["breaks"]) == (3, 4, [])
    assert "not an event" in run(line, "trail").stdout


def test_events_behind_an_open_transaction_are_not_taken_for_none(line: KafkaSettings, unique: str) -> None:
    write(line, 2)
    hidden = Producer({**client_config(line), "transactional.id": unique, "transaction.timeout.ms": 60_000})
    hidden.init_transactions(30)
    hidden.begin_transaction()
    hidden.produce(line.audit_log, b"held", partition=0)
    assert hidden.flush(30) == 0
    write(line, 1)
    done = run(line, "trail", "--verify")
    assert (done.exit_code, str(done.exception)) == (1, f"{line.audit_log} was not read to its end")
    assert "event 2 and later ones are not read" in done.stdout
    assert "nothing changed" not in done.stdout
    abort_transaction(hidden, line, line.audit_log)
    assert "event 2: removed; the next one is event 3" in run(line, "trail", "--verify").stdout


def test_commands_are_recorded(line: KafkaSettings, tmp_path: Path) -> None:
    assert run(line, "label", FRAME, "--truth", "good", "--by", "ben").exit_code == 0
    table = tmp_path / "labels.csv"
    table.write_text(f"frame_id,truth\n{FRAME},good\n")
    assert run(line, "label", "--csv", str(table), "--by", "ben").exit_code == 0
    first, second = events(line)
    assert (first.act, first.about, first.after, first.stated_by) == ("label", FRAME, "good", "ben")
    assert second.about.startswith(f"{table} with SHA-256 ")
    assert run(line, "dead-letters", "retry").exit_code == 0
    assert events(line)[-1].about == "dead letters: all"
    shown = run(line, "trail", "--since", "1h")
    assert f"{FRAME}; good; by ANONYMOUS (none)" in shown.stdout, shown.stdout
    assert "says ben" in shown.stdout
    assert len(json.loads(run(line, "trail", "--json").stdout)["events"]) == 3
    assert run(line, "trail", "--verify").stdout.splitlines()[-1].startswith("3 events, nothing changed or removed")


def test_a_line_without_the_topic_goes_on(line: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = make_admin(line)
    [deleted] = admin.delete_topics([line.audit_log]).values()
    deleted.result(20)
    until_s = time.monotonic() + 60
    while line.audit_log in list_topics(line):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    done = run(line, "label", FRAME, "--truth", "good", "--by", "ben")
    assert done.exit_code == 0
    assert f"label is not recorded: there is no topic {line.audit_log}: `inspection topics apply" in done.stderr
    monkeypatch.setenv("INSPECTION_AUDIT_LOG", "require")
    done = run(line, "label", FRAME, "--truth", "good", "--by", "ben")
    assert isinstance(done.exception, AuditLogMissing)
    assert run(line, "topics", "apply").exit_code == 0
    [event] = events(line)
    assert (event.act, event.outcome, event.about) == ("topics-apply", AuditOutcome.DONE, line.audit_log)


def in_fault(state_dir: Path) -> None:
    store = FaultStore(state_dir)
    store.open()
    store.save(PersistedFault(Fault("f1", 1_000_000, "3 parts in a row without a usable decision", 3)))
    store.close()


def test_resets_of_a_gate_reach_the_log(line: KafkaSettings, tmp_path: Path) -> None:
    def reset(kafka: KafkaSettings) -> Result:
        in_fault(tmp_path)
        return run(kafka, "gate", "reset", "--state-dir", str(tmp_path), "--note", "looked", "--who", "eva")

    away = reset(KafkaSettings("127.0.0.1:9"))
    assert (away.exit_code, "`inspection trail copy --state-dir" in away.stderr) == (0, True), away.output
    assert reset(line).exit_code == 0
    assert [(each.act, each.stated_by, each.note, each.uid) for each in events(line)] == [
        ("gate-reset", "eva", "looked", os.getuid())
    ] * 2
    assert len({each.event_id for each in events(line)}) == 2
    assert run(line, "trail", "copy", "--state-dir", str(tmp_path)).stdout == "0 resets copied\n"
    file = tmp_path / "gate.trail.jsonl"
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert CliRunner().invoke(app, ["trail", "file", str(file)]).exit_code == 0
    file.write_bytes(file.read_bytes().replace(b"eva", b"ben", 1))
    done = CliRunner().invoke(app, ["trail", "file", str(file)])
    assert (done.exit_code, done.stdout.splitlines()[0]) == (1, "line 1: changed, or not written by the program")


def test_resets_after_a_rotation_reach_the_log(line: KafkaSettings, tmp_path: Path) -> None:
    file = tmp_path / "gate.trail.jsonl"

    def reset(note: str) -> None:
        append_line(file, {"act": "gate-reset", "fault_id": "f", "who": "eva", "note": note, "uid": 0})

    def copied() -> list[str]:
        before = len(events(line))
        assert run(line, "trail", "copy", "--state-dir", str(tmp_path)).exit_code == 0
        return [each.note for each in events(line)[before:]]

    for note in ("a", "b"):
        reset(note)
    assert copied() == ["a", "b"]
    file.rename(tmp_path / "gate.trail.jsonl.1")
    reset("c")
    assert copied() == ["c"]
    # Lines were removed, and one of a later reset is there.
    (tmp_path / "gate.trail.jsonl.1").rename(file)
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    reset("d")
    assert copied() == ["a", "d"]
    assert len({each.event_id for each in events(line)}) == 4
    for marker in (b"2", b"9", b"", b"\xff 2", "²".encode()):  # of an earlier version, and garbage
        (tmp_path / "gate.trail.copied").write_bytes(marker)
        reset("e")
        assert copied()[-1:] == ["e"]


@pytest.mark.parametrize("head", ["", "7", "7:xyz", "-1:" + "0" * 64, "1:" + "0" * 65, "9" * 30 + ":" + "0" * 64])
def test_a_head_that_is_none(line: KafkaSettings, head: str) -> None:
    done = run(line, "trail", "--head", head)
    assert done.exit_code == 1
    assert "\n" not in str(done.exception)


@pytest.mark.long
def test_the_principal_is_the_login(secured: SecuredBroker, unique: str) -> None:
    """Label as A with ``--by B``: the log says A."""
    secured.create_topics(unique)
    kafka = secured.settings(unique)
    assert has_audit_log(kafka, Act.LABEL, refuse)
    append_event(kafka, AuditEvent(event_id="1", written_at_us=1, act="label", outcome=AuditOutcome.DONE, about="x",
                                   principal="p", login="scram"))  # fmt: skip
    with recorded(kafka, dataclasses.replace(DEED, stated_by="somebody else"), refuse):
        pass
    *_, found = events(kafka)
    assert (found.principal, found.login, found.stated_by) == ("line", "scram", "somebody else")

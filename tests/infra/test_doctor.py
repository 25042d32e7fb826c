"""The doctor says what is wrong and what to do, and never falls over itself."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from infra.cli.setup.doctor import doctor
from infra.doctor import Check, _guarded, examine
from infra.doctor import machine_checks as machine
from infra.doctor import project_checks as ours
from infra.doctor.broker_clock import broker_clock
from schemas import KafkaSettings
from schemas.clock import SystemClock
from schemas.errors import SettingsError
from schemas.topics import AUDIT_LOG, HTTP_KEYS, SIGNING_KEYS, TOPICS
from transport.admin import list_topics
from transport.topic_setup import apply

NOBODY = KafkaSettings("127.0.0.1:9")


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


class Shifted(SystemClock):
    """Machine's clock that is set wrong."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def utc_us(self) -> int:
        return super().utc_us() + round(self._seconds * 1e6)


@pytest.mark.broker
@pytest.mark.parametrize(
    ("seconds", "status", "detail"),
    [
        (0, "ok", "as this one"),
        (7200, "fail", "this clock is 2 h ahead of the broker's"),
        (-1800, "fail", "this clock is 30 min behind the broker's"),
        (3, "warn", "ahead of the broker's"),
    ],
)
def test_the_clock_is_compared_with_the_brokers(line, seconds, status, detail):
    check = broker_clock(line, Shifted(seconds))
    assert (check.status, bool(check.remedy)) == (status, status != "ok"), check
    assert detail in check.detail
    left = [name for name in list_topics(line) if name.startswith(f"{line.prefix}.doctor")]
    assert left == []


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (SettingsError("one line"), "one line"),
        (ImportError("no module named x"), "no module named x"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (ValueError("bad"), "ValueError: bad"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_check_that_crashes_is_a_fail(error, detail):
    def crash() -> Check:
        raise error

    check = _guarded("it", crash)
    assert (check.name, check.status, check.detail) == ("it", "fail", detail)


def test_without_a_broker_the_topics_are_not_waited_for(tmp_path):
    checks = by_name(examine(NOBODY, tmp_path))
    assert checks["broker"].status == "fail"
    assert "inspection broker start" in checks["broker"].remedy
    assert checks["topics"].status == "warn"
    for name in ("Python", "packages", "OpenCV", "disk", "resources", "schemas", "schema registry"):
        assert checks[name].status == "ok", checks[name]


def test_no_java_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert machine.java().status == "warn"


def test_kafka_home_without_kafka_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    assert machine.kafka_jars().status == "fail"


def test_jars_not_fetched_yet_are_a_warning(monkeypatch, tmp_path):
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    monkeypatch.setattr("infra.broker.kafka_jars.cache_dir", lambda: tmp_path)
    assert machine.kafka_jars().status == "warn"


@pytest.mark.parametrize(("free_mib", "status"), [(100, "fail"), (1_000, "warn"), (10_000, "ok")])
def test_disk(monkeypatch, tmp_path, free_mib, status):
    usage = type("Usage", (), {"free": free_mib * 1024 * 1024})
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    assert machine.disk(tmp_path / "not" / "made" / "yet").status == status


@pytest.mark.parametrize(
    ("synchronised", "status"), [(None, "ok"), (True, "ok"), (False, "warn")], ids=["unknown", "yes", "no"]
)
def test_clock(monkeypatch, synchronised, status):
    monkeypatch.setattr(machine, "is_clock_synchronised", lambda: synchronised)
    assert machine.clock().status == status


def test_a_clock_that_jumps_fails(monkeypatch):
    moments = iter([1_760_000_000.0, 1_760_000_003.0])
    # A clock of the module alone: threads of other tests, and pytest itself, also read the time.
    jumping = SimpleNamespace(
        time=lambda: next(moments), monotonic=time.monotonic, sleep=time.sleep, gmtime=time.gmtime
    )
    monkeypatch.setattr(machine, "time", jumping)
    assert machine.clock().status == "fail"


def test_a_dead_clock_battery_fails(monkeypatch):
    monkeypatch.setattr(machine, "_FIRST_YEAR", 9999)
    assert machine.clock().status == "fail"


def test_a_registry_that_does_not_answer_fails():
    check = _guarded("r", lambda: ours.schema_registry(KafkaSettings(schema_registry_url="http://127.0.0.1:9")))
    assert check.status == "fail"
    assert "127.0.0.1:9" in check.detail


@pytest.mark.broker
def test_topics(broker, unique):
    kafka = KafkaSettings(broker.bootstrap_servers, unique)
    assert ours.broker(kafka).status == "ok"
    assert ours.topics(kafka).status == "fail"
    apply(kafka, [topic for topic in TOPICS if topic not in (AUDIT_LOG, SIGNING_KEYS, HTTP_KEYS)])
    of_before = ours.topics(kafka)  # a line of an earlier version works
    assert of_before.status == "warn"
    assert f"{kafka.signing_keys}, so `--trust-topic` adds no keys" in of_before.detail
    assert (
        f"{kafka.http_keys}, so an idempotency key of `inspection gateway` holds in one gateway only"
        in of_before.detail
    )
    apply(kafka)
    assert ours.topics(kafka).status == "ok"


def test_command_line(tmp_path):
    app = typer.Typer()
    app.command()(doctor)
    where = ["--bootstrap-servers", NOBODY.bootstrap_servers, "--data-dir", str(tmp_path)]
    text = CliRunner().invoke(app, where)
    assert text.exit_code == 1
    assert "inspection broker start" in text.stdout
    found = json.loads(CliRunner().invoke(app, [*where, "--json"]).stdout)
    assert found["healthy"] is False
    assert {"name", "status", "detail", "remedy"} == set(found["checks"][0])


@pytest.mark.parametrize(("memory_gib", "status"), [(None, "ok"), (0.5, "warn"), (4, "ok")])
def test_resources_are_those_of_the_process(monkeypatch, memory_gib, status):
    monkeypatch.setattr(machine, "usable_cores", lambda: 3)
    monkeypatch.setattr(machine, "usable_memory_bytes", lambda: None if memory_gib is None else memory_gib * 2**30)
    check = machine.resources()
    assert check.status == status
    assert check.detail.startswith("3 cores")

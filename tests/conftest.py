"""Fixtures of the whole suite: one real broker for the run, names of its own for each test."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from hypothesis import settings

from infra.broker import LocalBroker
from schemas import KafkaSettings, known_secrets
from schemas.topics import TOPICS
from tests.support.packages import make_package
from tests.support.programs import Programs
from tests.support.secured import SecuredBroker, make_secured_broker

__all__ = ["make_package"]

#: Variable that makes Hypothesis search other examples in each run; otherwise a commit has the same ones in each run.
RANDOM_EXAMPLES = "INSPECTION_TESTS_RANDOM"

# A deadline fails where another program takes the processor for a moment.
settings.register_profile("suite", deadline=None, derandomize=not os.environ.get(RANDOM_EXAMPLES))
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def _spools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cameras of the suite, its subprocesses too, spool into a directory of the run, not into the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSPECTION_SPOOL_DIR", str(tmp_path_factory.mktemp("spool")))
        patch.setenv("INSPECTION_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        # The user's own broker may run at the default address; its password is not for the suite.
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True)
def _secrets_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that a test gives to this process hides no word of another test."""
    monkeypatch.setattr(known_secrets, "_forms", set(known_secrets._forms))
    monkeypatch.setattr(known_secrets, "_pattern", known_secrets._pattern)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A running Apache Kafka; has ``bootstrap_servers``."""
    with LocalBroker(tmp_path_factory.mktemp("broker"), port=0) as running:
        yield running


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """A running Apache Kafka with TLS, SCRAM users and client certificates."""
    found = make_secured_broker(tmp_path_factory.mktemp("secured"))
    with found.broker, found.tokens.running():
        yield found


#: Name of the user property of a test report that carries a row of the table of faults.
_ROW = "fault_row"
#: Rows of the table of faults, in the order in which the tests ended.
_ROWS: list[dict[str, Any]] = []


@pytest.fixture
def fault_row(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Put a scenario's figures into the table of faults, see `pytest_terminal_summary`."""

    def add(scenario: str, **figures: float) -> None:
        row = {"scenario": scenario, **{k: round(v, 1) for k, v in figures.items()}}
        request.node.user_properties.append((_ROW, row))

    return add


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Give every test marked ``faults`` a row, with its duration and result."""
    report = yield
    if call.when == "call" and item.get_closest_marker("faults") is not None:
        row = {"scenario": item.name.removeprefix("test_").replace("_", " ")}
        row.update(dict(report.user_properties).get(_ROW, {}))
        row.update(test_s=round(report.duration, 1), result=report.outcome)
        report.user_properties = [(_ROW, row)]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the rows: the reports come from all processes of pytest-xdist."""
    if report.when == "call":
        _ROWS.extend(row for name, row in report.user_properties if name == _ROW)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the fault scenarios came to, and write it to ``$FAULTS_REPORT`` (.json, and .md beside it)."""
    rows = _ROWS
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(str(row.get(name, '')) for name in names)} |" for row in rows]
    terminalreporter.section("faults")
    for line in lines:
        terminalreporter.line(line)
    if path := os.environ.get("FAULTS_REPORT"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        Path(path).with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def unique() -> str:
    """A prefix for topics, groups and files that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def programs(unique: str, tmp_path: Path) -> Iterator[Programs]:
    """Programs of a line, not connected yet. They end with the test."""
    found = Programs(tmp_path, unique)
    yield found
    found.close()


@pytest.fixture
def line(broker: LocalBroker, unique: str) -> Iterator[KafkaSettings]:
    """Settings of a line whose topics exist. They are deleted afterwards: each topic makes the broker slower."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    wanted = [NewTopic(topic.name(unique), topic.partitions, 1, config=topic.config) for topic in TOPICS]
    for created in admin.create_topics(wanted).values():
        created.result(20)
    until_s = time.monotonic() + 20
    while not _are_known(admin, {topic.topic: topic.num_partitions for topic in wanted}):
        assert time.monotonic() < until_s, "the broker does not know the topics that it has created"
        time.sleep(0.01)
    yield KafkaSettings(broker.bootstrap_servers, unique)
    admin.delete_topics([topic.topic for topic in wanted])


def _are_known(admin: AdminClient, partitions: dict[str, int]) -> bool:
    """Return True if the broker knows a leader for each partition: it creates topics a moment before it knows them."""
    topics = admin.list_topics(timeout=10).topics
    return all(
        name in topics and sum(each.leader >= 0 for each in topics[name].partitions.values()) == count
        for name, count in partitions.items()
    )


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parent.parent

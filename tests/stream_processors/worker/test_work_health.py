"""Health of the work: incoming frames are inspected, and the broker answers."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Producer

from infra.demo.processes import WorkerProcess
from schemas import Action, Decision, KafkaSettings, ResultState, Verdict
from schemas.clock import ManualClock
from schemas.codec import encode
from schemas.errors import SettingsError
from stream_processors.faust_host.process import _health
from stream_processors.watch.app import make_watch_app
from stream_processors.watch.metrics import WatchMetrics
from stream_processors.watch.notify import Notifier
from stream_processors.watch.settings import WatchSettings
from stream_processors.worker.frame_task import ProcessingResult
from stream_processors.worker.settings import WorkerSettings
from stream_processors.worker.supervisor import WorkerSupervisor
from stream_processors.worker.work_health import WorkHealth
from tests.support.press_frames import make_frame
from tests.support.records import DECISION
from transport.broker_contact import BrokerContact

LIMIT_S = 30


class Work:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.health = WorkHealth(LIMIT_S, self.clock)

    def frames(
        self, seconds: float, state: ResultState | None, *, every_s: float = 1.0, shed: str | None = None
    ) -> None:
        """Let frames come and answer them; with state None they are not answered."""
        for _ in range(round(seconds / every_s)):
            self.health.came()
            if state is not None:
                self.health.answered(ProcessingResult(decision(state), shed=shed))
            self.clock.advance(every_s)


def decision(state: ResultState) -> Decision:
    return replace(DECISION, result_state=state, verdict=Verdict.NOT_DECIDABLE, action=Action.REJECT)


@pytest.mark.parametrize("state", [ResultState.ABORTED, ResultState.FAILED, None])
def test_frames_that_come_and_are_not_inspected_are_a_reason(state: ResultState | None) -> None:
    work = Work()
    work.frames(100, ResultState.COMPLETED)
    assert work.health.trouble() is None
    work.frames(29, state)
    assert work.health.trouble() is None
    work.frames(3, state, shed="deadline")
    reason = work.health.trouble()
    assert reason is not None
    assert reason.startswith("frames come and none was inspected for 3")
    if state is None:
        assert "32 wait" in reason
    else:
        assert "deadline" in reason


def test_one_verdict_ends_the_trouble() -> None:
    work = Work()
    work.frames(60, ResultState.FAILED)
    assert work.health.trouble() is not None
    work.frames(1, ResultState.COMPLETED)
    assert work.health.trouble() is None


def test_an_idle_line_is_healthy() -> None:
    work = Work()
    assert work.health.trouble() is None
    work.clock.advance(10_000)
    assert work.health.trouble() is None
    work.frames(3, ResultState.FAILED)
    work.clock.advance(10_000)
    assert work.health.trouble() is None
    work.health.came()  # the first frame for hours gets the full time, whatever the last ones were
    work.clock.advance(LIMIT_S - 1)
    assert work.health.trouble() is None


def test_a_slow_line_of_broken_images_is_noticed() -> None:
    work = Work()
    work.frames(200, ResultState.FAILED, every_s=20)
    assert work.health.trouble() is not None


def test_a_frame_that_is_never_answered_is_noticed_though_no_other_comes() -> None:
    work = Work()
    work.health.came()
    work.clock.advance(1_000)
    assert work.health.trouble() == "frames come and none was inspected for 1000 s; 1 wait"


def test_no_limit() -> None:
    clock = ManualClock()
    health = WorkHealth(0, clock)
    health.came()
    clock.advance(1_000)
    assert health.trouble() is None


@pytest.mark.parametrize("given", [-1.0, float("nan"), float("inf")])
def test_an_impossible_limit_is_refused(given: float) -> None:
    with pytest.raises(SettingsError, match="unhealthy-after-s"):
        WorkerSettings(unhealthy_after_s=given)


def statistics(*brokers: dict[str, Any]) -> str:
    logical = {**broker(leads=False), "nodeid": -1, "state": "INIT"}
    return json.dumps({"brokers": {str(number): each for number, each in enumerate([logical, *brokers])}})


def broker(
    *, state: str = "UP", received_s: float = 0.1, sent_s: float = 0.2, owes: int = 1, leads: bool = True
) -> dict[str, Any]:
    return {
        "nodeid": 1, "state": state, "waitresp_cnt": owes, "rxidle": round(received_s * 1e6),
        "txidle": round(sent_s * 1e6), "toppars": {"frames-0": {}} if leads else {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "brokers", "connected"),
    [
        ("answers", [broker()], True),
        ("frozen", [broker(received_s=8, sent_s=8)], False),
        ("away", [broker(state="DOWN")], False),
        ("asked nothing for an hour", [broker(received_s=3_600, sent_s=3_600, owes=0)], True),
        ("asked just now, after an hour", [broker(received_s=3_600, sent_s=0)], True),
        ("one of two leaders is away", [broker(), broker(state="TRY_CONNECT")], False),
        ("one that leads nothing is away", [broker(), broker(state="DOWN", leads=False)], True),
        ("no partitions yet", [broker(leads=False), broker(state="DOWN", leads=False)], True),
        ("none", [], False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contact(name: str, brokers: list[dict[str, Any]], connected: bool) -> None:
    now_s = [0.0]
    contact = BrokerContact(lambda: now_s[0])
    assert contact.connected is None
    contact.saw(statistics(*brokers))
    assert contact.connected is connected
    now_s[0] = 11  # its thread hangs: nothing is known of the broker
    assert not contact.connected


def test_a_fleet_names_the_process_that_is_not_well() -> None:
    class Member:
        def __init__(self, **report: Any) -> None:
            self._report = report

        def report(self) -> dict[str, Any]:
            return self._report

    fleet = WorkerSupervisor.__new__(WorkerSupervisor)
    well = Member(ok=True, reason=None, connected=True, assigned=["f-0"], rebalancing=False)
    fleet._children = [well, Member(ok=False, reason="the broker does not answer", connected=False), Member(ok=False)]  # type: ignore[list-item]
    report = fleet.health()
    assert not report["ok"]
    assert report["reason"] == "process 1: the broker does not answer; process 2: it is not well"
    assert report["connected"] is False
    fleet._children = [well, well]  # type: ignore[list-item]
    assert (fleet.health()["ok"], fleet.health()["reason"], fleet.health()["connected"]) == (True, None, True)


@pytest.mark.broker
@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_that_inspects_nothing_says_so(line: KafkaSettings, start_worker: Any, processes: int) -> None:
    """Use a camera whose clock is a day behind: every frame is shed, and the process is healthy."""
    worker: WorkerProcess = start_worker("--unhealthy-after-s", "2", "--processes", str(processes))
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    report: dict[str, Any] = {}

    def publish_until(status: int, age_us: int, reason: str = "") -> dict[str, Any]:
        until_s = time.monotonic() + 60
        sequence = 0
        while time.monotonic() < until_s:
            sequence += 1
            captured_at_us = time.time_ns() // 1000 - age_us
            frame = make_frame(sequence, captured_at_us=captured_at_us, deadline_ms=60_000)
            producer.produce(line.frames, encode(frame), frame.key)
            producer.flush(10)
            try:
                with urllib.request.urlopen(worker.url + "/health", timeout=5) as answer:
                    found, report = answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                found, report = error.code, json.load(error)
            if found == status and reason in (report["reason"] or "") and (status == 503 or report["connected"]):
                return report
            time.sleep(0.2)
        raise AssertionError(f"no {status}: {report}")

    report = publish_until(503, 86_400_000_000, "frames come and none was inspected")
    assert "deadline" in report["reason"]
    report = publish_until(200, 0)
    assert report["reason"] is None


def test_the_watch_says_that_its_broker_is_silent() -> None:
    app, _ = make_watch_app(WatchSettings(), lambda *_: None, WatchMetrics(), Notifier(None, logging.getLogger()))
    app._started.set()
    broker = {"nodeid": 1, "state": "UP", "waitresp_cnt": 1, "rxidle": 10, "txidle": 10, "toppars": {"d-0": {}}}
    said = []
    for idle_us in (10, 9_000_000):
        app.consumer._contact.saw(json.dumps({"brokers": {"b": broker | {"rxidle": idle_us, "txidle": idle_us}}}))
        health = _health(app, {}, stopping=False, trouble=None)
        said.append((health["ok"], health["connected"], health["reason"]))
    assert said == [(True, True, None), (False, False, "the broker does not answer")]

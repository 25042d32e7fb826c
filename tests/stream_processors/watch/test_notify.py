"""Notifications of drift: a real server on loopback that answers, refuses, stalls and goes away."""

from __future__ import annotations

import dataclasses
import http.server
import json
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from prometheus_client import CollectorRegistry

from schemas import DriftEvent, EpisodeState, SignalChange
from schemas.errors import SettingsError
from stream_processors.watch.notify import Notifier, headline, payload
from tests.support.records import DRIFT_EVENT
from tests.support.strategies import drift_events

log = logging.getLogger("watch")
OPENED, UPDATED, CLOSED, ACKNOWLEDGED = EpisodeState


def event(name: str = "e", state: EpisodeState = OPENED, **changes: Any) -> DriftEvent:
    return dataclasses.replace(DRIFT_EVENT, episode_id=name, event_id=f"{name}-{state}", state=state, **changes)


class Hook:
    """A webhook: answers with the given statuses in turn, then with 200; may be held up."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.received: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.requests.append((self.command, self.path, self.headers["Content-Type"]))
                hook.goes_on.wait(20)
                status = hook.statuses.pop(0) if hook.statuses else 200
                if status == 200:
                    hook.received.append(json.loads(body))
                try:
                    self.send_response(status)
                    if status in (302, 307):
                        self.send_header("Location", hook.url)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # who asked has gone

            def do_GET(self) -> None:
                hook.requests.append(("GET", self.path, None))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/secret-path"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.goes_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


def counts(notifier: Notifier) -> dict[str, float]:
    name = "inspection_drift_notifications_total"
    values = {r: notifier.registry.get_sample_value(name, {"result": r}) for r in ("sent", "failed", "dropped")}
    return {result: value for result, value in values.items() if value}


def await_(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.005)


def test_what_opens_and_closes_is_posted_in_order(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    notifier = Notifier(hook.url, log, registry=registry)
    for state in (OPENED, UPDATED, ACKNOWLEDGED, CLOSED):
        notifier.notify(event("a", state, closed_because="recovered" if state is CLOSED else ""))
    notifier.notify(event("sim", is_simulated=True))
    assert notifier.close(5)
    assert [said["event"]["event_id"] for said in hook.received] == ["a-OPENED", "a-CLOSED"]
    assert hook.requests == [("POST", "/secret-path", "application/json")] * 2
    opened = "data drift opened on line-1, press/top: brightness fell by 0.8 standard deviations (episode a)"
    assert [said["text"] for said in hook.received] == [
        opened,
        "data drift is over on line-1, press/top: recovered (episode a)",
    ]
    assert caplog.messages[0] == opened
    assert len(caplog.messages) == 2
    assert counts(notifier) == {"sent": 2}
    assert registry.get_sample_value("inspection_drift_events_told_total", {"state": "OPENED"}) == 1


def test_an_event_that_is_no_json_ends_no_thread(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(hook.url, log)
    notifier.notify(event("a", model_version=object()))
    notifier.notify(event("b"))
    assert notifier.close(5)
    assert [said["event"]["event_id"] for said in hook.received] == ["b-OPENED"]
    assert counts(notifier) == {"failed": 1, "sent": 1}
    assert "a drift notification failed by a fault of the program, and goes on: TypeError: " in caplog.text


def test_other_states_may_be_asked_for(hook: Hook) -> None:
    notifier = Notifier(hook.url, log, states=[ACKNOWLEDGED])
    notifier.notify(event(state=OPENED))
    notifier.notify(event(state=ACKNOWLEDGED))
    assert notifier.close(5)
    assert [said["event"]["state"] for said in hook.received] == ["ACKNOWLEDGED"]


def test_without_a_webhook_it_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(None, log)
    notifier.notify(event(cause="frozen"))
    assert notifier.close(0)
    assert "data drift (frozen) opened on line-1" in caplog.text
    assert notifier.registry.get_sample_value("inspection_drift_events_told_total", {"state": "OPENED"}) == 1
    assert counts(notifier) == {}


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_what_may_pass_is_tried_again(hook: Hook, status: int) -> None:
    hook.statuses = [status, status]
    notifier = Notifier(hook.url, log, backoff_s=0.05)
    began = time.monotonic()
    notifier.notify(event())
    assert notifier.close(5)
    assert (len(hook.requests), len(hook.received), counts(notifier)) == (3, 1, {"sent": 1})
    assert time.monotonic() - began >= 0.05 + 0.1


@pytest.mark.parametrize("status", [400, 404, 302, 307])
def test_what_is_refused_or_sent_elsewhere_is_not(hook: Hook, status: int, caplog: pytest.LogCaptureFixture) -> None:
    hook.statuses = [status]
    notifier = Notifier(hook.url, log, backoff_s=0.01)
    notifier.notify(event("a"))
    notifier.notify(event("b"))
    assert notifier.close(5)
    assert len(hook.requests) == 2  # and no GET
    assert [said["event"]["episode_id"] for said in hook.received] == ["b"]
    assert counts(notifier) == {"sent": 1, "failed": 1}
    (said,) = (text for text in caplog.messages if "status" in text)
    assert f"status {status}" in said
    assert "secret" not in caplog.text


def test_the_proxy_of_the_environment_is_used(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", hook.url)
    notifier = Notifier("http://chat.invalid/hooks/1", log)
    notifier.notify(event())
    assert notifier.close(5)
    assert hook.requests == [("POST", "http://chat.invalid/hooks/1", "application/json")]
    assert counts(notifier) == {"sent": 1}


def test_it_ends_after_so_many_tries(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    hook.statuses = [500] * 9
    notifier = Notifier(hook.url, log, attempts=3, backoff_s=0.01)
    notifier.notify(event())
    assert notifier.close(5)
    assert (len(hook.requests), counts(notifier)) == (3, {"failed": 1})
    assert "given up after 3 tries: status 500" in caplog.text


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (None, "failed"),
        (b"", "failed"),
        (b"not http\r\n\r\n", "failed"),
        (b"HTTP/1.1 2", "failed"),
        (b"HTTP/1.1 200 OK\r\nContent", "sent"),  # it said that it has it
    ],
)
def test_a_server_that_is_gone_or_talks_nonsense(answer: bytes | None, result: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    # All of it, headers and body: what is left unread would be answered with a reset.
                    asked = connection.recv(65536)
                    while not asked.endswith(b"}") and (more := connection.recv(65536)):
                        asked += more
                    connection.sendall(answer or b"")

        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        else:
            server.close()
        notifier = Notifier(f"http://127.0.0.1:{port}/", log, attempts=2, backoff_s=0.01)
        notifier.notify(event())
        assert notifier.close(5)
        if answer is not None:
            server.shutdown(socket.SHUT_RDWR)
    assert counts(notifier) == {result: 1}


def test_a_slow_hook_holds_up_nobody_and_costs_the_oldest(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    hook.goes_on.clear()
    notifier = Notifier(hook.url, log, limit=3)
    notifier.notify(event("0"))
    await_(lambda: len(hook.requests) == 1)
    began = time.monotonic()
    for number in range(1, 11):
        notifier.notify(event(str(number)))
    assert time.monotonic() - began < 20  # the hook has five seconds for each
    assert counts(notifier) == {"dropped": 7}
    hook.goes_on.set()
    assert notifier.close(10)
    assert [said["event"]["episode_id"] for said in hook.received] == ["0", "8", "9", "10"]
    assert counts(notifier) == {"sent": 4, "dropped": 7}


def test_a_stalled_hook_times_out(hook: Hook) -> None:
    hook.goes_on.clear()
    notifier = Notifier(hook.url, log, timeout_s=0.1, attempts=2, backoff_s=0.01)
    notifier.notify(event())
    await_(lambda: counts(notifier) == {"failed": 1})
    assert notifier.close(1)


def test_close_takes_no_longer_than_it_may_and_counts_what_is_left(
    hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook.goes_on.clear()
    notifier = Notifier(hook.url, log, timeout_s=1.5, attempts=9, backoff_s=60)
    for name in "abc":
        notifier.notify(event(name))
    await_(lambda: len(hook.requests) == 1)
    began = time.monotonic()
    assert not notifier.close(0.2)
    assert time.monotonic() - began < 10
    assert counts(notifier) == {"dropped": 2}
    assert "2 drift notifications to 127.0.0.1" in caplog.text
    notifier.notify(event("late"))
    assert counts(notifier) == {"dropped": 3}
    # The thread does not sit out its pause either.
    await_(lambda: counts(notifier) == {"dropped": 3, "failed": 1})
    assert notifier.close(2)


@pytest.mark.parametrize(
    "webhook",
    ["", "chat.plant/hook", "file:///etc/passwd", "ftp://h/x", "http://", "https:///x", "http://u:secret@h/x", "http://h:0/",
     "http://h:99999/x", "http://[::1/x", "http://h/a b", "http://h/a\r\nX: y", "http://höst/x"],
)  # fmt: skip
def test_only_http_urls_are_taken(webhook: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Notifier(webhook, log)
    assert "secret" not in str(raised.value)


def test_numbers_that_json_has_no_word_for_are_null() -> None:
    change = SignalChange("noise", "adwin", math.nan, math.inf, -1.5)
    said = json.loads(json.dumps(payload(event(signals=(change,))), allow_nan=False))
    assert said["event"]["signals"] == [
        {"signal": "noise", "detector": "adwin", "before": None, "after": None, "magnitude_sd": -1.5}
    ]


@given(drift_events)
def test_any_event_has_a_payload_with_all_its_fields(any_event: DriftEvent) -> None:
    said = json.loads(json.dumps(payload(any_event), allow_nan=False))
    assert set(said) == {"text", "event"}
    assert set(said["event"]) == {field.name for field in dataclasses.fields(DriftEvent)}
    assert len(headline(any_event).splitlines()) == 1

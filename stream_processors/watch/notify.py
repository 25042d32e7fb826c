"""Notification of people about drift: a log line, a counter, and a POST to a webhook; it never delays the watch."""

from __future__ import annotations

import dataclasses
import http.client
import json
import logging
import math
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter

from schemas.addresses import masked_text
from schemas.errors import SettingsError
from schemas.records import WARM_UP, DriftEvent, EpisodeState
from transport.surviving import surviving

_STATES = frozenset({EpisodeState.OPENED, EpisodeState.CLOSED})
#: Status codes after which a retry may succeed: timeout, too early, too many requests; besides all server errors.
_PASSING = frozenset({408, 425, 429})


class Notifier:
    """Reporter of episodes that open or close.

    `notify` only writes a log line and puts the event into a queue. One thread takes events from the queue and posts
    them. If the webhook is slow or down, the oldest waiting events are dropped, and counted. If a receiver answers too
    late, it is unknown if it has acted on the message: after a retry, or a restart of the watch, the same ``event_id``
    may come again.

    Parameters
    ----------
    webhook
        An http or https URL that accepts a POST of JSON, see `payload`; None: log and count only. Redirects are not
        followed. Only its host is ever logged: the path may contain a secret.
    log
        Logger for one line on each event that is reported.
    states
        States whose events are reported. Events of replays never are.
    limit
        Most events that wait.
    timeout_s, attempts, backoff_s
        Timeout of one POST; number of attempts; pause before the second attempt, doubled before each further one.
    registry
        Registry of the counters ``inspection_drift_events_told_total{state}`` and
        ``inspection_drift_notifications_total{result}``, result being sent, failed or dropped. None: its own registry.

    Raises
    ------
    SettingsError
        If the webhook is not an http or https URL with a host, or contains a password.

    Examples
    --------
    >>> Notifier("file:///etc/passwd", logging.getLogger("watch"))
    Traceback (most recent call last):
    ...
    schemas.errors.SettingsError: the webhook is a URL as https://chat.plant/hooks/1, without user and password
    >>> notifier = Notifier(None, logging.getLogger("watch"))
    >>> notifier.close(timeout_s=1.0)
    True
    """

    def __init__(
        self,
        webhook: str | None,
        log: logging.Logger,
        *,
        states: Collection[EpisodeState] = _STATES,
        limit: int = 100,
        timeout_s: float = 5.0,
        attempts: int = 4,
        backoff_s: float = 1.0,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._url = None if webhook is None else _checked(webhook)
        self._host = "" if webhook is None else urlsplit(webhook).netloc
        self._log = log
        self._states = frozenset(states)
        self._limit = limit
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._backoff_s = backoff_s
        self.registry = registry or CollectorRegistry()
        self._notified = Counter("inspection_drift_events_told", "Drift events told", ["state"], registry=self.registry)
        self._results = Counter(
            "inspection_drift_notifications",
            "Drift events by what became of their POST: sent, failed, dropped",
            ["result"],
            registry=self.registry,
        )
        self._waiting: deque[DriftEvent] = deque()
        self._change = threading.Condition()
        self._closing = False
        self._stopping = threading.Event()
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._run, name="drift-notify", daemon=True)
        if self._url is not None:
            for result in ("sent", "failed", "dropped"):
                self._results.labels(result)
            self._thread.start()

    def notify(self, event: DriftEvent) -> None:
        """Report an event that opens or closes an episode; ignore others. Returns at once and never raises."""
        if event.state not in self._states or event.is_simulated:
            return
        self._log.warning("%s", headline(event))
        self._notified.labels(event.state.value).inc()
        if self._url is None:
            return
        with self._change:
            if self._closing:
                self._results.labels("dropped").inc()
                return
            if len(self._waiting) >= self._limit:
                self._waiting.popleft()
                self._results.labels("dropped").inc()
            self._waiting.append(event)
            self._change.notify()

    def close(self, timeout_s: float = 5.0) -> bool:
        """Send the waiting events, as far as the time permits; return False if some were not sent. Idempotent."""
        with self._change:
            self._closing = True
            self._change.notify()
        if self._url is None:
            return True
        self._thread.join(timeout_s)
        self._stopping.set()
        with self._change:
            left = len(self._waiting)
            self._waiting.clear()
        if left:
            self._results.labels("dropped").inc(left)
            self._log.warning("%d drift notifications to %s were not sent", left, self._host)
        return left == 0 and not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._closing:
                    self._change.wait()
                if not self._waiting or self._stopping.is_set():
                    return
                event = self._waiting.popleft()
            error: str | None = "a fault of the program"
            with surviving(self._log, "a drift notification"):
                error = self._send(event)
            self._results.labels("sent" if error is None else "failed").inc()
            if error is not None:
                self._log.error("drift notification of episode %s to %s: %s", event.episode_id, self._host, error)

    def _send(self, event: DriftEvent) -> str | None:
        """Post one event; return None, or the reason for the failure."""
        body = json.dumps(payload(event), allow_nan=False).encode()
        error = ""
        for number in range(self._attempts):
            if number and self._stopping.wait(self._backoff_s * 2 ** (number - 1)):
                return f"given up after {number} tries: {error}"
            status, error = self._post(body)
            if status is not None and 200 <= status < 300:
                return None
            if status is not None and status < 500 and status not in _PASSING:
                return error  # a retry would be refused again
        return f"given up after {self._attempts} tries: {error}"

    def _post(self, body: bytes) -> tuple[int | None, str]:
        """Return the status of the answer (None if there is no answer), and the error text if it is not a success."""
        assert self._url is not None
        headers = {"Content-Type": "application/json", "User-Agent": "streaming-inspection"}
        request = urllib.request.Request(self._url, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return int(answer.status), ""
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, f"status {refused.code}"
        # A server may answer anything, or nothing: refused, reset, timed out, truncated, not HTTP.
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            return None, masked_text(f"{type(error).__name__}: {reason}", self._url)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Handler that follows no redirect: a redirected POST would become a GET without a body, and count as sent."""

    def redirect_request(self, *_: Any) -> None:
        return None


def headline(event: DriftEvent) -> str:
    """Return the event in one line for a person, such as ``data drift opened on line-1, press/top: ...``."""
    about = "warm-up, no consequence" if event.cause == WARM_UP else event.cause
    what = f"{event.drift_type.value.lower()} drift" + (f" ({about})" if about else "")
    where = f"{event.line}, {event.station}/{event.camera_id}"
    if event.state is EpisodeState.CLOSED:
        why = event.closed_because or "no reason given"
        text = f"{what} is over on {where}: {why}"
    else:
        text = f"{what} {event.state.value.lower()} on {where}: {event.reason}"
    return " ".join(f"{text} (episode {event.episode_id})".split())


def payload(event: DriftEvent) -> dict[str, Any]:
    """Return the JSON to post: ``text``, one line for a person, and ``event``, all fields of the record by their names.

    Enumerations are their names, times UTC microseconds; a number that JSON cannot express (NaN, infinity) is null.
    """
    return {"text": headline(event), "event": _plain(dataclasses.asdict(event))}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _checked(webhook: str) -> str:
    try:
        parts = urlsplit(webhook)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_good = is_good and "@" not in parts.netloc and webhook.isascii() and webhook.isprintable()
    except ValueError:
        is_good = False
    if not is_good or " " in webhook:
        # The text does not repeat the URL: it may contain a secret.
        raise SettingsError("the webhook is a URL as https://chat.plant/hooks/1, without user and password")
    return webhook


__all__ = ["Notifier", "headline", "payload"]

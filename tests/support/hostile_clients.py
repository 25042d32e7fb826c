"""Clients that send mutated requests to a gateway, and the rules for every answer."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway.problems import PROBLEMS, URN
from tests.support.hostile_requests import HostileRequest, hostile_request

#: Time beyond its wait in which an answer comes on a loaded machine, in seconds.
SLACK_S = 20.0
_LONGEST_DETAIL = 400
#: Names of exceptions and of Python's own things say nothing to a client.
_OF_PYTHON = re.compile(r"Traceback|\b[A-Z]\w+(Error|Exception)\b|<\w+ object|NoneType|codec can't|self\.")


@dataclass
class HostileRun:
    """Result of a run: answers by family and status, what was wrong, and the slowest answer."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def of(self, family: str) -> Counter[int]:
        """Return the statuses of a family."""
        return Counter({status: count for (name, status), count in self.statuses.items() if name == family})


def send_all(
    url: str, seed: int, count: int, clients: int, on_number: Callable[[int], object] = lambda number: None
) -> HostileRun:
    """Send requests by number from several clients; ``on_number`` is called with the number of each one."""
    run = HostileRun()
    lock = threading.Lock()
    numbers = iter(range(count))

    def work() -> None:
        connection = _connect(url)
        while True:
            with lock:
                number = next(numbers, None)
                if number is None or len(run.faults) > 20:
                    break
                on_number(number)
            request = hostile_request(seed, number)
            began_s = time.monotonic()
            try:
                status, headers, data = _exchange(connection, request)
                fault = fault_of(request, status, headers, data)
                is_closed = headers.get("connection", "").lower() == "close"
            except (OSError, http.client.HTTPException, ValueError) as error:
                status, fault, is_closed = 0, f"no answer: {error!r}", True
            took_s = time.monotonic() - began_s
            if took_s > request.wait_s + SLACK_S:
                fault = f"{fault or ''} took {took_s:.1f} s"
            with lock:
                run.statuses[request.family, status] += 1
                run.slowest_s = max(run.slowest_s, took_s)
                if fault is not None:
                    run.faults.append(f"seed {seed} number {number} ({request.family}): {status} {fault}")
            if is_closed:
                connection.close()
                connection = _connect(url)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return run


def _connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60 + 2 * SLACK_S)


def _exchange(connection: socket.socket, request: HostileRequest) -> tuple[int, dict[str, str], bytes]:
    connection.sendall(request.raw)
    response = http.client.HTTPResponse(connection, method=request.method.decode())
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, headers, response.read()


def fault_of(request: HostileRequest, status: int, headers: dict[str, str], data: bytes) -> str | None:
    """Return what is wrong with an answer; None if it keeps all rules."""
    kind = headers.get("content-type", "")
    if status == 500 or status > 504:
        return f"a fault of the gateway: {data[:300]!r}"
    if kind == "application/octet-stream" and status == 200:
        return None
    try:
        value = json.loads(data)
    except ValueError:
        return f"no JSON: {data[:200]!r}"
    if 200 <= status < 300:
        entries = value.get("inspections", []) if isinstance(value, dict) else []
        return next(filter(None, (_fault_of_entry(entry) for entry in entries)), None)
    # The server refuses what is no HTTP before it knows the path.
    if request.is_foreign and kind == "application/json":
        return _fault_of_text(value.get("error")) if set(value) == {"error"} else f"not an error: {value}"
    return _fault_of_problem(value, status) if kind == "application/problem+json" else f"{kind}: {data[:200]!r}"


def _fault_of_entry(entry: dict[str, Any]) -> str | None:
    status = entry["status"]
    if status in (200, 202):
        return None
    return _fault_of_problem(entry["problem"], status)


def _fault_of_problem(value: dict[str, Any], status: int) -> str | None:
    name = str(value.get("type")).removeprefix(URN)
    if name not in PROBLEMS or name == "internal" or value.get("status") != status:
        return f"not a problem of the table: {str(value)[:300]}"
    return _fault_of_text(value.get("detail"))


def _fault_of_text(text: object) -> str | None:
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_DETAIL:
        return f"not one sentence: {text!r:.500}"
    if not text.isprintable() or _OF_PYTHON.search(text):
        return f"not a clear sentence: {text!r}"
    return None

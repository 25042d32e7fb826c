"""Load over HTTP: closed, for the highest rate, and open, for latency.

A client is a thread with a connection of its own. In an open load each request has a time of its own, fixed before the
run; a request that is sent late has waited since then, and the wait is part of its latency (no coordinated omission).
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.open_loop import Schedule, Shot

_LEAD_S = 0.3
_TIMEOUT_S = 120.0


@dataclass(slots=True)
class Measured:
    """Latencies in ms of the requests that were answered with 200, number of others, and length of the run in s."""

    latencies_ms: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies_ms) / self.seconds


class _Client:
    def __init__(self, url: str, images: Sequence[bytes]) -> None:
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
        self._images = images

    def ask(self, number: int) -> bool:
        """Post an image; return True if the status is 200."""
        image = self._images[number % len(self._images)]
        self._connection.request("POST", self._path, image, {"Content-Type": "image/jpeg", "Prefer": "wait=30"})
        answer = self._connection.getresponse()
        answer.read()
        return answer.status == 200

    def close(self) -> None:
        self._connection.close()


def saturate(url: str, images: Sequence[bytes], clients: int, seconds: float) -> Measured:
    """Ask with a number of clients, each without a pause, for some time."""
    until_s = time.monotonic() + seconds

    def requests(client: _Client, place: int, note: Callable[[float, bool], None]) -> None:
        number = place
        while (began_s := time.monotonic()) < until_s:
            is_answered = client.ask(number)
            note(began_s, is_answered)
            number += clients

    return _run(url, images, clients, requests)


def send_at(url: str, images: Sequence[bytes], schedule: Schedule) -> Measured:
    """Send each request of a schedule at its time; a camera of the schedule is a client."""
    start_s = time.monotonic() + _LEAD_S
    shots: list[list[Shot]] = [[] for _ in range(schedule.cameras)]
    for shot in schedule.shots():
        shots[shot.camera].append(shot)

    def requests(client: _Client, place: int, note: Callable[[float, bool], None]) -> None:
        for shot in shots[place]:
            due_s = start_s + shot.at_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            is_answered = client.ask(shot.number)
            note(due_s, is_answered)

    return _run(url, images, schedule.cameras, requests)


def _run(
    url: str,
    images: Sequence[bytes],
    clients: int,
    requests: Callable[[_Client, int, Callable[[float, bool], None]], None],
) -> Measured:
    found = Measured()
    lock = threading.Lock()
    errors: list[BaseException] = []

    def note(since_s: float, is_answered: bool) -> None:
        latency_ms = (time.monotonic() - since_s) * 1000
        with lock:
            if is_answered:
                found.latencies_ms.append(latency_ms)
            else:
                found.refused += 1

    def run(place: int) -> None:
        client = _Client(url, images)
        try:
            requests(client, place, note)
        except (OSError, http.client.HTTPException) as error:
            errors.append(error)
        finally:
            client.close()

    began_s = time.monotonic()
    threads = [threading.Thread(target=run, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise RuntimeError(f"{url}: a client ended: {errors[0]}") from errors[0]
    found.seconds = time.monotonic() - began_s
    return found

"""Clients that ask a gateway without a pause, and the checks afterwards."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from operations.audit.topics import audit_topics
from replay.past.source import Source
from schemas import KafkaSettings
from tests.support.gateways import Answer, ask, make_image, wait_until

WAIT_S = 2.0
#: Time beyond its wait in which an answer arrives on a loaded machine, in seconds.
SLACK_S = 10.0


class Requests:
    """Clients that ask without a pause, each request with a key of its own.

    ``answers`` has the status of each key; a status of 0 is a connection that broke.
    """

    def __init__(self, url: Callable[[], str], clients: int = 4) -> None:
        self._url = url
        self._images = [make_image(number) for number in range(8)]
        self._stop = threading.Event()
        self.answers: dict[str, tuple[int, Answer | None]] = {}
        self.slowest_s = 0.0
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, client: int) -> None:
        number = 0
        while not self._stop.is_set():
            key = f"{client}-{number}"
            began_s = time.monotonic()
            answer = self.ask(key, WAIT_S)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
            self.answers[key] = (0, None) if answer is None else (answer.status, answer)
            number += 1
            if answer is None or answer.status != 200:
                self._stop.wait(0.05)

    def ask(self, key: str, wait_s: float) -> Answer | None:
        """Ask with a key; return None if the connection broke."""
        image = self._images[sum(key.encode()) % len(self._images)]
        named = {"Content-Type": "image/png", "Prefer": f"wait={wait_s}", "Idempotency-Key": key}
        try:
            return ask(self._url(), "POST", "/v1/inspections", image, **named)
        except (OSError, ConnectionError):
            return None

    def statuses(self) -> Counter[int]:
        """Return the number of answers by status so far."""
        return Counter(status for status, _ in list(self.answers.values()))

    def await_successes(self, count: int) -> None:
        """Wait until further requests were answered with a decision."""
        before = self.statuses()[200]
        wait_until(lambda: self.statuses()[200] >= before + count)

    def stop(self) -> None:
        """Stop asking."""
        self._stop.set()

    def end(self) -> None:
        """Stop asking, and check that each request had one answer in time."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self.slowest_s < WAIT_S + SLACK_S
        assert set(self.statuses()) <= {0, 200, 503, 504}

    def check_keys(self) -> None:
        """Check that each key that had a decision has the same one again."""
        decided = [(key, answer) for key, (status, answer) in self.answers.items() if status == 200]
        for key, answer in decided[-40:]:
            again = self.ask(key, 60)
            assert again is not None
            assert answer is not None
            assert (again.status, again.json) == (200, answer.json)


def check_books(kafka: KafkaSettings) -> None:
    """Check that each frame has one answer. A worker that runs may be behind the requests, which wait two seconds."""

    def is_complete() -> bool:
        return sum(each.unaccounted for each in audit_topics(Source(kafka)).cameras().values()) == 0

    wait_until(is_complete)
    counts = audit_topics(Source(kafka)).cameras().values()
    assert sum(each.decided for each in counts) > 0
    wrong = {(each.unaccounted, each.conflicts, each.late_accepts, each.unexplained_gaps) for each in counts}
    assert wrong == {(0, 0, 0, 0)}

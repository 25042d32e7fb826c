"""Bridge from Kafka to a prediction server and back: one consumer, threads that POST one frame each, one producer.

There are four posting threads for each server process. So no server process waits for the bridge, however the
connections are spread over the processes. With ``--from-memory`` the bridge is the classic edge design instead: a
client that has the images itself, without Kafka before the server. It still writes the decisions to Kafka, where they
are counted.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from typing import Any

import requests
from confluent_kafka import Consumer, Producer

from benchmarks.contenders.job import Job, answer, parse
from infra.cli.shared.shutdown import stop_on_signals

_IMAGES = 64
_WAIT_S = 60.0
#: Posting threads for each server process.
_POSTERS = 4


def wait_for(url: str) -> None:
    """Wait until the server answers.

    Raises
    ------
    TimeoutError
        If it does not answer within `_WAIT_S`.
    """
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until:
        try:
            requests.get(f"{url}/health", timeout=5).raise_for_status()
            return
        except requests.RequestException:
            time.sleep(0.1)
    raise TimeoutError(f"no server at {url}")


class Poster:
    """Queue of images, and threads that post them and publish the answers; each thread has a session of its own."""

    def __init__(self, job: Job, stop: threading.Event) -> None:
        self._url, self._decisions, self._stop = f"{job.url}/predict", job.decisions, stop
        self._queue: queue.Queue[tuple[int, int, bytes | None, bytes]] = queue.Queue(2 * _POSTERS * job.threads)
        self._producer = Producer({"bootstrap.servers": job.bootstrap_servers, "linger.ms": 0, "acks": "all"})
        self._threads = [threading.Thread(target=self._post) for _ in range(_POSTERS * job.threads)]
        for thread in self._threads:
            thread.start()

    def hand(self, partition: int, offset: int, key: bytes | None, image: bytes) -> None:
        """Put an image into the queue; wait for a free place, or for the stop event."""
        while not self._stop.is_set():
            try:
                self._queue.put((partition, offset, key, image), timeout=0.2)
                return
            except queue.Full:
                continue

    def close(self) -> None:
        """Wait for requests in flight; call this after the stop event."""
        for thread in self._threads:
            thread.join()
        self._producer.flush(10)

    def _post(self) -> None:
        session = requests.Session()
        session.trust_env = False  # else the session searches for proxies and passwords before each request
        while not self._stop.is_set():
            try:
                partition, offset, key, image = self._queue.get(timeout=0.2)
            except queue.Empty:
                continue
            response = session.post(self._url, data=image, headers={"Content-Type": "image/jpeg"}, timeout=30)
            response.raise_for_status()
            self._producer.produce(self._decisions, answer(partition, offset, response.json()["score"]), key)
            self._producer.poll(0)


def _read(consumer: Consumer, stop: threading.Event) -> Any:
    while not stop.is_set():
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            yield message


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    job = parse(__doc__)
    stop = threading.Event()
    with stop_on_signals(stop):
        wait_for(job.url)
        consumer = Consumer(
            {"bootstrap.servers": job.bootstrap_servers, "group.id": job.group, "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([job.frames])
        messages = _read(consumer, stop)
        held = list(itertools.islice(messages, _IMAGES)) if job.from_memory else []
        if held:
            consumer.close()
        poster = Poster(job, stop)
        for message in itertools.cycle(held) if held else messages:
            if stop.is_set():
                break
            poster.hand(message.partition(), message.offset(), message.key(), message.value())
        poster.close()
        if not held:
            consumer.close()


if __name__ == "__main__":
    main()

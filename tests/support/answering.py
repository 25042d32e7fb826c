"""Worker of a test: it answers frames as the test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from schemas import Codec, Frame, KafkaSettings
from schemas.origin_headers import origin_headers
from tests.support.audited_lines import decision
from transport.producer import make_producer
from transport.tail import Tail

#: Returns the fields of the decision that differ from an acceptance in time; None: no decision.
Answering = Callable[[Frame], dict[str, Any] | None]


def accept(_frame: Frame) -> dict[str, Any] | None:
    """Accept every frame."""
    return {}


@contextmanager
def answering_worker(kafka: KafkaSettings, answering: Answering = accept, group: str = "one") -> Iterator[list[Frame]]:
    """Answer every frame from now on, as a worker of a group; yield the list of the frames."""
    frames: list[Frame] = []
    codec, tail, stop = Codec(), Tail(kafka, kafka.frames), threading.Event()
    producer = make_producer(kafka, {})
    tail.open()

    def run() -> None:
        while not stop.is_set():
            message = tail.poll(0.05)
            producer.poll(0)
            if message is None:
                continue
            frame = codec.decode(message.value(), Frame)
            frames.append(frame)
            changes = answering(frame)
            if changes is None:
                continue
            times = {"decided_at_us": time.time_ns() // 1000, "deadline_at_us": frame.deadline_at_us}
            known = {"part_id": frame.part_id, "lot": frame.lot, "line": frame.line}
            made = decision(frame, **{**times, **known, **changes})
            headers = list(origin_headers(group, "test"))
            producer.produce(kafka.decisions, codec.encode(made), made.key.encode(), headers=headers)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield frames
    finally:
        stop.set()
        thread.join()
        producer.flush(20)
        tail.close()

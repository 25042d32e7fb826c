"""Cost of each part of the bare loop alone: reading, decoding, resizing, inferring and producing, in one thread.

The figures are CPU milliseconds a frame of this process, with librdkafka's own threads.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.contenders.job import Network, answer
from benchmarks.contenders.table import Task
from benchmarks.line_topics import QUIET

_SECONDS = 0.5


def parts(task: Task, images: Sequence[bytes], *, reduced: bool = False) -> dict[str, float]:
    """Return the CPU milliseconds a frame of each part; the topics of the task must exist and contain frames."""
    network = Network(task.model, reduced=reduced)
    pixels = [network.decode(image) for image in images[:8]]
    tensors = [network.tensor(each) for each in pixels]
    return {
        "consume": _consume(task),
        "decode": _each(network.decode, images),
        "resize": _each(network.tensor, pixels),
        "infer": _each(network.infer, tensors),
        "produce": _produce(task),
    }


def _each(work: Callable[[Any], object], over: Sequence[Any]) -> float:
    work(over[0])
    items = itertools.cycle(over)
    began, until, count = time.process_time(), time.perf_counter() + _SECONDS, 0
    while time.perf_counter() < until:
        work(next(items))
        count += 1
    return 1000 * (time.process_time() - began) / count


def _messages(consumer: Consumer) -> Iterator[Any]:
    while (message := consumer.poll(5)) is not None:
        if not message.error():
            yield message


def _consume(task: Task) -> float:
    consumer = Consumer({"bootstrap.servers": task.bootstrap_servers, "group.id": "bench-parts", **QUIET})
    try:
        consumer.assign([TopicPartition(task.stream.raw, 0, 0)])
        messages = _messages(consumer)
        next(messages)
        began, until, count = time.process_time(), time.perf_counter() + _SECONDS, 0
        for count, _ in enumerate(messages, 1):
            if time.perf_counter() > until or count == 2000:
                break
        return 1000 * (time.process_time() - began) / max(1, count)
    finally:
        consumer.close()


def _produce(task: Task, count: int = 2000) -> float:
    producer = Producer({"bootstrap.servers": task.bootstrap_servers, "linger.ms": 0, "acks": "all", **QUIET})
    producer.produce(task.stream.raw_decisions, answer(0, 0, 0.5))
    producer.flush(10)
    began = time.process_time()
    for number in range(count):
        producer.produce(task.stream.raw_decisions, answer(0, number, 0.5))
        producer.poll(0)
    producer.flush(10)
    return 1000 * (time.process_time() - began) / count

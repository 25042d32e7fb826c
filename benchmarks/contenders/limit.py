"""Limit for all contenders: a bare confluent-kafka loop on each thread.

It has no schema, checks, signals, metrics or dead letters.
"""

from __future__ import annotations

import threading

from confluent_kafka import Consumer, Producer

from benchmarks.contenders.job import Job, Network, answer, parse
from infra.cli.shared.shutdown import stop_on_signals


def loop(job: Job, network: Network, producer: Producer, stop: threading.Event) -> None:
    """Poll, infer, produce; a timer commits offsets, before or after the decision is written."""
    consumer = Consumer(
        {"bootstrap.servers": job.bootstrap_servers, "group.id": job.group, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([job.frames])
    while not stop.is_set():
        message = consumer.poll(0.2)
        if message is None or message.error():
            continue
        score = network.score(message.value() or b"")
        place = message.partition(), message.offset()
        producer.produce(job.decisions, answer(*place, score), message.key())
        producer.poll(0)
    consumer.close()


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    job = parse(__doc__)
    network = Network(job.model, reduced=job.reduced)
    producer = Producer({"bootstrap.servers": job.bootstrap_servers, "linger.ms": 0, "acks": "all"})
    stop = threading.Event()
    with stop_on_signals(stop):
        threads = [threading.Thread(target=loop, args=(job, network, producer, stop)) for _ in range(job.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        producer.flush(10)


if __name__ == "__main__":
    main()

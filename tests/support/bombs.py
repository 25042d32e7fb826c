"""Batches that are small on the wire and unpack to more than any reader accepts."""

from __future__ import annotations

from confluent_kafka import Producer

from transport.batches import BOUNDED


def send_bomb(
    bootstrap_servers: str,
    topic: str,
    *,
    count: int = 1,
    key: str = "",
    partition: int = -1,
    codec: str = "zstd",
    size: int = BOUNDED["receive.message.max.bytes"] * 11 // 10,
) -> None:
    """Send one batch of ``count`` messages, which unpacks to a tenth more than the limit, or to ``size``."""
    size //= count
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "compression.codec": codec,
            "message.max.bytes": 1_000_000_000,
            "queue.buffering.max.kbytes": 2_000_000,
            "batch.size": 1_000_000_000,
            "linger.ms": 60_000,  # one batch: nothing is sent before the flush
            "enable.idempotence": True,  # a busy broker answers late, and the batch is sent again
            "partitioner": "murmur2_random",
            "log_level": 0,
        }
    )
    # Messages of a topic that the client does not know yet may leave one by one when it gets to know it.
    producer.list_topics(topic, timeout=60)
    value = bytes(size)
    for _ in range(count):
        producer.produce(topic, value, key, partition=partition)
    assert producer.flush(300) == 0  # packing takes seconds of processor time

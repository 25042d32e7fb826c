"""Ends of batches, read from their headers. Nothing is unpacked, so the batch may be one that no client can read.

confluent-kafka gives messages only, never a batch. So one fetch request is sent with aiokafka's protocol classes, and
the header of the first batch in the response is read: its base offset, and the distance of its last offset.

Source: record batch of the Kafka protocol, https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from schemas.errors import SettingsError
from schemas.settings import KafkaSettings
from transport.credentials import refreshed
from transport.oauth_tokens import fetch_token
from transport.tls import ssl_context, uses_tls

_TIMEOUT_S = 10.0
_WAIT_MS = 500
_RETRY_S = 0.2
#: Base offset, length, leader epoch, format ("magic"), checksum, attributes, distance of the last offset.
_HEADER = struct.Struct(">qiibIhi")


class BatchOffsets(NamedTuple):
    """Offsets of one batch: from ``first`` up to, but without, ``following``."""

    first: int
    following: int


def parse_batch_header(records: bytes) -> BatchOffsets | None:
    """Return the offsets of the batch that begins these records; None for another format.

    Examples
    --------
    >>> parse_batch_header(struct.pack(">qiibIhi", 20, 900, 0, 2, 0, 0, 6) + bytes(40))
    BatchOffsets(first=20, following=27)
    >>> parse_batch_header(b"") is None
    True
    """
    if len(records) < _HEADER.size:
        return None
    first, _, _, magic, _, _, last = _HEADER.unpack_from(records)
    if magic != 2 or first < 0 or last < 0:
        return None
    return BatchOffsets(first, first + last + 1)


def find_batch_end(kafka: KafkaSettings, topic: str, partition: int, offset: int) -> int:
    """Return the offset behind the batch that holds an offset.

    Raises
    ------
    KafkaException
        If no broker sends the batch in time.
    """
    from aiokafka import errors  # takes half a second, and is needed for an unreadable batch only

    try:
        records = asyncio.run(asyncio.wait_for(_fetch(kafka, topic, partition, offset), _TIMEOUT_S))
    except (errors.KafkaError, SettingsError, OSError, TimeoutError) as error:
        reason = f"the end of the batch at {topic}-{partition}, offset {offset}, was not read: {error!r}"
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, reason)) from error
    batch = parse_batch_header(records)
    return offset + 1 if batch is None else max(batch.following, offset + 1)


def _connection(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the settings of aiokafka that correspond to those of librdkafka."""
    kafka = refreshed(kafka)
    client = dict(kafka.client)
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": client.get("security.protocol", "PLAINTEXT"),
        "ssl_context": ssl_context(kafka) if uses_tls(kafka) else None,
        "sasl_mechanism": client.get("sasl.mechanisms", "PLAIN"),
        "sasl_plain_username": client.get("sasl.username"),
        "sasl_plain_password": client.get("sasl.password"),
        "sasl_oauth_token_provider": _token_provider(kafka) if client.get("sasl.mechanisms") == "OAUTHBEARER" else None,
    }


def _token_provider(kafka: KafkaSettings) -> Any:
    from aiokafka.abc import AbstractTokenProvider

    class Provider(AbstractTokenProvider):  # type: ignore[misc]
        async def token(self) -> str:
            return await asyncio.to_thread(fetch_token, kafka)

    return Provider()


async def _fetch(kafka: KafkaSettings, topic: str, partition: int, offset: int) -> bytes:
    """Return the records from the batch on that holds the offset; retry until the leader sends any."""
    from aiokafka.client import AIOKafkaClient
    from aiokafka.protocol.fetch import FetchRequest
    from aiokafka.structs import TopicPartition

    client = AIOKafkaClient(request_timeout_ms=int(_TIMEOUT_S * 1_000), **_connection(kafka))
    # As a reader of uncommitted messages. The broker sends one batch, whatever the limit of 1 byte.
    request = FetchRequest(
        _WAIT_MS, min_bytes=1, max_bytes=1, isolation_level=0, topics=[(topic, [(partition, offset, 1)])]
    )
    try:
        await client.bootstrap()
        await client.set_topics([topic])
        while True:
            leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            if leader is not None and leader >= 0:
                [(_, [answer])] = (await client.send(leader, request)).topics
                records: bytes | None = answer[-1]
                if records:
                    return records
            await asyncio.sleep(_RETRY_S)
            await client.force_metadata_update()
    finally:
        await client.close()

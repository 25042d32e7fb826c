"""Messages that no well-behaved client sends: header names that are not UTF-8."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import aiokafka
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy


class RawName(str):
    """A header name that travels as the bytes it was made from, whatever they are."""

    raw: bytes

    def __new__(cls, raw: bytes) -> RawName:
        name = super().__new__(cls, raw.decode(errors="replace"))
        name.raw = raw
        return name

    def encode(self, *_: Any, **__: Any) -> bytes:
        return self.raw


class _PlainBuilder(_DefaultRecordBatchBuilderPy):  # type: ignore[misc]
    """The builder written in Python, which asks the name for its bytes."""


def send_raw(
    bootstrap_servers: str,
    topic: str,
    messages: list[tuple[bytes | None, bytes | None, list[tuple[bytes, bytes | None]]]],
    partition: int = 0,
) -> None:
    """Publish messages (key, value, headers), all in one batch where they fit."""

    async def send() -> None:
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers, linger_ms=100, max_request_size=20_000_000, max_batch_size=20_000_000
        ) as producer:
            sent = [
                await producer.send(
                    topic, value, key, partition=partition, headers=[(RawName(name), data) for name, data in headers]
                )
                for key, value, headers in messages
            ]
            await asyncio.gather(*sent)

    builder = "DefaultRecordBatchBuilder"
    with (
        mock.patch(f"aiokafka.producer.message_accumulator.{builder}", _PlainBuilder),
        mock.patch(f"aiokafka.producer.producer.{builder}", _PlainBuilder),
    ):
        asyncio.run(send())

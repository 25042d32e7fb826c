"""Log of Faust's consumer."""

from __future__ import annotations

import logging

import pytest
from mode.utils.logging import CompositeLogger

from stream_processors.faust_host.consumer import LibrdkafkaConsumer


def test_a_stop_that_waits_counts_its_messages(caplog: pytest.LogCaptureFixture) -> None:
    log = CompositeLogger(LibrdkafkaConsumer.logger, formatter=lambda severity, text, *_args, **_: f"[^_Name]: {text}")
    with caplog.at_level(logging.INFO):
        # As `faust.transport.consumer.Consumer.wait_empty` writes it.
        log.warning("wait_empty: Waiting for tasks %r", [(1, "message")] * 17)
        log.warning("another line of %s", "Faust")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "the stop waits for 17 messages in work"),
        ("WARNING", "[^_Name]: another line of Faust"),
    ]

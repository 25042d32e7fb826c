"""Memory budget of the messages that a program of Faust has read."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from stream_processors.faust_host import bounded_transport
from stream_processors.faust_host.messages import ReceivedMessage


class Message:
    """Message that a circle of references keeps, as an error with its traceback does."""

    def __init__(self) -> None:
        self.itself: Any = self


def test_messages_that_only_the_collector_frees_hold_no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_transport, "_STILL_S", -1.0)
    received = ReceivedMessage("frames", 0, 0, 0.0, None, b"value", {})
    in_flight = bounded_transport._InFlightBytes()
    gc.disable()
    try:
        in_flight.add(Message(), [received])
        assert in_flight.bytes == received.size_bytes > 0
        in_flight.collect()
        in_flight.update()
        assert (in_flight.bytes, in_flight.count) == (0, 0)
    finally:
        gc.enable()

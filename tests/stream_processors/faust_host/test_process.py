"""End of a process while Kafka does not take what is held."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from stream_processors.faust_host import process


@pytest.mark.parametrize(("failures", "ends"), [(10_000, True), (3, False)])
def test_a_stop_does_without_what_cannot_be_settled(
    failures: int, ends: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "_UNSETTLED_S", 0.5)
    monkeypatch.setattr(process, "_SETTLE_S", 0.02)
    ended: list[Exception] = []
    calls = 0

    async def settle() -> None:
        nonlocal calls
        calls += 1
        if calls <= failures:
            raise TimeoutError("no broker")

    async def stop() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process._settle(settle, ended.append), 3 if ends else 1)

    asyncio.run(stop())
    assert [str(error) for error in ended] == (["no broker"] if ends else [])
    assert "the messages in flight cannot be finished" in caplog.text
    assert calls > 3

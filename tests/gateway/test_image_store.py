"""A gateway whose image store does not answer."""

from __future__ import annotations

import pytest

from schemas import KafkaSettings
from tests.support.answering import answering_worker
from tests.support.gateways import running_gateway, wait_until
from tests.support.s3 import s3_settings, silent_endpoint
from transport.image_store import STORE_ABOVE_BYTES


@pytest.mark.broker
@pytest.mark.parametrize("headers", [{}, {"Idempotency_Key": "k"}], ids=["without a key", "with a key"])
def test_a_store_that_is_silent_does_not_prolong_the_wait(
    line: KafkaSettings, image: bytes, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = image + bytes(STORE_ABOVE_BYTES)
    with (
        silent_endpoint() as endpoint,
        s3_settings(endpoint),
        answering_worker(line) as frames,
    ):
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")  # the store gives up after nine seconds
        with running_gateway(line, image_store="s3://images") as gateway:
            refused = gateway.inspect(large, Prefer="wait=4", **headers)
            assert (refused.status, refused.json["detail"]) == (504, "the image store did not take the image in time")
            wait_until(lambda: gateway.inspect(image, **headers).status == 200)  # the key is free again
        assert [frame.image for frame in frames] == [image]

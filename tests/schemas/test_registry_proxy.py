"""Proxy variables of the environment, which the registry's client reads: each fault is one line."""

from __future__ import annotations

import pytest

from schemas.codec import Codec
from schemas.errors import RegistryError
from schemas.settings import KafkaSettings


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://x"])
@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy"])
def test_a_proxy_that_the_client_cannot_use_is_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str
) -> None:
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(RegistryError, match=r"proxy") as caught:
        Codec.from_settings(KafkaSettings("127.0.0.1:9", "p", "http://127.0.0.1:9"))
    assert "\n" not in str(caught.value)

"""Proxy variables of the environment, which the registry's client reads: none for this machine, else one line."""

from __future__ import annotations

import os

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
        Codec.from_settings(KafkaSettings("127.0.0.1:9", "p", "http://registry.plant:9"))
    assert "\n" not in str(caught.value)
    for url in ("http://127.0.0.1:9", "http://localhost:9/x", "http://[::1]:9"):
        with pytest.raises(RegistryError, match=r"refused|connection|Cannot assign"):
            Codec.from_settings(KafkaSettings("127.0.0.1:9", "p", url))
    Codec.from_settings(KafkaSettings("127.0.0.1:9", "p", "mock://line"))
    assert os.environ[variable] == proxy

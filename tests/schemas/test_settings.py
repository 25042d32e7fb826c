"""Where Kafka is, and what topics may be called."""

from __future__ import annotations

import pytest

from schemas.errors import SettingsError
from schemas.settings import KafkaSettings
from schemas.topics import TOPICS, check_prefix


def test_from_env():
    env = {
        "INSPECTION_BOOTSTRAP_SERVERS": "k1:9092,k2:9092",
        "INSPECTION_PREFIX": "plant7",
        "INSPECTION_SCHEMA_REGISTRY_URL": "http://registry:8081",
    }
    assert KafkaSettings.from_env(env) == KafkaSettings("k1:9092,k2:9092", "plant7", "http://registry:8081")


@pytest.mark.parametrize("env", [{}, {"INSPECTION_PREFIX": "", "INSPECTION_BOOTSTRAP_SERVERS": ""}])
def test_empty_variables_are_as_none(env):
    assert KafkaSettings.from_env(env) == KafkaSettings()


@pytest.mark.parametrize("prefix", ["", "a b", "ä", "a/b", "x" * 201])
def test_impossible_prefixes(prefix):
    with pytest.raises(SettingsError):
        check_prefix(prefix)


@pytest.mark.parametrize("servers", ["k1:9092\udcff", "k1:9092\x00,k2:9092", "\x1b[2J", "k1:9092\n"])
def test_addresses_that_no_client_takes_are_one_line(servers):
    with pytest.raises(SettingsError, match="no address has such characters") as caught:
        KafkaSettings(servers)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1", "9092x", "", "123456789012"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "SASL_SSL://k1", "k1:9092, k2"])
def test_ports_that_no_server_has(host, port):
    with pytest.raises(SettingsError, match="a port is a number from 1 to 65535"):
        KafkaSettings(f"{host}:{port}")


@pytest.mark.parametrize(
    "servers", ["k1", "k1:1", "k1:65535,k2", "[::1]:9092", "::1", "[::1]", "SASL_SSL://k1:9092", ""]
)
def test_addresses_with_and_without_a_port(servers):
    assert KafkaSettings(servers).bootstrap_servers == servers


def test_topic_names_differ():
    assert len({topic.name("p") for topic in TOPICS}) == len(TOPICS)

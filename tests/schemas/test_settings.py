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


def test_topic_names_differ():
    assert len({topic.name("p") for topic in TOPICS}) == len(TOPICS)

"""What every program of the line must know to find Kafka."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.addresses import masked_repr
from schemas.topics import DEAD_LETTERS, DECISIONS, DEFAULT_PREFIX, DRIFT, DRIFT_STATE, FRAMES, LABELS, check_prefix

DEFAULT_BOOTSTRAP_SERVERS = "127.0.0.1:9092"


@dataclass(frozen=True, slots=True, repr=False)
class KafkaSettings:
    """Where Kafka is and what the topics are called.

    Parameters
    ----------
    bootstrap_servers
        ``host:port[,host:port]``.
    prefix
        First part of each topic name.
    schema_registry_url
        With one, messages carry Confluent framing; without, Avro single-object encoding.

    Examples
    --------
    >>> KafkaSettings(prefix="plant7").frames
    'plant7.frames'
    """

    bootstrap_servers: str = DEFAULT_BOOTSTRAP_SERVERS
    prefix: str = DEFAULT_PREFIX
    schema_registry_url: str | None = None

    def __repr__(self) -> str:
        return masked_repr(self, "schema_registry_url")

    def __post_init__(self) -> None:
        check_prefix(self.prefix)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> KafkaSettings:
        """Read ``INSPECTION_BOOTSTRAP_SERVERS``, ``INSPECTION_PREFIX`` and ``INSPECTION_SCHEMA_REGISTRY_URL``."""
        return cls(
            env.get("INSPECTION_BOOTSTRAP_SERVERS") or DEFAULT_BOOTSTRAP_SERVERS,
            env.get("INSPECTION_PREFIX") or DEFAULT_PREFIX,
            env.get("INSPECTION_SCHEMA_REGISTRY_URL") or None,
        )

    @property
    def frames(self) -> str:
        """Name of the frames topic."""
        return FRAMES.name(self.prefix)

    @property
    def decisions(self) -> str:
        """Name of the decisions topic."""
        return DECISIONS.name(self.prefix)

    @property
    def dead_letters(self) -> str:
        """Name of the dead-letters topic."""
        return DEAD_LETTERS.name(self.prefix)

    @property
    def labels(self) -> str:
        """Name of the labels topic."""
        return LABELS.name(self.prefix)

    @property
    def drift(self) -> str:
        """Name of the drift topic."""
        return DRIFT.name(self.prefix)

    @property
    def drift_state(self) -> str:
        """Name of the topic with the state of the drift processor."""
        return DRIFT_STATE.name(self.prefix)

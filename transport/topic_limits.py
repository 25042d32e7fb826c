"""Limits of a topic, read from its broker: another person may have made the topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

from schemas.settings import KafkaSettings
from transport.clients import make_admin

#: Limits on timestamps from this size on, in milliseconds, count as no limit.
_NO_LIMIT_MS = 365 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class TopicLimits:
    """Limits of one topic; None for a limit that is unknown or not set.

    Parameters
    ----------
    max_message_bytes
        Largest batch that the topic accepts; a single message is also a batch.
    ahead_ms, behind_ms
        Longest time by which the timestamp of a message may be ahead of the broker's clock, or behind it.

    Examples
    --------
    >>> TopicLimits(ahead_ms=3_600_000).clock_text()
    "this machine's clock is more than 60 min ahead of the broker's"
    """

    max_message_bytes: int | None = None
    ahead_ms: int | None = None
    behind_ms: int | None = None

    def clock_text(self) -> str:
        """Return the fault of a clock whose timestamps the topic refuses."""
        why = [
            f"more than {ms / 60_000:g} min {word} the broker's"
            for ms, word in ((self.ahead_ms, "ahead of"), (self.behind_ms, "behind"))
            if ms is not None
        ]
        return f"this machine's clock is {' or '.join(why) or 'too far from the clock of the broker'}"


def topic_limits(kafka: KafkaSettings, topic: str, timeout_s: float = 5.0) -> TopicLimits:
    """Return the limits of a topic from its broker; None for each limit that the broker does not report."""
    admin = make_admin(kafka)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    try:
        [future] = admin.describe_configs([resource], request_timeout=timeout_s).values()
        found: Any = future.result(timeout_s)
    except (KafkaException, TimeoutError):
        return TopicLimits()

    def number(name: str) -> int | None:
        text = getattr(found.get(name), "value", None)
        return int(text) if text is not None and text.lstrip("-").isdigit() else None

    def limit(name: str) -> int | None:
        ms = number(name)
        return ms if ms is not None and 0 <= ms < _NO_LIMIT_MS else None

    return TopicLimits(
        number("max.message.bytes"),
        limit("message.timestamp.after.max.ms"),
        limit("message.timestamp.before.max.ms"),
    )

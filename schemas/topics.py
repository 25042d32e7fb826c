"""Table of all topics. Only `inspection topics apply` creates topics, as this table describes them.

The number of partitions bounds how many workers can share a topic. Retention is by time and, for frames and dead
letters, also by bytes, whichever limit is reached first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.errors import SettingsError
from schemas.records import AuditEvent, DeadLetter, Decision, DriftEvent, Frame, Label

DEFAULT_PREFIX = "inspection"
#: Largest message that a reader parses, in bytes. Topics allow a little more, so that a refusal can be recorded.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
#: Largest image that a line takes: by reference, from an image store.
MAX_STORED_BYTES = 256 * 1024 * 1024
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Topic:
    """Row of the table: content and configuration of one topic.

    Parameters
    ----------
    suffix
        Name after the prefix.
    key, record
        Content of the key, and class of the value; ``bytes`` if the value is no Avro record.
    partitions
        Number of partitions at creation.
    retention_ms, retention_bytes
        Messages are kept at least this long, and at most this many bytes for each partition (-1: no limit).
    max_message_bytes
        Largest message that the broker accepts.
    broker_time
        True: the broker gives each message its timestamp, whatever the writer says.
    """

    suffix: str
    key: str
    record: type
    partitions: int
    retention_ms: int
    retention_bytes: int
    max_message_bytes: int
    cleanup: Literal["delete", "compact"] = "delete"
    broker_time: bool = False

    def name(self, prefix: str = DEFAULT_PREFIX) -> str:
        """Return the full name of the topic under a prefix.

        Examples
        --------
        >>> FRAMES.name("plant7")
        'plant7.frames'
        """
        return f"{prefix}.{self.suffix}"

    @property
    def config(self) -> dict[str, str]:
        """Broker configuration of the topic."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "retention.bytes": str(self.retention_bytes),
            "max.message.bytes": str(self.max_message_bytes),
            **({"message.timestamp.type": "LogAppendTime"} if self.broker_time else {}),
        }


# A frame over the codec's limit must still reach a worker, which answers it: so the topic has a MiB of room.
FRAMES = Topic("frames", "station/camera", Frame, 6, 24 * _HOUR_MS, 8 * 1024 * _MIB, MAX_MESSAGE_BYTES + _MIB)
DECISIONS = Topic("decisions", "station/camera", Decision, 6, 365 * _DAY_MS, -1, _MIB)
# Dead letters contain messages of unknown writers, so they take at most 4 GiB. The size limit of a letter is that of
# older versions, which kept the whole message (`schemas.letters` cuts it).
DEAD_LETTERS = Topic(
    "dead-letters", "as received", DeadLetter, 1, 2 * 365 * _DAY_MS, 4 * 1024 * _MIB, MAX_MESSAGE_BYTES + 2 * _MIB
)
LABELS = Topic("labels", "station/camera", Label, 6, 3 * 365 * _DAY_MS, -1, _MIB)
DRIFT = Topic("drift", "station/camera", DriftEvent, 1, 365 * _DAY_MS, -1, _MIB)
# State of the drift processor for each camera, for its restart. The topic is partitioned as the decisions are.
DRIFT_STATE = Topic("drift-state", "station/camera", bytes, 6, -1, -1, 4 * _MIB, "compact")
# Acts of people. One partition, because its hash chain has one order; the broker's time, because a writer can lie.
AUDIT_LOG = Topic("audit-log", "principal", AuditEvent, 1, 10 * 365 * _DAY_MS, -1, _MIB, broker_time=True)
# Public keys, and revocations of keys, each signed (`transport.spread_keys`).
SIGNING_KEYS = Topic("signing-keys", "id of the key", bytes, 1, -1, -1, _MIB, "compact")

# Claims on the idempotency keys of requests. One partition, so all gateways see one order, and the first claim of a key
# wins; the broker's time, because gateways compare the times of claims.
HTTP_KEYS = Topic("http-keys", "client and key", bytes, 1, _HOUR_MS, -1, _MIB, broker_time=True)

TOPICS: tuple[Topic, ...] = (
    FRAMES, DECISIONS, DEAD_LETTERS, LABELS, DRIFT, DRIFT_STATE, AUDIT_LOG, SIGNING_KEYS, HTTP_KEYS,
)  # fmt: skip

#: Largest request that a client of ours sends or fetches, in bytes.
MAX_REQUEST_BYTES = max(topic.max_message_bytes for topic in TOPICS)


def check_prefix(prefix: str) -> str:
    """Return the prefix if Kafka accepts it in a topic name.

    Raises
    ------
    SettingsError
        If it is empty, longer than 200 characters, or has other characters than letters, digits, ``.``, ``_`` and
        ``-``.

    Examples
    --------
    >>> check_prefix("plant-7")
    'plant-7'
    """
    if not prefix or len(prefix) > 200 or not all(c.isascii() and (c.isalnum() or c in "._-") for c in prefix):
        raise SettingsError(f"topic prefix {prefix!r}: 1 to 200 letters, digits, '.', '_' or '-'")
    return prefix

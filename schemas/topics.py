"""The one table of topics. `inspection topics apply` creates what it says, nothing else does.

Partitions bound how many workers can share a topic. Retention is by time and, for frames and dead letters, by bytes
too, whichever comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.codec import MAX_MESSAGE_BYTES
from schemas.errors import SettingsError
from schemas.records import DeadLetter, Decision, DriftEvent, Frame, Label

DEFAULT_PREFIX = "inspection"
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Topic:
    """One row: what a topic carries and how it is kept.

    Parameters
    ----------
    suffix
        Name after the prefix.
    key, record
        What key and value are; ``bytes`` where the value is nobody else's business.
    partitions
        Number of partitions when created.
    retention_ms, retention_bytes
        Kept at least that long, and at most that many bytes a partition (-1: no limit).
    max_message_bytes
        Largest message the broker takes.
    """

    suffix: str
    key: str
    record: type
    partitions: int
    retention_ms: int
    retention_bytes: int
    max_message_bytes: int
    cleanup: Literal["delete", "compact"] = "delete"

    def name(self, prefix: str = DEFAULT_PREFIX) -> str:
        """Full name under a prefix.

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
        }


# A frame over the codec's limit must still reach a worker, to be answered there: hence a MiB of room.
FRAMES = Topic("frames", "station/camera", Frame, 6, 24 * _HOUR_MS, 8 * 1024 * _MIB, MAX_MESSAGE_BYTES + _MIB)
DECISIONS = Topic("decisions", "station/camera", Decision, 6, 365 * _DAY_MS, -1, _MIB)
# Dead letters are made of messages of strangers, so they take 4 GiB at most. The size limit of a letter is that of
# versions that kept the whole message (`schemas.letters` cuts it).
DEAD_LETTERS = Topic(
    "dead-letters", "as received", DeadLetter, 1, 2 * 365 * _DAY_MS, 4 * 1024 * _MIB, MAX_MESSAGE_BYTES + 2 * _MIB
)
LABELS = Topic("labels", "station/camera", Label, 6, 3 * 365 * _DAY_MS, -1, _MIB)
DRIFT = Topic("drift", "station/camera", DriftEvent, 1, 365 * _DAY_MS, -1, _MIB)
# What the drift processor knows of each camera, for its restart. Partitioned as the decisions are.
DRIFT_STATE = Topic("drift-state", "station/camera", bytes, 6, -1, -1, 4 * _MIB, "compact")

TOPICS: tuple[Topic, ...] = (FRAMES, DECISIONS, DEAD_LETTERS, LABELS, DRIFT, DRIFT_STATE)

#: Largest request a client of ours sends or fetches, in bytes.
MAX_REQUEST_BYTES = max(topic.max_message_bytes for topic in TOPICS)


def check_prefix(prefix: str) -> str:
    """Return the prefix if Kafka takes it in a topic name.

    Raises
    ------
    SettingsError
        If it is empty, long, or has other characters than letters, digits, ``.``, ``_`` and ``-``.

    Examples
    --------
    >>> check_prefix("plant-7")
    'plant-7'
    """
    if not prefix or len(prefix) > 200 or not all(c.isascii() and (c.isalnum() or c in "._-") for c in prefix):
        raise SettingsError(f"topic prefix {prefix!r}: 1 to 200 letters, digits, '.', '_' or '-'")
    return prefix

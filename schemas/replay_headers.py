"""Headers of messages that distinguish a re-published frame of the past from a live frame of the line.

The record stays as it was captured. A worker decides on the frame whatever its deadline was, and sets ``is_simulated``
in the decision. No gate, no watch and no figure of the line counts simulated decisions.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.errors import SettingsError

#: Header of a frame that was published again; its value names the run that published it.
REPLAY_HEADER = "inspection-replay"
#: Header with the position of the original message: ``topic-partition@offset``.
REPLAY_OF_HEADER = "inspection-replay-of"
#: Header with the timestamp of the original message, UTC microseconds, decimal.
REPLAY_TIMESTAMP_HEADER = "inspection-replay-timestamp-us"
#: Header of a frame whose dead letter was published again; its value is the id of the letter. The frame is inspected,
#: however old it is.
RETRY_HEADER = "inspection-retry-of"
#: Part of a topic's name, between dots, that no topic of a live line has.
REPLAY_PART = "replay"


def is_replay(headers: Mapping[str, bytes], topic: str) -> bool:
    """Return True if a message belongs to a replay, by its headers and its topic.

    Any writer can set the header, so it counts only in topics for replays: on a live line it would hide a part from the
    gate.

    Examples
    --------
    >>> header = {"inspection-replay": b"7f3a"}
    >>> is_replay(header, "inspection.replay.frames"), is_replay({}, "inspection.replay.frames")
    (True, False)
    >>> is_replay(header, "inspection.frames")
    False
    """
    return REPLAY_HEADER in headers and is_replay_name(topic)


def is_replay_name(name: str) -> bool:
    """Return True if the name of a topic, or a prefix of topics, is for replays.

    Examples
    --------
    >>> is_replay_name("inspection.replay.frames"), is_replay_name("inspection.replays"), is_replay_name("replay")
    (True, False, True)
    """
    return REPLAY_PART in name.split(".")


def require_replay_prefix(prefix: str) -> None:
    """Check that a prefix is for replays: simulated messages have topics of their own.

    Raises
    ------
    SettingsError
        If a live line may have this prefix.

    Examples
    --------
    >>> require_replay_prefix("inspection")
    Traceback (most recent call last):
    ...
    schemas.errors.SettingsError: a simulated line needs a --prefix with 'replay' between dots, as inspection.replay
    """
    if not is_replay_name(prefix):
        raise SettingsError(
            f"a simulated line needs a --prefix with {REPLAY_PART!r} between dots, as {prefix}.{REPLAY_PART}"
        )


def group_of(group: str, default: str, prefix: str) -> str:
    """Return the consumer group of a program; by default a simulated line never uses the group of the live line.

    If members of one group read different topics, the live members stop, and Kafka assigns all partitions from scratch.

    Examples
    --------
    >>> group_of("workers", "workers", "inspection.replay"), group_of("mine", "workers", "inspection.replay")
    ('workers-inspection.replay', 'mine')
    """
    return f"{group}-{prefix}" if group == default and is_replay_name(prefix) else group

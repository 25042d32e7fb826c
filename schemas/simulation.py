"""How a frame of the past that is published again is told from one of the line: by a header of its message.

The record stays as it was captured. A worker decides on it whatever its deadline was, and says ``is_simulated``; no
gate, no watch and no figure of the line counts what is simulated.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.errors import SettingsError

#: Header of a frame that was published again; its value names the run that did.
REPLAY_HEADER = "inspection-replay"
#: Header with the place of the original: ``topic-partition@offset``.
REPLAY_OF_HEADER = "inspection-replay-of"
#: Header with the timestamp of the original message, UTC microseconds, decimal.
REPLAY_TIMESTAMP_HEADER = "inspection-replay-timestamp-us"
#: A part of a topic's name, between dots, that no topic of a live line has.
REPLAY_PART = "replay"


def is_replay(headers: Mapping[str, bytes], topic: str) -> bool:
    """Return True if a message belongs to a replay, by its headers and its topic.

    Any writer can set the header, so it counts only in topics for replays: on a live line it would hide a part from its
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
    """Whether a topic, or a prefix of topics, is for replays.

    Examples
    --------
    >>> is_replay_name("inspection.replay.frames"), is_replay_name("inspection.replays"), is_replay_name("replay")
    (True, False, True)
    """
    return REPLAY_PART in name.split(".")


def require_replay_prefix(prefix: str) -> None:
    """What is simulated has topics of its own.

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
    """Consumer group of a program: that of a simulated line is never, by default, the live line's.

    Members of one group with different topics would make the live ones stop and share out anew.

    Examples
    --------
    >>> group_of("workers", "workers", "inspection.replay"), group_of("mine", "workers", "inspection.replay")
    ('workers-inspection.replay', 'mine')
    """
    return f"{group}-{prefix}" if group == default and is_replay_name(prefix) else group

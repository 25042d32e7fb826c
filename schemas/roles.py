"""Table of the roles on a line: which programs a principal runs, and what its Kafka user may do for that, and no more.

A role has the rights of the programs that it names. Kafka refuses all others where an authorizer runs
(``allow.everyone.if.no.acl.found=false``). `inspection acls` makes ACLs of this table.

READ and WRITE of a topic include DESCRIBE (KIP-11). A producer that never writes twice needs no further right than
WRITE on a topic. Nobody here may change ACLs, delete or alter a topic, or delete records of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.groups import READER, REDUNDANT, RETRIES, UNUSED, WATCH, WATCH_STATE, WORKERS
from schemas.replay_headers import REPLAY_PART, group_of
from schemas.topics import (
    AUDIT_LOG,
    DEAD_LETTERS,
    DECISIONS,
    DEFAULT_PREFIX,
    DRIFT,
    DRIFT_STATE,
    FRAMES,
    HTTP_KEYS,
    LABELS,
    SIGNING_KEYS,
    TOPICS,
    Topic,
)

ResourceKind = Literal["topic", "group", "transactional-id"]
Operation = Literal["READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"]


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """Operation that a role allows on a resource of Kafka.

    Parameters
    ----------
    name
        Name of the resource, or the beginning of the names with ``is_prefix``.
    """

    kind: ResourceKind
    name: str
    operation: Operation
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Role:
    """Row of the table.

    Parameters
    ----------
    programs
        Commands of `inspection` that work under this role.
    reads, writes, shows
        Topics with READ, WRITE and DESCRIBE_CONFIGS. Settings of a topic say how large a message may be.
    joins
        Group that the program joins: READ. `Principals.groups` may give it another name.
    finds
        Groups that clients of the program name, and never join: DESCRIBE. A name with ``-`` at its end is a beginning.
    retries
        True: the transactional id of `inspection dead-letters retry`: WRITE.
    on_replays
        Operations on all topics of simulated lines, ``PREFIX.replay.*``.
    creates
        True: CREATE of the topics of the line.
    """

    name: str
    programs: tuple[str, ...]
    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    shows: tuple[Topic, ...] = ()
    joins: str | None = None
    finds: tuple[str, ...] = ()
    retries: bool = False
    on_replays: tuple[Operation, ...] = ()
    creates: bool = False


#: Topics that people read: all but the state of the watch, the audit log and the public keys.
_PAST = (FRAMES, DECISIONS, LABELS, DRIFT, DEAD_LETTERS)
#: A writer of the audit log reads it too: each event names the one before.
_PEOPLE = (*_PAST, AUDIT_LOG)

# Gate, watch and archiver write dead letters about batches that no client can read (`transport.batch_letters`).
ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role("camera", ("produce", "spool drain"), writes=(FRAMES,), shows=(FRAMES,)),
        Role(
            "worker",
            ("worker",),
            reads=(FRAMES, DEAD_LETTERS, SIGNING_KEYS),
            writes=(DECISIONS, DEAD_LETTERS),
            joins=WORKERS,
            finds=(READER, RETRIES, UNUSED),
        ),
        Role(
            "gate",
            ("actuate",),
            reads=(FRAMES, DECISIONS, DRIFT, SIGNING_KEYS),
            writes=(DEAD_LETTERS,),
            finds=(READER, UNUSED),
        ),
        Role(
            "watch",
            ("watch",),
            reads=(DECISIONS, LABELS, DRIFT_STATE, SIGNING_KEYS),
            writes=(DRIFT, DRIFT_STATE, DEAD_LETTERS),
            joins=WATCH,
            finds=(READER, WATCH_STATE, UNUSED),
        ),
        Role(
            "labeller",
            ("label", "review"),
            reads=(*_PEOPLE, SIGNING_KEYS),
            writes=(LABELS, AUDIT_LOG),
            finds=(READER, UNUSED),
        ),
        Role(
            "reviewer",
            (
                "audit",
                "quality",
                "review",
                "replay",
                "analyse",
                "compare",
                "export",
                "drift list",
                "dead-letters list",
                "trail",
            ),
            reads=(*_PEOPLE, SIGNING_KEYS),
            finds=(READER, UNUSED),
        ),
        Role("archiver", ("archive",), reads=_PAST, writes=(DEAD_LETTERS,), finds=(READER,)),
        Role(
            "replayer",
            ("replay --to-topic", "topics apply --prefix PREFIX.replay.NAME"),
            reads=_PEOPLE,
            writes=(AUDIT_LOG,),
            finds=(READER,),
            on_replays=("READ", "WRITE", "CREATE", "DESCRIBE_CONFIGS"),
        ),
        Role(
            "operator",
            ("drift ack", "dead-letters retry", "gate reset", "label", "audit", "quality", "review", "trail"),
            reads=(*_PEOPLE, SIGNING_KEYS),
            writes=(FRAMES, LABELS, DRIFT, DEAD_LETTERS, AUDIT_LOG),
            finds=(READER, UNUSED),
            retries=True,
        ),
        Role(
            "gateway",
            ("gateway",),
            reads=(DECISIONS, HTTP_KEYS),
            writes=(FRAMES, LABELS, HTTP_KEYS),
            finds=(READER, UNUSED),
        ),
        Role(
            "platform",
            ("topics apply", "topics diff", "doctor", "keys publish", "keys revoke", "keys show --topic"),
            reads=(AUDIT_LOG, SIGNING_KEYS),
            writes=(AUDIT_LOG, SIGNING_KEYS),
            shows=TOPICS,
            creates=True,
            finds=(READER, UNUSED),
        ),
    )
}

#: Roles of programs that do not exist yet. They have no rights, so nobody can be given one.
RESERVED = ("console", "deployer", "metrics")


@dataclass(frozen=True, slots=True)
class Principals:
    """Users of Kafka by role on a line; see `operations.principals`.

    Parameters
    ----------
    roles
        Names of users by role, without ``User:``.
    groups
        Other names of the groups that workers and watch join, by role.
    quotas
        Quotas of each user of a role, in the names of Kafka.
    """

    roles: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, str] = field(default_factory=dict)
    quotas: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """Right that a user of Kafka is to have, because of a role."""

    user: str
    right: Right
    role: str = field(compare=False)


def grants_of(principals: Principals, prefix: str = DEFAULT_PREFIX) -> tuple[Grant, ...]:
    """Return the rights of all users, each right of a user once.

    Examples
    --------
    >>> {grant.user for grant in grants_of(Principals({"labeller": ("ann",)})) if grant.right.operation == "WRITE"}
    {'ann'}
    """
    found: dict[Grant, None] = {}
    for name, users in principals.roles.items():
        for user in users:
            for right in rights_of(ROLES[name], prefix, principals.groups.get(name)):
                found.setdefault(Grant(user, right, name))
    return tuple(found)


def rights_of(role: Role, prefix: str = DEFAULT_PREFIX, group: str | None = None) -> Iterator[Right]:
    """Yield the rights of a role on a line.

    Parameters
    ----------
    group
        Name of the group that the program joins; None: the one that the program joins by itself.

    Examples
    --------
    >>> for right in rights_of(ROLES["camera"], "plant7"):
    ...     print(right.operation, right.kind, right.name)
    WRITE topic plant7.frames
    DESCRIBE_CONFIGS topic plant7.frames
    """
    operations: tuple[tuple[Operation, tuple[Topic, ...]], ...] = (
        ("READ", role.reads), ("WRITE", role.writes), ("DESCRIBE_CONFIGS", role.shows),
    )  # fmt: skip
    for operation, topics in operations:
        for topic in topics:
            yield Right("topic", topic.name(prefix), operation)
    if role.creates:
        for topic in TOPICS:
            yield Right("topic", topic.name(prefix), "CREATE")
            yield Right("topic", topic.name(prefix), "DESCRIBE")
    for operation in role.on_replays:
        yield Right("topic", f"{prefix}.{REPLAY_PART}.", operation, is_prefix=True)
    if role.joins is not None:
        name = group or group_of(role.joins, role.joins, prefix)
        yield Right("group", name, "READ")
        if role.joins == WORKERS:
            yield Right("group", name + REDUNDANT, "READ")
    for name in role.finds:
        yield Right("group", name, "DESCRIBE", is_prefix=name.endswith("-"))
    if role.retries:
        yield Right("transactional-id", retry_id(prefix), "WRITE")


def retry_id(prefix: str) -> str:
    """Return the transactional id of `inspection dead-letters retry`.

    Examples
    --------
    >>> retry_id("plant7")
    'plant7-dead-letters-retry'
    """
    return f"{prefix}-dead-letters-retry"

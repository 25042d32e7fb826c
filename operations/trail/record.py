"""Recording of acts: an event is in the audit log, acknowledged, before its act begins."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from schemas.clock import Clock, SystemClock
from schemas.errors import InspectionError, NotAuthorised, SettingsError, TopicMissing, error_line
from schemas.records import AuditEvent, AuditOutcome
from schemas.settings import KafkaSettings
from schemas.text import file_text
from transport.admin import require_topics
from transport.audit_log import append_event
from transport.principal import principal_of
from transport.rights import require_rights

#: Variable with ``require`` (an act needs the audit log) or ``warn`` (the default).
POLICY_VARIABLE = "INSPECTION_AUDIT_LOG"
#: Most characters of a text of an event.
_MOST = 4_000


class Act(StrEnum):
    """Acts that the audit log keeps."""

    LABEL = "label"
    DRIFT_ACKNOWLEDGE = "drift-acknowledge"
    GATE_RESET = "gate-reset"
    DEAD_LETTER_RETRY = "dead-letter-retry"
    REPLAY_TO_TOPIC = "replay-to-topic"
    TOPICS_APPLY = "topics-apply"
    ACLS_APPLY = "acls-apply"
    KEYS_PUBLISH = "keys-publish"
    KEYS_REVOKE = "keys-revoke"


@dataclass(frozen=True, slots=True)
class Deed:
    """Facts of an act for its event: the thing that it changes, both states, the name that was given, and a note."""

    act: Act
    about: str
    before: str = ""
    after: str = ""
    stated_by: str = ""
    note: str = ""


class AuditLogMissing(InspectionError):
    """Act that was refused, because it cannot be recorded, and ``INSPECTION_AUDIT_LOG`` is ``require``."""


@contextmanager
def recorded(
    kafka: KafkaSettings,
    deed: Deed,
    on_warning: Callable[[str], object],
    *,
    clock: Clock | None = None,
    env: Mapping[str, str] = os.environ,
) -> Iterator[None]:
    """Record an act before the block, and once more if the block fails.

    So no act is without an event, whenever the program is ended; an event without a failure means that the act was
    begun, and as far as anyone knows done.

    Parameters
    ----------
    on_warning
        Called with one line if the act is not recorded, because the line has no audit log.

    Raises
    ------
    BrokerUnavailable, NotAuthorised
        If the event cannot be written; the act is not begun.
    AuditLogMissing
        If there is no audit log, or the user may not see it, and ``INSPECTION_AUDIT_LOG`` is ``require``.
    """
    clock = clock or SystemClock()
    if not has_audit_log(kafka, deed.act, on_warning, env):
        yield
        return
    append_event(kafka, make_event(kafka, deed, AuditOutcome.BEGUN, clock))
    try:
        yield
    except BaseException as error:
        failed = replace(deed, note=f"{deed.note}; {error_line(error)}" if deed.note else error_line(error))
        try:
            append_event(kafka, make_event(kafka, failed, AuditOutcome.FAILED, clock))
        except InspectionError as unwritten:
            on_warning(f"that it failed is not in {kafka.audit_log}: {unwritten}")
        raise


def record_done(
    kafka: KafkaSettings,
    deed: Deed,
    on_warning: Callable[[str], object],
    *,
    clock: Clock | None = None,
    env: Mapping[str, str] = os.environ,
) -> None:
    """Record an act that was done: one whose result is known only then, or that made the audit log itself.

    Raises
    ------
    BrokerUnavailable, NotAuthorised, AuditLogMissing
        See `recorded`; the act is done nevertheless.
    """
    if has_audit_log(kafka, deed.act, on_warning, env):
        append_event(kafka, make_event(kafka, deed, AuditOutcome.DONE, clock or SystemClock()))


def has_audit_log(
    kafka: KafkaSettings,
    act: Act,
    on_warning: Callable[[str], object],
    env: Mapping[str, str] = os.environ,
    *,
    timeout_s: float = 5.0,
) -> bool:
    """Return True if acts can be recorded; False, with a warning, on a line of an earlier version.

    Raises
    ------
    AuditLogMissing
        If they cannot, and ``INSPECTION_AUDIT_LOG`` is ``require``.
    NotAuthorised
        If the user sees the audit log, and may not read and write it.
    """
    policy = env.get(POLICY_VARIABLE) or "warn"
    if policy not in ("warn", "require"):
        raise SettingsError(f"{POLICY_VARIABLE}={policy!r}: warn or require")
    name = kafka.audit_log
    try:
        require_topics(kafka, [name], timeout_s)
    except TopicMissing:
        why = (
            f"there is no topic {name}: `inspection topics apply --bootstrap-servers {kafka.bootstrap_servers} "
            f"--prefix {kafka.prefix}` makes it"
        )
    except NotAuthorised:
        why = f"the user may not see the topic {name}: `inspection acls apply` of this version allows it"
    else:
        require_rights(kafka, read=[name], write=[name])
        return True
    if policy == "require":
        raise AuditLogMissing(f"{act} is not done, because it cannot be recorded: {why}")
    on_warning(f"{act} is not recorded: {why}")
    return False


def make_event(
    kafka: KafkaSettings,
    deed: Deed,
    outcome: AuditOutcome,
    clock: Clock,
    *,
    event_id: str | None = None,
    uid: int | None = None,
) -> AuditEvent:
    """Return the event of an act under the principal of a client configuration.

    Parameters
    ----------
    event_id, uid
        None: a new id, and the user of this process.

    Raises
    ------
    BrokerRefused, SettingsError
        If the principal cannot be determined.
    """
    principal = principal_of(kafka)
    return AuditEvent(
        event_id=event_id or uuid.uuid4().hex,
        written_at_us=clock.utc_us(),
        act=deed.act.value,
        outcome=outcome,
        about=_text(deed.about),
        before=_text(deed.before),
        after=_text(deed.after),
        principal=_text(principal.name),
        login=principal.login,
        stated_by=_text(deed.stated_by),
        note=_text(deed.note),
        host=_text(file_text(socket.gethostname())),
        uid=os.getuid() if uid is None else uid,
        program=_text(f"{Path(sys.argv[0]).name} as {_user()}"),
    )


def _user() -> str:
    try:
        return file_text(getpass.getuser())
    except (OSError, KeyError, ImportError):
        return "?"


def _text(text: str) -> str:
    """Return a text that fits into an event and into UTF-8."""
    clean = text.encode(errors="replace").decode()
    return clean if len(clean) <= _MOST else f"{clean[: _MOST - 1]}…"

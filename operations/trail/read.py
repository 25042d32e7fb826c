"""Reading of the audit trail, with a check of its hash chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from operations.trail.record import Act
from schemas.errors import SettingsError
from schemas.settings import KafkaSettings
from transport.audit_chain import Break, ChainCheck, ChainPoint
from transport.audit_log import LoggedEvent, read_audit_log
from transport.belief import SignaturePolicy
from transport.open_transactions import first_open_offsets
from transport.public_keys import SignatureFault, SignerRole, TrustedKeys
from transport.signatures import SIGNATURE_HEADER, signed_bytes

#: Acts for which a person uses the key of an authority.
_OF_AUTHORITIES = frozenset({Act.KEYS_PUBLISH, Act.KEYS_REVOKE})


@dataclass(frozen=True, slots=True)
class TrailCheck:
    """Result of a check.

    Parameters
    ----------
    events, unreadable
        Messages that are events, and messages that are not.
    head
        State of the chain at the newest message: noted elsewhere, it shows later that nothing up to there was changed
        or removed. None if the chain is broken there.
    breaks
        Places at which events were changed or removed.
    lost_head
        The head that was expected, if the chain does not have it.
    gone
        Events before the first one: deleted by the retention, or by someone with the right to delete.
    unsigned
        Events that are not signed as they should be: pairs of offset and reason. Empty also if nobody asked.
    is_signature_required
        True: an event that is not signed is as bad as one that was changed.
    hidden_from
        First offset that an open transaction holds back; what follows was not read. No program of a line begins one.
    """

    events: int = 0
    unreadable: int = 0
    head: ChainPoint | None = None
    breaks: tuple[Break, ...] = ()
    lost_head: ChainPoint | None = None
    gone: int = 0
    unsigned: tuple[tuple[int, SignatureFault], ...] = ()
    is_signature_required: bool = False
    hidden_from: int | None = None

    @property
    def is_whole(self) -> bool:
        """True if nothing was changed or removed, as far as the chain shows, and all is signed that has to be."""
        is_signed = not (self.unsigned and self.is_signature_required)
        is_read = self.lost_head is None and self.hidden_from is None
        return not self.breaks and not self.unreadable and is_read and is_signed


def read_trail(kafka: KafkaSettings, begin_us: int | None = None) -> Iterator[LoggedEvent]:
    """Yield the messages of the audit log that the broker has taken since a time (UTC µs), oldest first.

    Raises
    ------
    BrokerUnavailable, NotAuthorised, TopicMissing
        If the topic cannot be read.
    """
    return (each for each in read_audit_log(kafka) if begin_us is None or each.at_us >= begin_us)


def check_trail(
    kafka: KafkaSettings,
    expected: ChainPoint | None = None,
    on_event: Callable[[LoggedEvent], object] = lambda event: None,
    *,
    keys: TrustedKeys | None = None,
    policy: SignaturePolicy = SignaturePolicy.REQUIRE,
) -> TrailCheck:
    """Read the whole audit log and check its chain and, with public keys, the signature of each event.

    Parameters
    ----------
    expected
        Head of an earlier check.
    on_event
        Called with each message.
    keys
        Public keys that are believed, at the time at which the broker took an event; None: signatures are not checked.
    policy
        `REQUIRE`: the log is whole only if all events are signed. `WARN`: those that are not are only named.

    Raises
    ------
    BrokerUnavailable, NotAuthorised, TopicMissing
        If the topic cannot be read.
    """
    check, events, unreadable, first = ChainCheck(), 0, 0, None
    unsigned: list[tuple[int, SignatureFault]] = []
    hidden: dict[int, int] | None = None
    for each in read_audit_log(kafka):
        # As soon as the end is known: a transaction that ends while the log is read has hidden what follows it.
        hidden = first_open_offsets(kafka, kafka.audit_log, [0]) if hidden is None else hidden
        first = each.offset if first is None else first
        check.add(each.offset, each.value, each.states)
        events, unreadable = events + (each.event is not None), unreadable + (each.event is None)
        fault = None if keys is None or each.event is None else signature_fault(each, each.event.act, keys, kafka)
        unsigned += [] if fault is None else [(each.offset, fault)]
        on_event(each)
    is_lost = expected is not None and check.point(expected.offset) != expected
    lost_head, is_required = (expected if is_lost else None), policy is SignaturePolicy.REQUIRE
    hidden = first_open_offsets(kafka, kafka.audit_log, [0]) if hidden is None else hidden
    return TrailCheck(
        events, unreadable, check.head, tuple(check.breaks), lost_head, first or 0, tuple(unsigned), is_required,
        hidden.get(0),
    )  # fmt: skip


def signature_fault(each: LoggedEvent, act: str, keys: TrustedKeys, kafka: KafkaSettings) -> SignatureFault | None:
    """Return why an event is not signed as it should be: by an operator, or by an authority if it is about keys."""
    role = SignerRole.AUTHORITY if act in _OF_AUTHORITIES else SignerRole.OPERATOR
    content = signed_bytes(kafka.audit_log, each.key, each.value)
    return keys.fault(role, None, each.headers.get(SIGNATURE_HEADER), content, each.at_us)


def parse_head(text: str) -> ChainPoint:
    """Return the head that `inspection trail --verify` printed: ``OFFSET:SHA256``.

    Raises
    ------
    SettingsError
        If the text is not one.

    Examples
    --------
    >>> parse_head("41:" + "ab" * 32).offset
    41
    """
    offset, _, digest = text.partition(":")
    if not (offset.isascii() and offset.isdigit() and len(offset) < 19):
        raise SettingsError(f"head {text[:80]!r}: as --verify prints it, OFFSET:SHA256")
    point = ChainPoint(int(offset), digest)
    if not point.is_possible(point.offset + 1):
        raise SettingsError(f"head {text[:80]!r}: as --verify prints it, OFFSET:SHA256")
    return point

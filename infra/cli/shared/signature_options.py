"""Public keys for commands that check signatures of the past: of labels, and of the audit log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli.shared.terminal_text import echo

if TYPE_CHECKING:
    from replay.past.source import Source
    from schemas.settings import KafkaSettings
    from transport.belief import SignaturePolicy
    from transport.public_keys import TrustedKeys


def checked_keys(
    kafka: KafkaSettings, trust: Path | None, trust_topic: bool, signatures: str | None
) -> tuple[TrustedKeys, SignaturePolicy] | None:
    """Return the keys of this moment, and the rule; None if no signature is checked.

    Raises
    ------
    SettingsError
        If the options contradict each other, or the folder cannot be read.
    BrokerUnavailable, TopicMissing, KeysNotRead
        If the topic of keys cannot be read.
    """
    from operations.key_entries import read_spread_keys
    from transport.belief import SignaturePolicy, require_authority, signature_policy
    from transport.trust import Trust

    given = None if signatures is None else SignaturePolicy(signatures)
    policy = signature_policy(trust, given, trust_topic=trust_topic)
    if trust is None or policy is SignaturePolicy.OFF:
        return None
    folder = Trust(trust)
    if not trust_topic:
        return folder.keys, policy
    require_authority(folder, trust)
    return read_spread_keys(kafka, trust)[0], policy


def with_signed_labels(source: Source, trust: Path | None, trust_topic: bool, signatures: str | None) -> Source:
    """Return a source that checks labels as the options ask for, see `checked_keys`."""
    from replay.past.label_signatures import LabelSignatures

    found = checked_keys(source.kafka, trust, trust_topic, signatures)
    return source if found is None else replace(source, label_signatures=LabelSignatures(*found))


def echo_unsigned_labels(source: Source) -> None:
    """Say how many labels that were read are not signed, on standard error."""
    summary = None if source.label_signatures is None else source.label_signatures.summary
    if summary is not None:
        echo(summary, err=True)


def label_faults(source: Source) -> dict[str, int]:
    """Return the number of labels that are not signed, by reason, for JSON."""
    check = source.label_signatures
    return {} if check is None else {str(fault): number for fault, number in check.faults.items()}

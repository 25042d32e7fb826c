"""Entries of the topic of keys, as an authority publishes them: public keys, and revocations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Message

from schemas.clock import Clock, SystemClock
from schemas.connection.secret_files import read_trusted
from schemas.errors import InspectionError, SettingsError
from schemas.settings import SIGNING_KEY_VARIABLE, KafkaSettings
from schemas.text import shown
from transport.admin import require_topics
from transport.broker_cause import broker_error, kafka_error
from transport.key_follower import KeyFollower
from transport.producer import make_producer
from transport.public_keys import SignerRole, TrustedKeys, parse_key
from transport.signatures import SIGNATURE_HEADER, key_id_of
from transport.signing_key import signer_of
from transport.spread_keys import MOST_ENTRY_BYTES, KeyEntries, revocation_of
from transport.trust import Trust, read_trust

_TIMEOUT_S = 15.0
_KEY_ID = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """Message for the topic of keys, and the id of the key that it is about."""

    key_id: str
    key: bytes
    value: bytes


class KeysNotRead(InspectionError):
    """Topic of keys whose end was not reached in time."""


def entry_of(path: Path) -> KeyEntry:
    """Return the entry that publishes the key of a public file.

    Raises
    ------
    SettingsError
        If the file is no public key of a camera, a worker or an operator, or larger than readers accept.
    """
    try:
        content = read_trusted(path).content
    except OSError as error:
        raise SettingsError(f"{shown(path)}: {error.strerror}") from None
    found = parse_key(path.stem, content, shown(path))
    if found.role is SignerRole.AUTHORITY:
        raise SettingsError(f"{shown(path)}: an authority is believed in a trust folder only; copy the file there")
    if len(content) > MOST_ENTRY_BYTES:
        raise SettingsError(f"{shown(path)}: {len(content)} bytes, over the {MOST_ENTRY_BYTES} that readers take")
    key_id = key_id_of(found.public)
    return KeyEntry(key_id, key_id.encode(), content)


def revocation_entry(key_id: str) -> KeyEntry:
    """Return the entry that revokes a key.

    Raises
    ------
    SettingsError
        If that is no id of a key.
    """
    if not _KEY_ID.fullmatch(key_id):
        raise SettingsError(
            f"key {shown(key_id)!r}: an id is 16 hexadecimal digits; `inspection keys show DIR` has them"
        )
    return KeyEntry(key_id, *revocation_of(key_id))


def check_entries(
    kafka: KafkaSettings, entries: Iterable[KeyEntry], trust: Path | None, clock: Clock | None = None
) -> str:
    """Check that entries can be signed, and that readers with a trust folder would use them; return the signer's id.

    Parameters
    ----------
    trust
        Folder as the readers have it; None: it is not known.

    Raises
    ------
    SettingsError
        If there is no key to sign with, or a reader would not use an entry.
    """
    if kafka.signing_key is None:
        raise SettingsError(f"{SIGNING_KEY_VARIABLE} names no file: set it to the private key of an authority")
    signer = signer_of(kafka.signing_key).key
    signer_id = key_id_of(signer.public)
    if trust is None:
        return signer_id
    folder = read_trust(trust)
    authority, now_us = folder.authorities.get(signer_id), (clock or SystemClock()).utc_us()
    if authority is None or not authority.is_valid_at(now_us):
        raise SettingsError(
            f"--trust {shown(trust)}: {signer_id}, the key that would sign, is no authority there at this moment"
        )
    found = KeyEntries(kafka.signing_keys, folder)
    for entry in entries:
        header = signer.sign(kafka.signing_keys, entry.key, entry.value)
        fault = found.add(entry.key, entry.value, {SIGNATURE_HEADER: header})
        if fault is not None:
            raise SettingsError(f"key {entry.key_id}: readers would not use the entry: {fault}")
        if entry.key_id in found.spread.revoked and entry.key_id in folder.authorities:
            raise SettingsError(f"key {entry.key_id} is an authority: move its file to `revoked` in the trust folders")
    return signer_id


def publish_entries(kafka: KafkaSettings, entries: Iterable[KeyEntry]) -> None:
    """Publish entries, signed, and wait until Kafka has acknowledged each. It may be repeated.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If Kafka does not acknowledge an entry; it may have been written nevertheless.
    """
    topic = kafka.signing_keys
    require_topics(kafka, [topic])
    producer = make_producer(kafka, {"delivery.timeout.ms": round(_TIMEOUT_S * 1000)})
    outcome: list[KafkaError | None] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        outcome.append(error)

    for entry in entries:
        outcome.clear()
        try:
            producer.produce(topic, entry.value, entry.key, on_delivery=delivered)
            producer.flush(_TIMEOUT_S + 1)
        except KafkaException as error:
            raise kafka_error(kafka, error.args[0], topic) from error
        if not outcome:
            raise broker_error(kafka, f"no answer for {_TIMEOUT_S:.0f} s")
        if outcome[0] is not None:
            raise kafka_error(kafka, outcome[0], topic)


def read_spread_keys(kafka: KafkaSettings, trust: Path) -> tuple[TrustedKeys, dict[str, int]]:
    """Read the topic of keys to its end, as a reader with a trust folder does.

    Returns
    -------
    tuple
        Keys of the folder and of the topic; number of entries that are not used, by reason.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If no broker answers, or the topic does not exist.
    KeysNotRead
        If the end is not reached in ten seconds.
    """
    require_topics(kafka, [kafka.signing_keys])
    folder = Trust(trust)
    follower = KeyFollower(kafka, folder)
    try:
        follower.open()
        if not follower.has_read:
            raise KeysNotRead(f"{kafka.signing_keys} was not read to its end in time; try again")
        return folder.keys, follower.faults
    finally:
        follower.close()

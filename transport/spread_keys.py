"""Public keys that a topic spreads: its entries, and the check of each.

::

    key of the message      value
    66687aadf862bd77        text of the public file of the key with this id, as a trust folder has it
    revoked/66687aadf862bd77    revoked: 66687aadf862bd77

The header ``inspection-signature`` of an authority is about topic, key and value. A revocation has a key of its own, so
that compaction keeps it, whatever is published about the key later. Anyone may write to a topic: an entry is parsed
after its signature was checked, and whatever is wrong with it, it is counted and changes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from schemas.errors import SettingsError
from transport.public_keys import SignatureFault, SignerRole, TrustedKey, TrustedKeys, parse_key
from transport.signatures import SIGNATURE_HEADER, key_id_of, parse_signature, signed_bytes

#: Largest value of an entry, in bytes; most keys, and most revocations, that are kept.
MOST_ENTRY_BYTES = 16 * 1024
MOST_KEYS = 10_000
_REVOKED = "revoked/"
_KEY = re.compile(rb"(revoked/)?([0-9a-f]{16})")


class EntryFault(StrEnum):
    """Reason not to use an entry whose signature was not looked at, or is right; see also `SignatureFault`."""

    NOT_AN_ENTRY = "not-an-entry"
    NOT_A_KEY = "not-a-key"
    OTHER_KEY = "id-of-another-key"
    NOT_ALLOWED = "not-for-this-authority"
    TOO_MANY = "too-many-keys"


@dataclass(frozen=True, slots=True)
class SpreadKeys:
    """Content of a topic of keys: pairs of the id of the authority and the key that it signed, and ids of revoked keys.

    Parameters
    ----------
    by_id
        By the id of the key.
    """

    by_id: Mapping[str, tuple[str, TrustedKey]] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()

    def joined_to(self, folder: TrustedKeys) -> TrustedKeys:
        """Return the keys of a folder, and those of the topic for which an authority of that folder vouches.

        A key of the folder stays as the folder has it. The bounds in time of the authority bound its keys, too. The
        topic cannot revoke an authority.
        """
        authorities = folder.authorities
        found = {
            key_id: _bounded(key, authorities[authority])
            for key_id, (authority, key) in self.by_id.items()
            if authority in authorities and authorities[authority].may_vouch_for(key)
        }
        return TrustedKeys({**found, **folder.by_id}, folder.revoked | (self.revoked - authorities.keys()))


def _bounded(key: TrustedKey, authority: TrustedKey) -> TrustedKey:
    begins = [at for at in (key.not_before_us, authority.not_before_us) if at is not None]
    ends = [at for at in (key.not_after_us, authority.not_after_us) if at is not None]
    return replace(key, not_before_us=max(begins, default=None), not_after_us=min(ends, default=None))


class KeyEntries:
    """Entries of a topic of keys that count: those that an authority of the folder has signed.

    Parameters
    ----------
    folder
        Keys of the trust folder; only its authorities matter.
    revoked
        Ids of keys that are revoked already: a revoked key stays revoked.
    """

    def __init__(self, topic: str, folder: TrustedKeys, revoked: frozenset[str] = frozenset()) -> None:
        self._topic = topic
        self._folder = folder
        self._keys: dict[str, tuple[str, TrustedKey]] = {}
        self._revoked = set(revoked)
        #: Number of entries that are not used, by reason.
        self.faults: Counter[str] = Counter()

    @property
    def spread(self) -> SpreadKeys:
        """Keys and revocations at this moment."""
        return SpreadKeys(dict(self._keys), frozenset(self._revoked))

    def add(
        self, key: bytes | None, value: bytes | None, headers: Mapping[str, bytes]
    ) -> SignatureFault | EntryFault | None:
        """Take the next message of the topic; return why it is not used."""
        fault = self._add(key, value, headers)
        if fault is not None:
            self.faults[fault] += 1
        return fault

    def _add(
        self, key: bytes | None, value: bytes | None, headers: Mapping[str, bytes]
    ) -> SignatureFault | EntryFault | None:
        found = _KEY.fullmatch(key or b"")
        if found is None or not value or len(value) > MOST_ENTRY_BYTES:
            return EntryFault.NOT_AN_ENTRY
        header, content = headers.get(SIGNATURE_HEADER), signed_bytes(self._topic, key, value)
        # Bounds in time of an authority are those of its keys (`SpreadKeys.joined_to`).
        fault = self._folder.fault(SignerRole.AUTHORITY, None, header, content, None)
        if fault is not None:
            return fault
        signature = parse_signature(header or b"")
        assert signature is not None
        key_id = found[2].decode()
        if found[1]:
            return self._revoke(key_id, value)
        return self._take(key_id, value, signature.key_id)

    def _revoke(self, key_id: str, value: bytes) -> EntryFault | None:
        if value != revocation_of(key_id)[1]:
            return EntryFault.NOT_AN_ENTRY
        if len(self._revoked) >= MOST_KEYS and key_id not in self._revoked:
            return EntryFault.TOO_MANY
        self._revoked.add(key_id)
        return None

    def _take(self, key_id: str, value: bytes, authority: str) -> EntryFault | None:
        try:
            entry = parse_key(key_id, value, key_id)
        except SettingsError:
            return EntryFault.NOT_A_KEY
        if key_id_of(entry.public) != key_id:
            return EntryFault.OTHER_KEY
        if not self._folder.by_id[authority].may_vouch_for(entry):
            return EntryFault.NOT_ALLOWED
        if len(self._keys) >= MOST_KEYS and key_id not in self._keys:
            return EntryFault.TOO_MANY
        self._keys[key_id] = (authority, entry)
        return None


def revocation_of(key_id: str) -> tuple[bytes, bytes]:
    """Return key and value of the message that revokes a key.

    Examples
    --------
    >>> revocation_of("66687aadf862bd77")
    (b'revoked/66687aadf862bd77', b'revoked: 66687aadf862bd77\\n')
    """
    return f"{_REVOKED}{key_id}".encode(), f"revoked: {key_id}\n".encode()

"""Signatures of messages: who wrote a frame or a decision, whatever user of Kafka published it.

The header ``inspection-signature`` holds a version (1 byte), the id of the key (the first 8 bytes of the SHA-256 of the
public key) and an Ed25519 signature (64 bytes; RFC 8032). Signed are, each with its length before it: a fixed tag, the
topic, the key, the SHA-256 of the value, and the id of the dead letter that the message retries, if any.

A camera signs its frames, a worker its decisions, a person what a command writes. A retried frame keeps the signature
of its camera, which is about the frame without the retry; the header ``inspection-retry-signature`` of the person is
about the frame with it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_HEADER = "inspection-signature"
RETRY_SIGNATURE_HEADER = "inspection-retry-signature"
_VERSION = 1
_ID_BYTES, _SIGNATURE_BYTES = 8, 64
_TAG = b"inspection-signature-1"
_NONE = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class Signature:
    """Header of a signature, taken apart; ``key_id`` is hexadecimal."""

    key_id: str
    signature: bytes


def key_id_of(public: bytes) -> str:
    """Return the id of a public key of 32 bytes.

    Examples
    --------
    >>> key_id_of(bytes(32))
    '66687aadf862bd77'
    """
    return hashlib.sha256(public).digest()[:_ID_BYTES].hex()


def parse_signature(header: bytes) -> Signature | None:
    """Return the parts of a header; None if it is not a signature of this version.

    Examples
    --------
    >>> parse_signature(b"garbage") is None, parse_signature(b"\\x01" + bytes(72)).key_id
    (True, '0000000000000000')
    """
    if len(header) != 1 + _ID_BYTES + _SIGNATURE_BYTES or header[0] != _VERSION:
        return None
    return Signature(header[1 : 1 + _ID_BYTES].hex(), header[1 + _ID_BYTES :])


def signed_bytes(topic: str, key: bytes | None, value: bytes | None, retry_of: bytes | None = None) -> bytes:
    """Return the bytes that a signature is about."""
    parts = (_TAG, topic.encode(), key, hashlib.sha256(value or b"").digest(), retry_of)
    return b"".join(_NONE if part is None else len(part).to_bytes(4, "big") + part for part in parts)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Private key of a camera, a worker or a person.

    Examples
    --------
    >>> key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    >>> header = key.sign("inspection.frames", b"press/top", b"frame")
    >>> verify(key.public, header, signed_bytes("inspection.frames", b"press/top", b"frame"))
    True
    >>> verify(key.public, header, signed_bytes("inspection.frames", b"press/side", b"frame"))
    False
    """

    private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> bytes:
        """Public key, 32 bytes."""
        return self.private.public_key().public_bytes_raw()

    def sign(self, topic: str, key: bytes | None, value: bytes | None, retry_of: bytes | None = None) -> bytes:
        """Return the header of a message."""
        public = bytes.fromhex(key_id_of(self.public))
        return bytes([_VERSION]) + public + self.private.sign(signed_bytes(topic, key, value, retry_of))


def verify(public: bytes, header: bytes, content: bytes) -> bool:
    """Return True if a header has the signature of a public key about these bytes."""
    found = parse_signature(header)
    if found is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(found.signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True

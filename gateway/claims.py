"""Claims on idempotency keys, in the order of the topic `http-keys`. No Kafka, no asyncio.

A gateway claims a key for an image before it publishes the frame, and reads its claim back. The topic has one
partition, so all gateways read the same claims in the same order and come to the same result:

=============================================  ==================================
message                                        effect
=============================================  ==================================
claim on a key without a claim                 it has the key
claim that replaces the claim on the key       it has the key
claim long after the claim on the key          it has the key
release of the claim on the key                the key has no claim
any other                                      none: the first claim of a key wins
=============================================  ==================================

A claim whose frame has no decision when one was due may be replaced: its gateway was killed before it published the
frame, or the frame is lost. Only a claim for the same image replaces it.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass

from gateway.identity import key_of

_LONGEST_ID = 1000


@dataclass(frozen=True, slots=True)
class Claim:
    """Message about a key.

    Parameters
    ----------
    claim_id
        Id of the message, unique.
    frame_id
        Frame that the key gets. It names the key and the image.
    due_s
        Time until the decision is due, in seconds; after it the claim may be replaced.
    replaces
        Id of the claim that this one replaces, or releases; None: the key has no claim.
    is_release
        True for a release: the frame of the claim was not published.
    """

    claim_id: str
    frame_id: str
    due_s: float
    replaces: str | None = None
    is_release: bool = False

    @property
    def key(self) -> str:
        """Client and key, as in the frame id."""
        return key_of(self.frame_id) or self.frame_id

    def encode(self) -> bytes:
        """Return the value of the message."""
        values = (self.claim_id, self.frame_id, self.due_s, self.replaces, self.is_release)
        return json.dumps(dict(zip(self.__slots__, values, strict=True))).encode()


def decode_claim(value: bytes | None) -> Claim | None:
    """Return the claim of a message; None if it is not a valid claim.

    Examples
    --------
    >>> claim = Claim("a-1", "http-key.press-7.54834cfe.e3b0c442", 0.5)
    >>> decode_claim(claim.encode()) == claim, decode_claim(b"{}"), decode_claim(None)
    (True, None, None)
    """
    try:
        values = json.loads(value or b"")
        claim = Claim(**values)
        texts = [claim.claim_id, claim.frame_id, claim.replaces or ""]
        is_valid = all(isinstance(text, str) and len(text) <= _LONGEST_ID for text in texts)
        is_valid &= isinstance(claim.due_s, float | int) and 0 <= claim.due_s < 1e6
        is_valid &= isinstance(claim.is_release, bool) and key_of(claim.frame_id) is not None
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return claim if is_valid else None


@dataclass(frozen=True, slots=True)
class StandingClaim:
    """Claim that has its key; ``at_us`` is the time of the broker, ``read_s`` that of this process."""

    claim: Claim
    at_us: int
    read_s: float

    @property
    def overdue_s(self) -> float:
        """Monotonic time from which the claim may be replaced, in seconds."""
        return self.read_s + self.claim.due_s


class ClaimTable:
    """Claims that have their keys. Thread-safe.

    Parameters
    ----------
    kept_s
        Time for which a key belongs to its image, in seconds.
    kept
        Most keys that are kept.

    Examples
    --------
    >>> table = ClaimTable(600.0, 1000)
    >>> first, second = (Claim(name, f"http-key.press-7.54834cfe.{name}", 0.5) for name in ("a", "b"))
    >>> table.add(first, at_us=0, read_s=0.0), table.add(second, at_us=1, read_s=0.0)
    (True, False)
    >>> table.standing(second.key).claim.claim_id
    'a'
    """

    def __init__(self, kept_s: float, kept: int) -> None:
        self._kept_us = round(kept_s * 1e6)
        self._kept = kept
        self._lock = threading.Lock()
        self._standing: OrderedDict[str, StandingClaim] = OrderedDict()

    def __len__(self) -> int:
        return len(self._standing)

    def standing(self, key: str) -> StandingClaim | None:
        """Return the claim that has a key, however old it is; None for a key without a claim."""
        with self._lock:
            return self._standing.get(key)

    def add(self, claim: Claim, at_us: int, read_s: float) -> bool:
        """Add the next message of the topic; return True if it changes who has the key."""
        with self._lock:
            known = self._standing.get(claim.key)
            if known is not None and at_us - known.at_us <= self._kept_us and claim.replaces != known.claim.claim_id:
                return False
            if known is None and claim.is_release:
                return False
            self._standing.pop(claim.key, None)
            if not claim.is_release:
                self._standing[claim.key] = StandingClaim(claim, at_us, read_s)
            self._evict(at_us)
            return True

    def _evict(self, now_us: int) -> None:
        # By the time of the broker: then all gateways agree.
        while self._standing:
            key, oldest = next(iter(self._standing.items()))
            if len(self._standing) <= self._kept and now_us - oldest.at_us <= self._kept_us:
                return
            del self._standing[key]

"""Decision whether a message is believed, by its signature; one policy for a program."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from schemas.clock import Clock, SystemClock
from schemas.errors import SettingsError
from schemas.replay_headers import RETRY_HEADER
from transport.limited_log import LimitedLog
from transport.trust import SignatureFault, SignerRole, Trust

log = logging.getLogger(__name__)


class SignaturePolicy(StrEnum):
    """Rule for messages whose signature is missing or wrong."""

    REQUIRE = "require"
    WARN = "warn"
    OFF = "off"


class Belief:
    """Check of messages against a trust folder. Thread-safe.

    Parameters
    ----------
    trust
        Keys that are believed.
    policy
        `REQUIRE`: a message with a fault is not used. `WARN`: it is used, and the fault is logged and counted.
    on_fault
        Called with camera and fault of each message that is not signed as it should be.
    """

    def __init__(
        self,
        trust: Trust,
        policy: SignaturePolicy,
        on_fault: Callable[[str, SignatureFault], object] = lambda camera, fault: None,
        clock: Clock | None = None,
    ) -> None:
        self._trust = trust
        self._policy = policy
        self._on_fault = on_fault
        self._clock = clock or SystemClock()
        self._limited = LimitedLog(log)

    def refusal(
        self, role: SignerRole, camera: str, topic: str, key: bytes | None, value: bytes | None,
        headers: Mapping[str, bytes],
    ) -> SignatureFault | None:  # fmt: skip
        """Return why a message is not used; None if it is used. See `transport.trust.Trust.fault`."""
        fault = self._trust.fault(role, camera, topic, key, value, headers, self._clock.utc_us())
        return self._judged(camera, f"a message of {topic} about {camera[:100]!r}", fault)

    def refuses_retry(
        self, camera: str, topic: str, key: bytes | None, value: bytes | None, headers: Mapping[str, bytes]
    ) -> bool:
        """Return True if a frame is not to be handled as a retry, because no operator has signed that it is one."""
        if RETRY_HEADER not in headers:
            return False
        fault = self._trust.retry_fault(camera, topic, key, value, headers, self._clock.utc_us())
        return self._judged(camera, f"a retry in {topic} about {camera[:100]!r}", fault) is not None

    def _judged(self, camera: str, what: str, fault: SignatureFault | None) -> SignatureFault | None:
        if fault is None:
            return None
        self._on_fault(camera, fault)
        consequence = "it is not used" if self._policy is SignaturePolicy.REQUIRE else "it is used all the same"
        self._limited.warning(fault, f"{what}: {fault}; {consequence}")
        return fault if self._policy is SignaturePolicy.REQUIRE else None


def make_belief(
    trust: Path | None,
    policy: SignaturePolicy | None,
    on_fault: Callable[[str, SignatureFault], object] = lambda camera, fault: None,
    clock: Clock | None = None,
) -> Belief | None:
    """Return the check that settings ask for; None if no signature is checked.

    Parameters
    ----------
    trust
        Folder of public keys.
    policy
        None: `REQUIRE` if there is a folder, else `OFF`.

    Raises
    ------
    SettingsError
        If signatures are to be checked without a folder, or the folder cannot be read.

    Examples
    --------
    >>> print(make_belief(None, None))
    None
    """
    policy = policy or (SignaturePolicy.OFF if trust is None else SignaturePolicy.REQUIRE)
    if policy is SignaturePolicy.OFF:
        return None
    if trust is None:
        raise SettingsError(f"--signatures {policy}: name the folder of public keys with --trust")
    return Belief(Trust(trust), policy, on_fault, clock)

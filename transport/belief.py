"""Decision whether a message is believed, by its signature; one policy for a program."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from prometheus_client import CollectorRegistry

from schemas.clock import Clock, SystemClock
from schemas.errors import SettingsError
from schemas.replay_headers import RETRY_HEADER
from schemas.settings import KafkaSettings
from schemas.text import shown
from transport.key_follower import KeyFollower
from transport.key_metrics import KeyMetrics
from transport.limited_log import LimitedLog
from transport.public_keys import SignatureFault, SignerRole
from transport.trust import Trust

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
    follower
        Follower of the topic that spreads further keys; `open` and `close` are about it.
    """

    def __init__(
        self,
        trust: Trust,
        policy: SignaturePolicy,
        on_fault: Callable[[str, SignatureFault], object] = lambda camera, fault: None,
        clock: Clock | None = None,
        follower: KeyFollower | None = None,
    ) -> None:
        self._trust = trust
        self._follower = follower
        self._policy = policy
        self._on_fault = on_fault
        self._clock = clock or SystemClock()
        self._limited = LimitedLog(log)

    def open(self) -> None:
        """Wait until the keys of the topic are known, but not for long, see `KeyFollower.open`. Never raises."""
        if self._follower is not None:
            self._follower.open()

    def close(self) -> None:
        """Stop following the topic. Idempotent."""
        if self._follower is not None:
            self._follower.close()

    def add_metrics(self, registry: CollectorRegistry) -> None:
        """Add the metrics of the keys to those of the program."""
        registry.register(KeyMetrics(self._trust, self._follower, self._clock))

    def refusal(
        self, role: SignerRole, camera: str, topic: str, key: bytes | None, value: bytes | None,
        headers: Mapping[str, bytes], at_us: int | None = None,
    ) -> SignatureFault | None:  # fmt: skip
        """Return why a message is not used; None if it is used. See `transport.trust.Trust.fault`.

        Parameters
        ----------
        at_us
            Time (UTC µs) at which the key has to be valid; None: now.
        """
        at_us = self._clock.utc_us() if at_us is None else at_us
        fault = self._trust.fault(role, camera, topic, key, value, headers, at_us)
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
    *,
    line: KafkaSettings | None = None,
) -> Belief | None:
    """Return the check that settings ask for; None if no signature is checked.

    Parameters
    ----------
    trust
        Folder of public keys.
    policy
        None: `REQUIRE` if there is a folder, else `OFF`.
    line
        Line whose topic of keys is followed after `Belief.open`; None: only the folder has keys.

    Raises
    ------
    SettingsError
        If signatures are to be checked without a folder, or the folder cannot be read, or no authority in it could
        vouch for the keys of a topic.

    Examples
    --------
    >>> print(make_belief(None, None))
    None
    """
    policy = signature_policy(trust, policy, trust_topic=line is not None)
    if trust is None or policy is SignaturePolicy.OFF:
        return None
    folder = Trust(trust)
    if line is None:
        return Belief(folder, policy, on_fault, clock)
    require_authority(folder, trust)
    return Belief(folder, policy, on_fault, clock, KeyFollower(line, folder))


def signature_policy(trust: Path | None, policy: SignaturePolicy | None, *, trust_topic: bool) -> SignaturePolicy:
    """Return the policy that options ask for, see `make_belief`.

    Raises
    ------
    SettingsError
        If signatures are to be checked without a folder.

    Examples
    --------
    >>> signature_policy(None, None, trust_topic=False), signature_policy(Path("trust"), None, trust_topic=False)
    (<SignaturePolicy.OFF: 'off'>, <SignaturePolicy.REQUIRE: 'require'>)
    """
    policy = policy or (SignaturePolicy.OFF if trust is None else SignaturePolicy.REQUIRE)
    if trust is None and (trust_topic or policy is not SignaturePolicy.OFF):
        option = "--trust-topic" if trust_topic else f"--signatures {policy}"
        raise SettingsError(f"{option}: name the folder of public keys with --trust")
    return policy


def require_authority(folder: Trust, path: Path) -> None:
    """Check that a key of a folder could vouch for those of a topic.

    Raises
    ------
    SettingsError
        If none has the role authority.
    """
    if not folder.own_keys.authorities:
        raise SettingsError(
            f"--trust-topic: no key in {shown(path)} has the role authority, so none vouches for keys of a topic; "
            "`inspection keys new NAME --role authority` makes one"
        )

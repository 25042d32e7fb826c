"""Signatures of recorded labels: labels that no operator has signed are counted, and left out if that is asked for."""

from __future__ import annotations

from collections import Counter
from typing import Any

from schemas.records import Label
from transport.belief import SignaturePolicy
from transport.public_keys import SignatureFault, SignerRole, TrustedKeys
from transport.signatures import SIGNATURE_HEADER, signed_bytes
from transport.stored_message import MessagePosition, StoredMessage


class LabelSignatures:
    """Check of the signatures of labels, with the number of labels by fault.

    A key has to be valid at the time of the message, not now: the labels of a key that was replaced go on to count. A
    revoked key has signed nothing.

    Parameters
    ----------
    keys
        Public keys that are believed.
    policy
        `REQUIRE`: a label with a fault is left out. `WARN`: it is used, and counted.
    """

    def __init__(self, keys: TrustedKeys, policy: SignaturePolicy) -> None:
        self._keys = keys
        self._is_required = policy is SignaturePolicy.REQUIRE
        self._first: MessagePosition | None = None
        #: Next offset to count, by partition: a command may read the labels twice.
        self._counted_to: dict[int, int] = {}
        self.faults: Counter[SignatureFault] = Counter()

    def uses(self, found: StoredMessage[Any]) -> bool:
        """Return True if a label counts; ``found`` needs the bytes of the message. What is no label passes."""
        label = found.record
        if not isinstance(label, Label):
            return True
        header = found.headers.get(SIGNATURE_HEADER)
        content = signed_bytes(found.position.topic, found.key, found.value)
        fault = self._keys.fault(SignerRole.OPERATOR, label.key, header, content, found.timestamp_us)
        if fault is None:
            return True
        self._count(fault, found.position)
        return not self._is_required

    @property
    def summary(self) -> str | None:
        """One line about the labels with a fault; None if there is no such label."""
        if not self.faults:
            return None
        number = self.faults.total()
        consequence = "not used" if self._is_required else "used all the same"
        reasons = ", ".join(f"{count} {fault}" for fault, count in sorted(self.faults.items()))
        labels = "1 label is" if number == 1 else f"{number} labels are"
        return f"{labels} not signed by an operator of --trust, and {consequence}: {reasons}; the first: {self._first}"

    def _count(self, fault: SignatureFault, position: MessagePosition) -> None:
        if position.offset < self._counted_to.get(position.partition, 0):
            return
        self._counted_to[position.partition] = position.offset + 1
        self._first = self._first or position
        self.faults[fault] += 1

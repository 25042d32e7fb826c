"""Check for sensor faults with a name: frozen, black, saturated. (For out of focus see `episode_tracker`.)

===========  ==========================================================================================
cause        five frames in a row that are
===========  ==========================================================================================
frozen       the same bytes as one of the four frames before, of a buffer that is stale or several that take turns:
             no sensor is free of noise
black        at least 95 % of the pixels at or below 2
saturated    at least half of the pixels at or above 253
===========  ==========================================================================================

A camera whose frames resemble each other without being equal is called frozen too. This needs 50 frames in a row whose
difference hash differs from that of the frame before in at most 2 bits of 64, while its frames usually differ in 12 or
more. (On video, where neighbours are alike by nature, they do not.) A property of the training images themselves (a
black or white background) is not a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.reference import SignalReferences
from models.signals import dhash_distance
from monitoring.checked import fields, items, number, numbers, text, whole
from schemas.records import Decision, SignalChange

IN_A_ROW = 5
ALIKE_IN_A_ROW = 50
_ALIKE_BITS, _USUAL_BITS = 2, 12
_BLACK, _SATURATED = 0.95, 0.5
_MEMORY = 500
#: Frames with which a frame is compared: drivers of cameras have up to four buffers.
_BUFFERS = 4


@dataclass(frozen=True, slots=True)
class SensorFault:
    """Fault of the sensor that lasts at a frame.

    Parameters
    ----------
    cause
        ``frozen``, ``black`` or ``saturated``.
    frames
        Number of frames in a row with the fault.
    change
        Share of pixels, or bits in which neighbouring frames differ, before the fault and now.
    """

    cause: str
    frames: int
    change: SignalChange


class SensorCheck:
    """Check of one frame after the other; `cause` names the current fault."""

    def __init__(self) -> None:
        self._runs = {"same": 0, "alike": 0, "black": 0, "saturated": 0}
        self._recent_sha256 = [""]
        self._last_hash: dict[str, float] = {}
        self._usual_bits = 0.0
        self._compared = 0
        self._shares: dict[str, float] = {}

    def observe(self, decision: Decision, references: SignalReferences) -> None:
        """Process the next frame of the camera."""
        signals = decision.signals
        distance = dhash_distance(signals, self._last_hash)
        same = decision.image_sha256 in self._recent_sha256
        self._count("same", same)
        alike = distance is not None and distance <= _ALIKE_BITS
        self._count("alike", alike and self._usual_bits >= _USUAL_BITS)
        if distance is not None:
            self._compared += 1
            weight = 1 / min(self._compared, _MEMORY)
            self._usual_bits += weight * (distance - self._usual_bits)
        for name, signal, share in (("black", "dark_share", _BLACK), ("saturated", "bright_share", _SATURATED)):
            reference = references.get(signal)
            usual = reference is not None and reference.quantiles[-1] >= share
            self._shares[name] = signals.get(signal, 0.0)
            self._count(name, self._shares[name] >= share and not usual)
        self._recent_sha256 = [*self._recent_sha256, decision.image_sha256][-_BUFFERS:]
        self._last_hash = {name: signals[name] for name in ("dhash_hi", "dhash_lo") if name in signals}

    @property
    def cause(self) -> str:
        """``frozen``, ``black``, ``saturated``, or empty."""
        for name in ("black", "saturated"):
            if self._runs[name] >= IN_A_ROW:
                return name
        return "frozen" if self._runs["same"] >= IN_A_ROW or self._runs["alike"] >= ALIKE_IN_A_ROW else ""

    def fault(self, references: SignalReferences) -> SensorFault | None:
        """Return the fault that `cause` names; None if there is no fault."""
        return SensorFault(self.cause, self._frames(), self._change(references)) if self.cause else None

    def _frames(self) -> int:
        if self.cause == "frozen":
            return max(self._runs["same"], self._runs["alike"])
        return self._runs.get(self.cause, 0)

    def _change(self, references: SignalReferences) -> SignalChange:
        signal = {"black": "dark_share", "saturated": "bright_share"}.get(self.cause)
        if signal is None:
            return SignalChange("dhash_distance", "sensor", round(self._usual_bits, 1), 0.0, 0.0)
        reference = references.get(signal)
        before = reference.mean if reference is not None else 0.0
        return SignalChange(signal, "sensor", before, self._shares[self.cause], 0.0)

    def state(self) -> Any:
        """Return the whole state as JSON."""
        return [self._runs, ",".join(self._recent_sha256), self._last_hash, self._usual_bits, self._compared]

    def restore(self, state: Any) -> None:
        """Resume from a `state`; raise ValueError for anything else."""
        runs, sha256, last, usual, compared = items(state, 5, 5)
        runs = fields(runs, self._runs)
        self._runs = {name: whole(runs[name]) for name in self._runs}
        self._recent_sha256 = text(sha256).split(",")[-_BUFFERS:]
        self._last_hash = numbers(last, 2)
        self._usual_bits, self._compared = number(usual, 0.0, 64.0), whole(compared)

    def _count(self, name: str, is_so: bool) -> None:
        self._runs[name] = self._runs[name] + 1 if is_so else 0

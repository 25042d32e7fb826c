"""Check for sensor faults with a name: frozen, black, saturated. (For out of focus see `episode_tracker`.)

===========  ==========================================================================================
cause        five frames in a row, of the camera or of one of its products, that are
===========  ==========================================================================================
frozen       the same bytes as one of the camera's four frames before, of a buffer that is stale or several that take
             turns: no sensor is free of noise
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
#: Causes, each with its signal and the share of pixels from which a frame counts.
_EXPOSURES = (("black", "dark_share", 0.95), ("saturated", "bright_share", 0.5))
_MEMORY = 500
#: Frames with which a frame is compared: drivers of cameras have up to four buffers.
_BUFFERS = 4
#: Values of a half of the difference hash, which are below this number, and digits of a sha256. Any writer can send
#: others, and a state with them could not be read again.
_HALF_HASH, _SHA256_DIGITS = 2**32, 64


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


class ExposureCheck:
    """Runs of black and of saturated frames, of a camera or of one of its products.

    If products alternate part by part, the frames of one may be black because its own lamp is out.
    """

    def __init__(self) -> None:
        self.runs = {name: 0 for name, _, _ in _EXPOSURES}
        self._shares: dict[str, float] = {}

    def observe(self, decision: Decision, references: SignalReferences) -> None:
        """Process the next frame."""
        for name, signal, share in _EXPOSURES:
            reference = references.get(signal)
            usual = reference is not None and reference.quantiles[-1] >= share
            found = decision.signals.get(signal, 0.0)
            self._shares[name] = found if 0.0 <= found <= 1.0 else 0.0
            self.runs[name] = self.runs[name] + 1 if self._shares[name] >= share and not usual else 0

    def fault(self, references: SignalReferences) -> SensorFault | None:
        """Return the fault that lasts; None if there is no fault."""
        for name, signal, _ in _EXPOSURES:
            if self.runs[name] >= IN_A_ROW:
                reference = references.get(signal)
                before = reference.mean if reference is not None else 0.0
                change = SignalChange(signal, "sensor", before, self._shares.get(name, 0.0), 0.0)
                return SensorFault(name, self.runs[name], change)
        return None

    def restore(self, runs: Any) -> None:
        """Resume from earlier `runs`; raise ValueError for anything else."""
        runs = fields(runs, self.runs)
        self.runs = {name: whole(runs[name]) for name in self.runs}


class SensorCheck:
    """Check of one frame of a camera after the other."""

    def __init__(self) -> None:
        self._runs = {"same": 0, "alike": 0}
        self._recent_sha256 = [""]
        self._last_hash: dict[str, float] = {}
        self._usual_bits = 0.0
        self._compared = 0
        self._exposure = ExposureCheck()

    def observe(self, decision: Decision, references: SignalReferences) -> None:
        """Process the next frame of the camera."""
        hashes, sha256 = _hashes(decision), decision.image_sha256.replace(",", "")[:_SHA256_DIGITS]
        distance = dhash_distance(hashes, self._last_hash)
        same = sha256 in self._recent_sha256
        self._count("same", same)
        alike = distance is not None and distance <= _ALIKE_BITS
        self._count("alike", alike and self._usual_bits >= _USUAL_BITS)
        if distance is not None:
            self._compared += 1
            weight = 1 / min(self._compared, _MEMORY)
            self._usual_bits += weight * (distance - self._usual_bits)
        self._exposure.observe(decision, references)
        self._recent_sha256 = [*self._recent_sha256, sha256][-_BUFFERS:]
        self._last_hash = hashes

    def fault(self, references: SignalReferences) -> SensorFault | None:
        """Return the fault that lasts; None if there is no fault."""
        found = self._exposure.fault(references)
        if found is None and (self._runs["same"] >= IN_A_ROW or self._runs["alike"] >= ALIKE_IN_A_ROW):
            change = SignalChange("dhash_distance", "sensor", round(self._usual_bits, 1), 0.0, 0.0)
            return SensorFault("frozen", max(self._runs.values()), change)
        return found

    def state(self) -> Any:
        """Return the whole state as JSON."""
        runs = {**self._runs, **self._exposure.runs}
        return [runs, ",".join(self._recent_sha256), self._last_hash, self._usual_bits, self._compared]

    def restore(self, state: Any) -> None:
        """Resume from a `state`; raise ValueError for anything else."""
        runs, sha256, last, usual, compared = items(state, 5, 5)
        self._exposure.restore(runs)
        runs = fields(runs, self._runs)
        self._runs = {name: whole(runs[name]) for name in self._runs}
        self._recent_sha256 = text(sha256).split(",")[-_BUFFERS:]
        self._last_hash = numbers(last, 2)
        self._usual_bits, self._compared = number(usual, 0.0, 64.0), whole(compared)

    def _count(self, name: str, is_so: bool) -> None:
        self._runs[name] = self._runs[name] + 1 if is_so else 0


def _hashes(decision: Decision) -> dict[str, float]:
    """Return the halves of the difference hash that are such numbers."""
    found = {name: decision.signals.get(name, -1.0) for name in ("dhash_hi", "dhash_lo")}
    return {name: value for name, value in found.items() if 0.0 <= value < _HALF_HASH}

"""Probes: frames that are inspected although they are too late by the estimate; they can prove it wrong."""

from __future__ import annotations

import threading
from collections import OrderedDict

from stream_processors.worker.overload import PartitionedKey

#: Time without an inspected frame after which a camera gets a probe, in seconds.
PROBE_S = 0.5
#: Largest share of the time of one thread that probes may take.
SHARE = 0.1
#: Most cameras that are remembered. A forgotten camera may get a probe early, within the share.
_MOST_CAMERAS = 10_000


class Probes:
    """Choice of the frames that are probes. Thread-safe.

    Names of cameras can be invented, so all probes together are bounded: after a probe that took 10 ms the next one
    comes at least 100 ms later. A probe that takes long, or does not end, delays the next one by `PROBE_S`.

    Examples
    --------
    >>> probes = Probes()
    >>> one, other = (0, b"press/top"), (0, b"press/side")
    >>> probes.take(one, at_s=0.0), probes.take(other, at_s=0.05)
    (True, False)
    >>> probes.ended(took_ms=10.0)
    >>> probes.take(other, at_s=0.1), probes.take(one, at_s=0.4), probes.take(one, at_s=0.6)
    (True, False, True)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inspected_s: OrderedDict[PartitionedKey, float] = OrderedDict()
        self._taken_s = self._next_s = float("-inf")

    def inspected(self, camera: PartitionedKey, at_s: float) -> None:
        """Record that a frame of a camera is inspected at ``at_s`` of a monotonic clock."""
        with self._lock:
            self._note(camera, at_s)

    def take(self, camera: PartitionedKey, at_s: float) -> bool:
        """Return True if a frame of a camera must be a probe: it then counts as inspected."""
        with self._lock:
            if at_s < self._next_s or at_s - self._inspected_s.get(camera, float("-inf")) < PROBE_S:
                return False
            self._taken_s, self._next_s = at_s, at_s + PROBE_S
            self._note(camera, at_s)
            return True

    def ended(self, took_ms: float) -> None:
        """Record that the inspection of a probe took this time."""
        with self._lock:
            self._next_s = min(self._next_s, self._taken_s + took_ms / 1000 / SHARE)

    def _note(self, camera: PartitionedKey, at_s: float) -> None:
        self._inspected_s[camera] = at_s
        self._inspected_s.move_to_end(camera)
        if len(self._inspected_s) > _MOST_CAMERAS:
            self._inspected_s.popitem(last=False)

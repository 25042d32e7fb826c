"""Parts between camera and gate in the order of their arrival, on a belt that moves or is stopped."""

from __future__ import annotations

import heapq

from actuators.tracked_part import TrackedPart


class Arrivals:
    """Schedule that can be suspended.

    While the belt is stopped nothing arrives. Parts that are on it, or come onto it meanwhile, are marked
    (`TrackedPart.is_stopped`), because their position is no longer certain. When the belt moves again, each arrival is
    later by the time that its part stood still.

    Examples
    --------
    >>> arrivals = Arrivals()
    >>> arrivals.stop(1.0); arrivals.is_stopped, arrivals.next_s
    (True, None)
    """

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, TrackedPart]] = []
        self._stopped_s: float | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_stopped(self) -> bool:
        return self._stopped_s is not None

    @property
    def next_s(self) -> float | None:
        """Monotonic time of the next arrival; None if the belt is empty or stopped."""
        return self._queue[0][0] if self._queue and self._stopped_s is None else None

    def add(self, tracked: TrackedPart) -> None:
        """Put a part onto the belt."""
        tracked.is_stopped = self.is_stopped
        heapq.heappush(self._queue, (tracked.part.act_at_s, tracked.serial, tracked))

    def pop(self, now_s: float) -> TrackedPart | None:
        """Remove the part that arrived first from the belt and return it; None if no part has arrived."""
        if self.next_s is None or self.next_s > now_s:
            return None
        return heapq.heappop(self._queue)[2]

    def stop(self, now_s: float) -> None:
        """Stop the belt from that moment (monotonic s) on."""
        if self._stopped_s is None:
            self._stopped_s = now_s
            self.void()

    def move(self, now_s: float) -> None:
        """Restart the belt from that moment (monotonic s) on."""
        if self._stopped_s is None:
            return
        for _, _, tracked in self._queue:
            # A part that came while the belt was stopped is delayed by the rest of the standstill only.
            tracked.late_by_s += now_s - max(self._stopped_s, tracked.expected_s)
        self._again()

    def void(self) -> int:
        """Mark all parts on the belt, as their positions are no longer known; return their number."""
        for _, _, tracked in self._queue:
            tracked.is_stopped = True
        return len(self._queue)

    def end(self, now_s: float) -> None:
        """Let all parts on a stopped belt arrive at that moment: the gate ends and does not wait for the belt."""
        if self._stopped_s is None:
            return
        for _, _, tracked in self._queue:
            tracked.late_by_s = now_s - tracked.part.act_at_s
        self._again()

    def _again(self) -> None:
        self._stopped_s = None
        self._queue = [(tracked.arrives_s, serial, tracked) for _, serial, tracked in self._queue]
        heapq.heapify(self._queue)

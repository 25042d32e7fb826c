"""Parts between camera and gate in the order of their arrival, on a belt that moves or stands."""

from __future__ import annotations

import heapq

from actuators.passing import Passing


class Arrivals:
    """A schedule that can be suspended.

    While the belt stands nothing arrives. What is on it, or comes onto it meanwhile, is marked (`Passing.is_stopped`):
    its position is not sure any more. When the belt moves again each arrival is later by the time that its part stood.

    Examples
    --------
    >>> arrivals = Arrivals()
    >>> arrivals.stop(1.0); arrivals.is_stopped, arrivals.next_s
    (True, None)
    """

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, Passing]] = []
        self._stopped_s: float | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_stopped(self) -> bool:
        """Whether the belt stands."""
        return self._stopped_s is not None

    @property
    def next_s(self) -> float | None:
        """Monotonic time of the next arrival; None with an empty belt, or one that stands."""
        return self._queue[0][0] if self._queue and self._stopped_s is None else None

    def add(self, passing: Passing) -> None:
        """Take a part onto the belt."""
        passing.is_stopped = self.is_stopped
        heapq.heappush(self._queue, (passing.part.act_at_s, passing.serial, passing))

    def pop(self, now_s: float) -> Passing | None:
        """Take the part that has arrived first off the belt; None if none has."""
        if self.next_s is None or self.next_s > now_s:
            return None
        return heapq.heappop(self._queue)[2]

    def stop(self, now_s: float) -> None:
        """Let the belt stand from that moment (monotonic s) on."""
        if self._stopped_s is None:
            self._stopped_s = now_s
            self.void()

    def move(self, now_s: float) -> None:
        """Let the belt move again from that moment (monotonic s) on."""
        if self._stopped_s is None:
            return
        for _, _, passing in self._queue:
            # A part that came while the belt stood has only the rest of the standstill behind it.
            passing.late_by_s += now_s - max(self._stopped_s, passing.expected_s)
        self._again()

    def void(self) -> int:
        """Mark all that is on the belt, as its position is not known any more; return how many parts these are."""
        for _, _, passing in self._queue:
            passing.is_stopped = True
        return len(self._queue)

    def end(self, now_s: float) -> None:
        """Let all that is on a belt that stands arrive at that moment: the gate ends, and waits for no belt."""
        if self._stopped_s is None:
            return
        for _, _, passing in self._queue:
            passing.late_by_s = now_s - passing.part.act_at_s
        self._again()

    def _again(self) -> None:
        self._stopped_s = None
        self._queue = [(passing.arrives_s, serial, passing) for _, serial, passing in self._queue]
        heapq.heapify(self._queue)

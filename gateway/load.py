"""Admission of requests: a request that would wait in vain is refused at once. No Kafka, no HTTP.

Refused are requests beyond the number that may wait, requests while no worker answers, and requests whose decision
would come too late at the present rate. ``Retry-After`` follows from the queue and the measured rate.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.problems import Problem

#: Frames without an answer that are remembered.
_MOST_OPEN = 10_000
#: A frame without an answer says nothing about the workers after this time, in seconds: it may be lost.
_TELLING_S = 60.0
#: Time between two requests that are let through while no worker answers, in seconds. They find out when one does.
_PROBE_S = 1.0
#: Weight of the newest interval between two answers in the mean.
_WEIGHT = 0.1


class Admission:
    """Places of one request among the requests at hand: one at first, one for each image once it is known."""

    def __init__(self, load: Load, client: str) -> None:
        self._load, self._client = load, client
        self.count = 0

    def extend(self, count: int) -> None:
        """Have this number of places in total.

        Raises
        ------
        Problem
            ``quota`` or ``overloaded``; ``bad-request`` if it is more than one client may have.
        """
        self._load.take(self._client, count - self.count, count)
        self.count = count


class Load:
    """Requests at hand, frames without an answer, and the rate of answers. Call from one thread only.

    Parameters
    ----------
    most, most_per_client
        Most requests at once, of all clients and of one.
    silent_s
        Time without any answer, in seconds, after which no worker answers.
    kept_s
        Time for which a frame without an answer is remembered, in seconds.
    clock_s
        Function that returns seconds of a monotonic clock.

    Examples
    --------
    >>> load = Load(2, 1, 5.0, 600.0, lambda: 0.0)
    >>> with load.admit("press-7"):
    ...     load.at_hand
    1
    >>> with load.admit("press-7"), load.admit("press-7"):
    ...     pass
    Traceback (most recent call last):
    ...
    gateway.problems.Problem: 1 requests of press-7 are at hand, the most that are taken
    """

    def __init__(
        self, most: int, most_per_client: int, silent_s: float, kept_s: float, clock_s: Callable[[], float]
    ) -> None:
        self._most, self._most_per_client = most, most_per_client
        self._silent_s, self._kept_s = silent_s, kept_s
        self._clock_s = clock_s
        self._per_client: Counter[str] = Counter()
        self.at_hand = 0
        #: Frames without an answer, with the time when they were sent; and those of the last time.
        self._open: OrderedDict[str, float] = OrderedDict()
        self._telling: OrderedDict[str, float] = OrderedDict()
        #: Frames that requests wait for, with the number of these requests.
        self._waited_for: Counter[str] = Counter()
        self._answered_s = clock_s()
        self._probed_s = float("-inf")
        self._interval_s: float | None = None

    @property
    def interval_s(self) -> float | None:
        """Mean time between two answers while others waited, in seconds; None if unknown."""
        return self._interval_s

    @property
    def waiting_frames(self) -> int:
        """Frames of the last time that have no answer and that a request waits for.

        A request may also wait for a frame that nobody has published, or that is lost: no worker has it before it.
        """
        _expire(self._telling, self._clock_s() - _TELLING_S)
        return sum(frame_id in self._telling for frame_id in self._waited_for)

    @property
    def retry_after_s(self) -> float:
        """Time until the requests at hand are answered at the present rate, in seconds."""
        return self.waiting_frames * (self._interval_s or 0.0)

    @property
    def is_unanswered(self) -> bool:
        """True if frames wait, and there has been no answer to any for some time."""
        now_s = self._clock_s()
        _expire(self._telling, now_s - _TELLING_S)
        if not self._telling:
            return False
        return now_s - max(next(iter(self._telling.values())), self._answered_s) > self._silent_s

    @contextmanager
    def admit(self, client: str) -> Iterator[Admission]:
        """Admit a request of a client for the time of the block.

        Raises
        ------
        Problem
            ``quota`` or ``overloaded``.
        """
        places = Admission(self, client)
        try:
            places.extend(1)
            yield places
        finally:
            self.at_hand -= places.count
            self._per_client[client] -= places.count
            if not self._per_client[client]:
                del self._per_client[client]

    def take(self, client: str, count: int, total: int) -> None:
        """Take ``count`` more places for a request that then has ``total``. `admit` returns them.

        Raises
        ------
        Problem
            See `Admission.extend`.
        """
        most = min(self._most, self._most_per_client)
        if total > most:
            raise Problem("bad-request", f"{total} images in one request; {client} may send {most} at once")
        if self.at_hand + count > self._most:
            raise Problem(
                "overloaded",
                f"{self.at_hand} requests are at hand, and {self._most} are taken at most",
                retry_after_s=self.retry_after_s,
            )
        if self._per_client[client] + count > self._most_per_client:
            raise Problem(
                "quota",
                f"{self._per_client[client]} requests of {client} are at hand, the most that are taken"
                if count == 1
                else f"{count} more requests of {client} would be over the {self._most_per_client} that are taken",
                retry_after_s=self.retry_after_s,
            )
        self.at_hand += count
        self._per_client[client] += count

    def require_answers(self, wait_s: float | None) -> None:
        """Check that a frame has a prospect of an answer.

        Parameters
        ----------
        wait_s
            Time that the client waits, in seconds; None: any time.

        Raises
        ------
        Problem
            ``no-worker`` or ``would-be-late``.
        """
        now_s = self._clock_s()
        if self.is_unanswered:
            if now_s - self._probed_s < _PROBE_S:
                raise Problem(
                    "no-worker",
                    f"no worker has answered for {now_s - self._answered_s:.0f} s",
                    retry_after_s=self._probed_s + _PROBE_S - now_s,
                )
            self._probed_s = now_s
            return
        if wait_s is None or self._interval_s is None:
            return
        waiting = self.waiting_frames
        expected_s = (waiting + 1) * self._interval_s
        # Two and more frames make a queue.
        if waiting > 1 and expected_s > wait_s:
            raise Problem(
                "would-be-late",
                f"{waiting} frames wait, a decision would take about {expected_s:.1f} s",
                retry_after_s=expected_s - wait_s,
            )

    @contextmanager
    def waits(self, frame_id: str) -> Iterator[None]:
        """Note that a request waits for a frame, for the time of the block."""
        self._waited_for[frame_id] += 1
        try:
            yield
        finally:
            self._waited_for[frame_id] -= 1
            if not self._waited_for[frame_id]:
                del self._waited_for[frame_id]

    def sent(self, frame_id: str) -> None:
        """Record that a frame was published."""
        now_s = self._clock_s()
        self._open[frame_id] = self._telling[frame_id] = now_s
        _expire(self._open, now_s - self._kept_s)
        _expire(self._telling, now_s - _TELLING_S)

    def is_open(self, frame_id: str) -> bool:
        """Return True if a frame was published and has no answer yet. Thread-safe."""
        return frame_id in self._open

    def failed(self, frame_id: str) -> None:
        """Record that Kafka did not accept a frame: no worker will answer it."""
        self._open.pop(frame_id, None)
        self._telling.pop(frame_id, None)

    def answered(self, frame_id: str) -> None:
        """Record the first decision on a frame; frames of others do not count."""
        sent_s = self._open.pop(frame_id, None)
        self._telling.pop(frame_id, None)
        if sent_s is None:
            return
        now_s, before_s = self._clock_s(), self._answered_s
        self._answered_s = now_s
        interval_s = now_s - before_s
        # A frame that did not wait for the answer before it tells nothing about the rate, and neither does an outage.
        if sent_s >= before_s or interval_s > self._silent_s:
            return
        known = self._interval_s
        self._interval_s = interval_s if known is None else known + _WEIGHT * (interval_s - known)


def _expire(frames: OrderedDict[str, float], before_s: float) -> None:
    while frames and (len(frames) > _MOST_OPEN or next(iter(frames.values())) < before_s):
        frames.popitem(last=False)

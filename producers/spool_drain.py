"""Rules of the disk beside a sender: when a frame is written to the spool, and when frames of the spool are sent.

A frame is written

- when it is offered, if the spool takes every frame (``always``);
- when its turn comes and the broker is unreachable, or an earlier frame is on disk and the order counts
  (``order-first``); also when the client has no room, unless the camera can wait;
- when its delivery fails, or the broker becomes unreachable while the frame is in flight.

Frames of the spool are sent in the order of capture, beside live frames: in the gaps between them, and at least once
for `LIVE_IN_A_ROW` live frames. While the broker is unreachable, one frame at a time is sent as a test; a live one, if
the disk has taken none.

The sender calls this module under its lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from producers.broker_health import BrokerHealth
from producers.message import Message
from producers.moving import Moving, in_flight
from producers.spool import LazySpool, Spool, SpoolOptions
from producers.spool.record import FrameKey
from producers.spool_backlog import Refusal, SpoolBacklog
from producers.stats import DropReason, PublisherCounters
from schemas.clock import Clock

#: Number of live frames in a row after which frames of the spool get their turn.
LIVE_IN_A_ROW = 8
#: Most frames of the spool in flight at once; live frames use the rest of the client's queue.
_DRAIN_IN_FLIGHT = 16
#: Pause before a frame in flight is offered to a full disk again, in seconds.
_STORE_AGAIN_S = 1.0
#: Number of acknowledged frames that are deleted from disk in one step while live frames keep coming.
_FORGET_AT_ONCE = 16


class SpoolDrain:
    """Spool of a sender, if it has one, and the health of the broker. Without a spool, no broker is unreachable.

    Parameters
    ----------
    spool, options
        Spool and its policies; None if frames never go to disk.
    moving
        Frames of the sender in memory, by key.
    started_at_us
        Start of the camera.
    counters
        Counters of the outcome of each frame.
    clock
        Clock with the monotonic time.
    warn
        Called with a topic and a line for the log.
    on_change
        Called with True when the broker becomes unreachable, and with False when it is reachable again.
    """

    def __init__(
        self,
        spool: Spool | LazySpool | None,
        options: SpoolOptions,
        moving: Mapping[FrameKey, Moving],
        *,
        started_at_us: int,
        counters: PublisherCounters,
        clock: Clock,
        warn: Callable[[str, str], None],
        on_change: Callable[[bool], None],
    ) -> None:
        self._options = options
        self._moving = moving
        self._counters = counters
        self._clock = clock
        self._warn = warn
        self._backlog = None if spool is None else SpoolBacklog(spool, options, counters, started_at_us, warn)
        unreachable_after_s = float("inf") if spool is None else options.unreachable_after_ms / 1000
        self._health = BrokerHealth(unreachable_after_s, on_change)
        self._live_in_a_row = 0

    def __len__(self) -> int:
        """Return the number of frames on disk without an acknowledgement."""
        return 0 if self._backlog is None else len(self._backlog)

    @property
    def is_used(self) -> bool:
        """True if frames can go to disk: there is a spool, and it is not closed."""
        return self._backlog is not None

    @property
    def takes_every_frame(self) -> bool:
        """True if each frame goes to disk before it is sent."""
        return self._backlog is not None and self._options.mode == "always"

    @property
    def unreachable(self) -> bool:
        """True if the broker does not accept frames at the moment."""
        return self._health.unreachable

    def store_or_drop(self, message: Message, reason: DropReason, why: str) -> bool:
        """Put a frame on disk, or drop and count it; return True if it is on disk.

        ``reason`` and ``why`` are those of a frame that is dropped because there is no spool.
        """
        if self._backlog is None:
            self._counters.drop(reason)
            self._warn(reason, why)
            return False
        refusal = self._backlog.append(message, self._moving.keys())
        if refusal is None:
            return True
        self._counters.drop(refusal.reason)
        self._counters.record_spool_loss(refusal.reason, 1)
        self._backlog.record_loss(message.place)
        self._warn(refusal.reason, f"{refusal.why}: dropped the new frame")
        return False

    def holds_back(self) -> bool:
        """Return True if a live frame must not be sent now: it waits, or goes to disk."""
        if self._backlog is None:
            return False
        if self.unreachable:
            return not self._is_live_test_due()
        return self._options.order == "order-first" and self._only_on_disk() > 0

    def _is_live_test_due(self) -> bool:
        """Return True if a live frame is the test of an unreachable broker: the disk has taken none for it."""
        is_other = in_flight(self._moving) or self._only_on_disk() > 0
        return not is_other and self._health.may_try(self._clock.monotonic_s())

    def may_be_in_flight(self, size_bytes: int) -> bool:
        """Return True if one more frame may be in flight to Kafka, see `SpoolBacklog.may_be_in_flight`."""
        if self._backlog is None:
            return True
        already_bytes = sum(len(moving.message.value) for moving in in_flight(self._moving))
        return self._backlog.may_be_in_flight(already_bytes, size_bytes)

    def check(self) -> None:
        """Check if the broker is unreachable; if so, store the frames in flight on disk as well."""
        now_s = self._clock.monotonic_s()
        waiting = in_flight(self._moving)
        oldest_since_s = min((moving.since_s for moving in waiting if moving.since_s is not None), default=None)
        self._health.check(oldest_since_s, now_s)
        if not self.unreachable or self._backlog is None:
            return
        refusal: Refusal | None = None
        for moving in waiting:
            if not moving.on_disk and moving.store_again_s <= now_s:
                refusal = self._backlog.append(moving.message, self._moving.keys())
                moving.on_disk = refusal is None
                moving.store_again_s = now_s + _STORE_AGAIN_S
        if refusal is not None:
            # No frame is dropped yet: each frame still gets an outcome, and is counted then.
            self._warn("unsaved", f"{refusal.why}: frames on their way to Kafka are in memory only")

    def failed(self) -> None:
        """Record that the delivery of a frame failed."""
        self._health.failed(self._clock.monotonic_s())

    def acknowledged(self, moving: Moving) -> None:
        """Record that Kafka has acknowledged a frame; `forget` deletes it from disk."""
        self._health.acknowledged()
        if moving.on_disk and self._backlog is not None:
            self._backlog.acknowledged(moving.message.place)

    def is_turn(self, *, after_live: bool) -> bool:
        """Return True if it is the turn of frames on disk: in each gap, and after a number of live frames.

        ``after_live`` is True if a live frame was sent since the last call.
        """
        self._live_in_a_row += after_live
        if after_live and self._live_in_a_row < LIVE_IN_A_ROW:
            return False
        self._live_in_a_row = 0
        return True

    def next_frames(self) -> list[Message]:
        """Return the frames of the spool to send now; one frame, as a test, if the broker is unreachable."""
        if self._backlog is None or self._only_on_disk() <= 0:
            return []
        moving = in_flight(self._moving)
        if self.unreachable:
            room = int(not moving and self._health.may_try(self._clock.monotonic_s()))
        else:
            room = _DRAIN_IN_FLIGHT - sum(one.drained for one in moving)
        return self._backlog.next(room, self._moving.keys()) if room > 0 else []

    def forget(self, *, is_idle: bool) -> None:
        """Delete acknowledged frames from disk: at once in a gap between live frames, else several in one step."""
        if self._backlog is not None:
            self._backlog.forget(at_least=1 if is_idle else _FORGET_AT_ONCE)

    def record_loss(self, place: FrameKey, deleted_because: DropReason | None = None) -> None:
        """Record on disk a frame that was dropped, see `SpoolBacklog.record_loss`."""
        if self._backlog is not None:
            self._backlog.record_loss(place, deleted_because)

    def close(self) -> None:
        """Close the spool; its frames stay for the next start. Idempotent."""
        if self._backlog is not None:
            self._backlog.close()
            self._backlog = None

    def _only_on_disk(self) -> int:
        return len(self) - sum(moving.on_disk for moving in self._moving.values())

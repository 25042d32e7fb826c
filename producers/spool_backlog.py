"""Frames of a camera on disk, each of them counted. The sender calls this module under its lock."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from producers.message import Message
from producers.spool import LazySpool, Spool, SpooledFrame, SpoolFull, SpoolOptions, SpoolUnwritable
from producers.spool.record import FrameKey
from producers.stats import DropReason, PublisherCounters


@dataclass(frozen=True, slots=True)
class Refusal:
    """Reason for which the disk did not take a frame: the word under which it is counted, and a sentence."""

    reason: DropReason
    why: str


class SpoolBacklog:
    """Spool with counts: frames that the disk refuses, evicts or loses are counted and logged.

    Parameters
    ----------
    spool, options
        Spool and its policies.
    counters
        Counters of the frames. Frames of ``started_at_us`` are counted as captured, others only as frames of the spool.
    warn
        Called with a topic and a line for the log.
    """

    def __init__(
        self,
        spool: Spool | LazySpool,
        options: SpoolOptions,
        counters: PublisherCounters,
        started_at_us: int,
        warn: Callable[[str, str], None],
    ) -> None:
        self._options = options
        self._spool = spool
        self._counters = counters
        self._started_at_us = started_at_us
        self._warn = warn
        #: Frames that Kafka has acknowledged and that are not deleted yet.
        self._acked: set[FrameKey] = set()
        self._show()

    def __len__(self) -> int:
        """Return the number of frames without an acknowledgement."""
        return max(0, self._spool.frames - len(self._acked))

    def may_be_in_flight(self, already_bytes: int, size_bytes: int) -> bool:
        """Return True if one more frame may be in flight to Kafka.

        Frames in flight may fill at most half a spool, because the spool must not evict them.
        """
        return already_bytes == 0 or 2 * (already_bytes + size_bytes) <= self._options.max_bytes

    def append(self, message: Message, keep: Collection[FrameKey]) -> Refusal | None:
        """Put a frame on disk and count it there; return the reason if the disk does not take it.

        A refused frame is not dropped yet: it may be in flight to Kafka. A caller that drops it calls
        `record_loss`.

        Parameters
        ----------
        keep
            Frames that must not be evicted for it.
        """
        frame = SpooledFrame.of(message)
        if self._acked and self._spool.bytes + frame.size_bytes > self._options.max_bytes:
            self.forget()
        try:
            evicted = self._spool.append(frame, keep={*keep, *self._acked})
        except SpoolFull as error:
            return Refusal("spool-full", str(error))
        except SpoolUnwritable as error:
            return Refusal("spool-unwritable", str(error))
        self._counters.spool()
        if evicted:
            # One line for each frame: the log then counts the lines that it leaves out, and so the frames.
            for _ in evicted:
                self._warn("spool-full", "the spool is full: dropped the oldest frame")
            self._counters.record_spool_loss("spool-full", len(evicted))
            for started_at_us, _ in evicted:
                if started_at_us == self._started_at_us:
                    self._counters.drop("spool-full", spooled=True)
        self._reconcile()
        self._show()
        return None

    def record_loss(self, place: FrameKey, deleted_because: DropReason | None = None) -> None:
        """Count on disk a frame that was dropped, because the audit looks for it.

        Parameters
        ----------
        deleted_because
            Reason for deleting the frame, if it is on disk; None if it is not on disk.
        """
        if deleted_because is None:
            self._spool.record_loss(place)
            return
        self._counters.record_spool_loss(deleted_because, 1)
        try:
            self._spool.delete([place], drained=False)
        except SpoolUnwritable as error:
            self._warn("spool-unwritable", str(error))

    def next(self, limit: int, skip: Collection[FrameKey]) -> list[Message]:
        """Return the oldest frames that are not in flight; fewer, or no frames, if the disk cannot read them."""
        try:
            frames = self._spool.oldest(limit, skip={*skip, *self._acked})
        except SpoolUnwritable as error:
            self._warn("spool-unwritable", str(error))
            return []
        self._reconcile()
        return [frame.message() for frame in frames]

    def acknowledged(self, place: FrameKey) -> None:
        """Record that Kafka has acknowledged a frame; `forget` deletes it."""
        self._acked.add(place)

    def forget(self, at_least: int = 1) -> None:
        """Delete the acknowledged frames in one step, once there are ``at_least`` of them."""
        if len(self._acked) < at_least:
            return
        try:
            self._spool.delete(self._acked, drained=True)
        except SpoolUnwritable as error:
            # The frames stay, and are sent again after a restart: a duplicate is better than a loss.
            self._warn("spool-unwritable", str(error))
            return
        self._acked.clear()
        self._show()

    def close(self) -> None:
        """Delete the acknowledged frames and close the file; the other frames stay for the next start."""
        self.forget()
        self._spool.close()

    def _reconcile(self) -> None:
        """Count frames of this start that a failing disk has lost."""
        losses = self._spool.take_losses()
        if not losses:
            return
        acked = sum(started_at_us == self._started_at_us for started_at_us, _ in self._acked)
        missing = self._counters.snapshot().spooled + acked - self._spool.count_of(self._started_at_us)
        self._counters.record_spool_loss("spool-damaged", losses)
        for _ in range(missing):
            self._counters.fail("spool-damaged", spooled=True)

    def _show(self) -> None:
        self._counters.spool_holds(len(self), self._spool.bytes)

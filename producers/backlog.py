"""A camera's frames on disk, with every one of them counted; called under the lock of the sender."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from producers.message import Message
from producers.spool import Spool, SpooledFrame, SpoolFull, SpoolOptions, SpoolUnwritable
from producers.spool.record import FrameKey
from producers.stats import DropReason, Tally


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the disk did not take a frame, as the word that counts it and as a sentence."""

    reason: DropReason
    why: str


class Backlog:
    """The spool as the sender sees it: what the disk refuses, evicts or loses is counted and said.

    Parameters
    ----------
    spool, options
        The file and its policies.
    tally
        Where frames are counted; those of ``started_at_us`` as captured, others only as the spool's.
    warn
        Called with a topic and a line for the log.
    """

    def __init__(
        self, spool: Spool, options: SpoolOptions, tally: Tally, started_at_us: int, warn: Callable[[str, str], None]
    ) -> None:
        self.options = options
        self._spool = spool
        self._tally = tally
        self._started_at_us = started_at_us
        self._warn = warn
        #: Acknowledged by Kafka and not yet deleted.
        self._acked: set[FrameKey] = set()
        self._show()

    def __len__(self) -> int:
        """Frames whose acknowledgement has not come."""
        return max(0, self._spool.frames - len(self._acked))

    def may_be_under_way(self, already_bytes: int, size_bytes: int) -> bool:
        """Whether one more frame may be given to Kafka: half a spool at most, for on disk they do not give way."""
        return already_bytes == 0 or 2 * (already_bytes + size_bytes) <= self.options.max_bytes

    def append(self, message: Message, keep: Collection[FrameKey]) -> Refusal | None:
        """Put a frame on disk and count it there; else say why not.

        A frame that is refused is not dropped yet: it may be on its way to Kafka. Who gives it up says so with `lose`.

        Parameters
        ----------
        keep
            Frames that must not give way for it.
        """
        frame = SpooledFrame.of(message)
        if self._acked and self._spool.bytes + frame.size_bytes > self.options.max_bytes:
            self.forget()
        try:
            evicted = self._spool.append(frame, keep={*keep, *self._acked})
        except SpoolFull as error:
            return Refusal("spool-full", str(error))
        except SpoolUnwritable as error:
            return Refusal("spool-unwritable", str(error))
        self._tally.spool()
        if evicted:
            # A line a frame: the log's count of lines left out is then a count of frames.
            for _ in evicted:
                self._warn("spool-full", "the spool is full: dropped the oldest frame")
            self._tally.spool_gave_up("spool-full", len(evicted))
            for started_at_us, _ in evicted:
                if started_at_us == self._started_at_us:
                    self._tally.drop("spool-full", spooled=True)
        self._reconcile()
        self._show()
        return None

    def lose(self, place: FrameKey) -> None:
        """Count on disk a frame of this start that is given up and is not there: the audit looks for it."""
        self._spool.refuse(place)

    def next(self, limit: int, skip: Collection[FrameKey]) -> list[Message]:
        """The oldest frames that are not under way; fewer, or none, if the disk does not give them."""
        try:
            frames = self._spool.oldest(limit, skip={*skip, *self._acked})
        except SpoolUnwritable as error:
            self._warn("spool-unwritable", str(error))
            return []
        self._reconcile()
        return [frame.message() for frame in frames]

    def acknowledged(self, place: FrameKey) -> None:
        """Kafka has the frame; `forget` deletes it."""
        self._acked.add(place)

    def forget(self, at_least: int = 1) -> None:
        """Delete what Kafka has acknowledged, many in one step, once there are so many."""
        if len(self._acked) < at_least:
            return
        try:
            self._spool.delete(self._acked, drained=True)
        except SpoolUnwritable as error:
            # They stay, and are sent again after a restart: twice is better than never.
            self._warn("spool-unwritable", str(error))
            return
        self._acked.clear()
        self._show()

    def give_up(self, place: FrameKey, reason: DropReason) -> None:
        """Kafka will never take the frame."""
        self._tally.spool_gave_up(reason, 1)
        try:
            self._spool.delete([place], drained=False)
        except SpoolUnwritable as error:
            self._warn("spool-unwritable", str(error))

    def close(self) -> None:
        """Delete what is acknowledged and close the file; the rest stays for the next start."""
        self.forget()
        self._spool.close()

    def _reconcile(self) -> None:
        """Count frames of this start that a failing disk has lost."""
        losses = self._spool.take_losses()
        if not losses:
            return
        acked = sum(started_at_us == self._started_at_us for started_at_us, _ in self._acked)
        missing = self._tally.snapshot().spooled + acked - self._spool.count_of(self._started_at_us)
        self._tally.spool_gave_up("spool-damaged", losses)
        for _ in range(missing):
            self._tally.fail("spool-damaged", spooled=True)

    def _show(self) -> None:
        self._tally.spool_holds(len(self), self._spool.bytes)

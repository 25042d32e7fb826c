"""Triggers for a gate in its own process: the frames topic replaces the light barrier.

**For simulations.** A frame that never reached Kafka triggers nothing here, so its part would pass the gate unseen. On
a real line the light barrier or encoder at the camera calls `GateRunner.expect` itself, and a part
without a frame gets its fail-safe.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from actuators.staleness import StalenessFilter
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.errors import CodecError, InspectionError, MetadataTooLarge
from schemas.records import Frame
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES
from transport.batches import UnreadableBatch
from transport.limited_log import LimitedLog
from transport.tail import Tail

log = logging.getLogger(__name__)
_POLL_S = 0.1
#: Number of frames in a row that are too old from which on they are reported, and seconds between two lines of a kind.
_MANY_OLD, _SAY_S = 10, 60.0


@dataclass(frozen=True, slots=True)
class TriggerCounts:
    """Frames by outcome: announced to the gate, too old, of another station, unreadable, refused by the gate."""

    expected: int = 0
    skipped_old: int = 0
    other_station: int = 0
    undecodable: int = 0
    refused: int = 0


class FrameTriggers:
    """Thread that announces to a gate every frame published from `start` on. It uses the metadata only.

    Parameters
    ----------
    expect
        Called with each frame: `GateRunner.expect_frame`.
    max_age_s
        Frames captured longer ago than this, in seconds, are skipped: their part is past the gate. Use the belt time.
        None: no frame is skipped, for a replay.
    station
        Only frames of this station; None: of all stations.
    on_read
        Called with True for each message that could be read, and with False for each message or batch that could not,
        on the thread of the triggers: `GateRunner.note_trigger`.
    on_unreadable
        Called with each batch that is skipped, on that thread too: `transport.batch_letters.BatchLetters.write`.

    Raises
    ------
    BrokerUnavailable, TopicMissing, RegistryError
        From `start`.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        expect: Callable[[Frame], object],
        *,
        max_age_s: float | None,
        station: str | None = None,
        on_read: Callable[[bool], object] = lambda is_readable: None,
        on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
        clock: Clock | None = None,
    ) -> None:
        self._kafka = kafka
        self._codec: Codec | None = None
        self._tail = Tail(
            kafka,
            kafka.frames,
            fetch_bytes=FRAMES.max_message_bytes,
            on_unreadable=self._left_out,
        )
        self._expect = expect
        self._station = station
        self._on_read = on_read
        self._on_unreadable = on_unreadable
        self._age = None if max_age_s is None else StalenessFilter(max_age_s, clock or SystemClock())
        self._counts: Counter[str] = Counter()
        self._old_in_a_row = 0
        self._limited = LimitedLog(log, _SAY_S)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="triggers", daemon=True)

    def start(self) -> None:
        """Begin at the end of the topic; afterwards every later frame is seen."""
        self._codec = self._codec or Codec.from_settings(self._kafka)
        self._tail.open()
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Idempotent; may be called without `start`."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._tail.close()

    @property
    def is_running(self) -> bool:
        """True if the thread is alive; without triggers, parts pass the gate unseen."""
        return self._thread.is_alive()

    @property
    def connected(self) -> bool:
        """True while the thread reads the topic and its brokers answer, see `Tail.connected`."""
        return self._thread.is_alive() and self._tail.connected

    @property
    def counts(self) -> TriggerCounts:
        """Counts of frames since the start."""
        return TriggerCounts(**self._counts)

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._tail.poll(_POLL_S)
            if message is not None:
                self._note(self._trigger(message.value()))

    def _left_out(self, batch: UnreadableBatch) -> None:
        self._on_unreadable(batch)
        self._note("undecodable")

    def _note(self, became: str) -> None:
        self._counts[became] += 1
        self._on_read(became != "undecodable")

    def _trigger(self, value: bytes | None) -> str:
        try:
            self._codec = self._codec or Codec.from_settings(self._kafka)
            frame = self._codec.decode(value, Frame)
        except CodecError as error:
            # The head of a frame with too many attributes names the part; a worker rejects it.
            head = error.record if isinstance(error, MetadataTooLarge) else None
            if not isinstance(head, Frame):
                self._limited.warning("undecodable", f"a frame that says nothing of its part: {error}")
                return "undecodable"
            frame = head
        if self._station is not None and frame.station != self._station:
            return "other_station"
        if self._age is not None and self._age.is_old(frame.captured_at_us):
            self._old_in_a_row += 1
            if self._old_in_a_row >= _MANY_OLD:
                self._limited.warning(
                    "old",
                    f"the last {self._old_in_a_row} frames, now of camera {frame.station}/{frame.camera_id}, were "
                    "captured longer ago than the belt takes: the gate does not see their parts. The camera's clock "
                    "may be behind, or this machine's ahead (`inspection doctor` compares clocks), or the frames come "
                    "from a spool",
                )
            return "skipped_old"
        self._old_in_a_row = 0
        try:
            self._expect(frame)
        except InspectionError as error:
            self._limited.warning("refused", f"part of frame {frame.frame_id}: {error}", logging.ERROR)
            return "refused"
        return "expected"

"""Batch of frames that one thread inspects together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from stream_processors.worker.estimate import FrameKind, Times, kind_of
from stream_processors.worker.frame_processor import FrameWork
from stream_processors.worker.frame_task import FrameTask

#: Frames are inspected together only if that takes no longer than this, in milliseconds.
MOST_MS = 40.0
#: Most frames of a batch.
MOST = 16


@dataclass(slots=True)
class Batch:
    """Batch of frames whose inspections are expected to take no longer than `MOST_MS` in all.

    So no frame waits long for a slower one. A frame of a kind whose time is unknown is inspected alone.

    Parameters
    ----------
    times
        Expected times; they learn from the batch.
    most
        Most frames.
    """

    times: Times
    most: int
    tasks: list[FrameTask] = field(default_factory=list)
    works: list[FrameWork] = field(default_factory=list)
    _kinds: dict[FrameKind, float] = field(default_factory=dict)
    _expected_ms: float = 0.0

    def __len__(self) -> int:
        return len(self.tasks)

    def add(self, task: FrameTask, work: FrameWork) -> bool:
        """Add a frame; return False if the batch has no room for it."""
        kind = kind_of(work[1])
        known_ms = self.times.frame_ms(kind)
        frame_ms = math.inf if known_ms is None else known_ms
        if self.tasks and not self._has_room(frame_ms):
            return False
        self.tasks.append(task)
        self.works.append(work)
        self._kinds[kind] = frame_ms
        self._expected_ms += frame_ms
        return True

    @property
    def is_full(self) -> bool:
        """True if there is no room for another frame, however quick it is."""
        return not self._has_room(0.0)

    def learn(self, took_ms: float) -> None:
        """Learn how long the batch took: each frame has a share in proportion to its expected time."""
        for kind, frame_ms in self._kinds.items():
            share = 1.0 if len(self) == 1 else frame_ms / max(self._expected_ms, 1e-9)
            self.times.taken(kind, took_ms * share)

    def _has_room(self, more_ms: float) -> bool:
        return len(self) < self.most and self._expected_ms + more_ms <= MOST_MS

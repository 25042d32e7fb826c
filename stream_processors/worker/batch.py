"""Batch of frames that one thread inspects together."""

from __future__ import annotations

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
    _kinds: list[tuple[FrameKind, float | None]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tasks)

    def add(self, task: FrameTask, work: FrameWork) -> bool:
        """Add a frame; return False if the batch has no room for it."""
        kind = kind_of(work[1])
        expected_ms = self.times.frame_ms(kind)
        if self.tasks and not self._has_room(expected_ms):
            return False
        self.tasks.append(task)
        self.works.append(work)
        self._kinds.append((kind, expected_ms))
        return True

    @property
    def is_full(self) -> bool:
        """True if there is no room for another frame, however quick it is."""
        return len(self.tasks) >= self.most or not self._has_room(0.0)

    def learn(self, took_ms: float) -> None:
        """Learn how long the batch took: each frame has a share in proportion to its expected time."""
        expected_ms = self._expected_ms
        for kind, each_ms in dict(self._kinds).items():
            self.times.taken(kind, took_ms if each_ms is None else took_ms * each_ms / max(expected_ms, 1e-9))

    def _has_room(self, more_ms: float | None) -> bool:
        is_known = more_ms is not None and all(each_ms is not None for _, each_ms in self._kinds)
        return is_known and len(self.tasks) < self.most and self._expected_ms + (more_ms or 0.0) <= MOST_MS

    @property
    def _expected_ms(self) -> float:
        return sum(each_ms or 0.0 for _, each_ms in self._kinds)

"""Levels of a camera's signals at one frame, as a value that does not change afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from models.reference import SignalReferences
from monitoring.drift.trace import BLOCK_FRAMES, Block, WatchedFrame

#: Pseudo-signal of the reject rate: 1 for a part that is not accepted, else 0.
REJECTS = "reject_rate"


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels of the signals over the newest watched frames, and those of the reference.

    Parameters
    ----------
    recent, blocks
        Newest watched frames and newest blocks, oldest first, see `Trace`.
    open_frames
        Number of newest frames that are not in a block yet.
    references
        References of the signals.
    reject_rate
        Share of parts that are not accepted, in ADWIN's window.
    unusual_shapes
        Signals whose last window was not distributed as in the reference.

    Examples
    --------
    >>> frames = [WatchedFrame(f"f{n}", n, {"brightness": 100.0}, {"brightness": 0.5}) for n in range(60)]
    >>> levels = Levels(tuple(frames), (), open_frames=10, references={})
    >>> levels.mean_score("brightness", 10), levels.ago(2)
    (0.5, ('f58', 58))
    """

    recent: tuple[WatchedFrame, ...]
    blocks: tuple[Block, ...]
    open_frames: int
    references: SignalReferences
    reject_rate: float = 0.0
    unusual_shapes: frozenset[str] = frozenset()

    def mean_score(self, name: str, last: int, skip: int = 0) -> float | None:
        """Return the mean normal score of a signal over ``last`` frames, leaving out the newest ``skip``."""
        return _mean([frame.scores[name] for frame in self._slice(last, skip) if name in frame.scores])

    def mean_value(self, name: str, last: int, skip: int = 0) -> float | None:
        """Return the mean of a signal, in its unit, over the same frames as `mean_score`."""
        return _mean([frame.values[name] for frame in self._slice(last, skip) if name in frame.values])

    def block_means(self, name: str) -> list[float]:
        """Return the mean normal score of a signal in each block that has it, oldest first."""
        return [block.means[name] for block in self.blocks if name in block.means]

    def ago(self, frames: int) -> tuple[str, int]:
        """Return id and capture time of the ``frames``-th newest watched frame, or of the oldest one known."""
        if frames <= len(self.recent):
            frame = self.recent[-max(1, frames)]
            return frame.frame_id, frame.captured_at_us
        back = (frames - self.open_frames - 1) // BLOCK_FRAMES + 1
        block = self.blocks[-min(back, len(self.blocks))] if self.blocks else self.recent[0]
        return block.frame_id, block.captured_at_us

    def change(self, signal: str, last: int) -> tuple[float, float, float]:
        """Return a signal's mean before, its mean now, and the difference in standard deviations.

        The mean now is over the ``last`` watched frames. The mean before is that of the reference; for the reject rate
        it is that of the frames before the ``last`` ones.
        """
        after = self.mean_value(signal, last)
        if signal == REJECTS:
            before = self.mean_value(signal, 10_000, skip=last)
            if before is None or after is None:
                return 0.0, after or 0.0, 0.0
            return before, after, (after - before) / rate_sd(before)
        reference = self.references[signal]
        return reference.mean, after if after is not None else math.nan, self.mean_score(signal, last) or 0.0

    def sds(self, names: Iterable[str]) -> dict[str, float]:
        """Return standard deviations of signals in the reference, in their units; of a rate: of one part's outcome."""
        known = {name: self.references[name] for name in names if name != REJECTS}
        return {REJECTS: rate_sd(self.reject_rate)} | {n: max(ref.sd, ref.resolution) for n, ref in known.items()}

    def _slice(self, last: int, skip: int) -> tuple[WatchedFrame, ...]:
        end = len(self.recent) - skip
        return self.recent[max(0, end - last) : max(0, end)]


def rate_sd(rate: float) -> float:
    """Return the standard deviation of one part's outcome at a rate; not below that of 1 in 100."""
    return math.sqrt(max(rate * (1 - rate), 0.0099))


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None

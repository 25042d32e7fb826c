"""Recent past of one camera: its newest frames, and its level by blocks of frames, both of bounded length."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitoring.checked import MAX_LONG, fields, items, numbers, text, whole

#: Number of watched frames in a block.
BLOCK_FRAMES = 25
#: Most signals of a camera; further signals of a decision are not watched.
MAX_SIGNALS = 64
#: Bound for scores: normal scores are at most 4, scores of a part's outcome at most 10, variances at most the squares.
_MAX_SCORE = 1000.0
_RECENT = 300
_BLOCKS = 200

Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class WatchedFrame:
    """Watched frame: its signals, and their normal scores."""

    frame_id: str
    captured_at_us: int
    values: Numbers
    scores: Numbers


@dataclass(frozen=True, slots=True)
class Block:
    """Block of `BLOCK_FRAMES` frames: its first frame, and mean and variance of the normal scores by signal."""

    frame_id: str
    captured_at_us: int
    means: Numbers
    variances: Numbers


class Trace:
    """Newest 300 watched frames, and newest 200 blocks of 25 frames.

    Examples
    --------
    >>> trace = Trace()
    >>> for number in range(60):
    ...     _ = trace.add(WatchedFrame(f"f{number}", number, {"brightness": 100.0}, {"brightness": 0.5}))
    >>> len(trace.blocks), trace.open_frames, trace.blocks[-1].means
    (2, 10, {'brightness': 0.5})
    """

    def __init__(self) -> None:
        self.recent: deque[WatchedFrame] = deque(maxlen=_RECENT)
        self.blocks: deque[Block] = deque(maxlen=_BLOCKS)
        self._open: list[WatchedFrame] = []

    def add(self, seen: WatchedFrame) -> bool:
        """Add a frame; return True if it completes a block."""
        self.recent.append(seen)
        self._open.append(seen)
        if len(self._open) < BLOCK_FRAMES:
            return False
        names = {name for one in self._open for name in one.scores}
        columns = {name: [one.scores[name] for one in self._open if name in one.scores] for name in names}
        means = {name: sum(column) / len(column) for name, column in columns.items()}
        variances = {n: sum((x - means[n]) ** 2 for x in column) / len(column) for n, column in columns.items()}
        first = self._open[0]
        self.blocks.append(Block(first.frame_id, first.captured_at_us, means, variances))
        self._open = []
        return True

    @property
    def open_frames(self) -> int:
        """Number of newest frames that are not in a block yet."""
        return len(self._open)

    def state(self) -> Any:
        """Return the whole state as JSON."""
        return {
            "recent": [[s.frame_id, s.captured_at_us, _short(s.values), _short(s.scores)] for s in self.recent],
            "open": len(self._open),
            "blocks": [[b.frame_id, b.captured_at_us, _short(b.means), _short(b.variances)] for b in self.blocks],
        }

    def restore(self, state: Any) -> None:
        """Resume from a `state`; raise ValueError for anything else."""
        state = fields(state, ("recent", "open", "blocks"))
        recent = [_seen(row) for row in items(state["recent"], _RECENT)]
        blocks = [_block(row) for row in items(state["blocks"], _BLOCKS)]
        is_open = whole(state["open"], 0, min(BLOCK_FRAMES - 1, len(recent)))
        self.recent = deque(recent, _RECENT)
        self.blocks = deque(blocks, _BLOCKS)
        self._open = recent[len(recent) - is_open :]


def _short(numbers: Numbers) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in numbers.items() if math.isfinite(value)}


def _seen(row: Any) -> WatchedFrame:
    frame_id, captured_at_us, values, scores = items(row, 4, 4)
    return WatchedFrame(text(frame_id), _time(captured_at_us), numbers(values, MAX_SIGNALS + 1), _scores(scores))


def _block(row: Any) -> Block:
    frame_id, captured_at_us, means, variances = items(row, 4, 4)
    means, variances = _scores(means), _scores(variances)
    if means.keys() != variances.keys():
        raise ValueError("a block with means and variances of different signals")
    return Block(text(frame_id), _time(captured_at_us), means, variances)


def _time(value: Any) -> int:
    return whole(value, -MAX_LONG - 1, MAX_LONG)


def _scores(value: Any) -> dict[str, float]:
    return numbers(value, MAX_SIGNALS + 1, _MAX_SCORE)

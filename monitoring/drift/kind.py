"""Kind of a change: the rule that determines it, from the level of one signal by blocks of frames.

The level is in standard deviations of the reference, 0 before the change; the *new level* is the mean of the last four
blocks. Two courses are fitted to the levels by least squares: a step from 0 to the new level, and a ramp between them.

- ``SUDDEN``: the step, or a ramp of at most 100 frames, explains the levels as well as any ramp does: no ramp lowers
  the sum of squares by more than 15 times the variance of a block's mean (a likelihood ratio of about 2000);
- ``GRADUAL``: a longer ramp is better, and during it old and new are mixed: within its blocks the values scatter more
  than before, by at least a twelfth of the squared new level (half of what an evenly growing share would add);
- ``INCREMENTAL``: a longer ramp is better, and the values move as a whole;
- ``RECURRING``: the new level is one that the camera had before (see `monitoring.drift.tracked_episode`);
- ``UNDETERMINED``: fewer than 200 frames since the alarm.

The terms are those of J. Gama et al., "A survey on concept drift adaptation", ACM Computing Surveys 46 (2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.records import DriftKind

SUDDEN_FRAMES = 100
#: A ramp is accepted if it lowers the squares by more than this number of times the variance of a block's mean.
_DECISIVE = 15
#: Number of places at which a ramp may begin and end.
_PLACES = 40
#: Number of blocks whose mean is the new level.
NEWEST_BLOCKS = 4


def kind_of(levels: Sequence[float], variances: Sequence[float], block_frames: int) -> DriftKind:
    """Classify a change from the mean and variance of each block, oldest first; some blocks are from before it.

    Examples
    --------
    >>> step = [0.0] * 8 + [2.0] * 8
    >>> kind_of(step, [1.0] * 16, 25).value
    'SUDDEN'
    >>> ramp = [0.0] * 4 + [0.25 * i for i in range(1, 13)]
    >>> kind_of(ramp, [1.0] * 16, 25).value
    'INCREMENTAL'
    >>> kind_of(ramp, [1.0] * 6 + [2.5] * 6 + [1.0] * 4, 25).value
    'GRADUAL'
    """
    if len(levels) <= NEWEST_BLOCKS:
        return DriftKind.UNDETERMINED
    y = np.asarray(levels, np.float64)
    new = float(y[-NEWEST_BLOCKS:].mean())
    begin, end, gained = _best_ramp(y, new)
    before = variances[:begin] or variances[-NEWEST_BLOCKS:]
    usual = sum(before) / len(before)
    if (end - begin) * block_frames <= SUDDEN_FRAMES or gained <= _DECISIVE * usual / block_frames:
        return DriftKind.SUDDEN
    during = variances[begin:end]
    excess = sum(during) / len(during) - usual
    return DriftKind.GRADUAL if excess >= new * new / 12 else DriftKind.INCREMENTAL


def _best_ramp(y: NDArray[np.float64], new: float) -> tuple[int, int, float]:
    """Return the best ramp's first block, the block after it, and by how much it lowers the best step's squares."""
    places = np.unique(np.linspace(0, len(y), min(len(y), _PLACES) + 1).round().astype(int))
    blocks = np.arange(len(y)) + 0.5
    best_step, best = np.inf, (np.inf, 0, 0)
    for begin in places[:-1]:
        best_step = min(best_step, float(np.square(y - new * (blocks > begin)).sum()))
        for end in places[places > begin]:
            ramp = new * np.clip((blocks - begin) / (end - begin), 0, 1)
            best = min(best, (float(np.square(y - ramp).sum()), int(begin), int(end)))
    return best[1], best[2], best_step - best[0]

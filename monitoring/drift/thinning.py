"""Selection of the frames that are watched: all, or one in a number of frames if neighbours resemble each other.

Frames of one scene are not independent observations. Detectors that assume independence alarm every few frames on
video. So the correlation of neighbouring frames is measured all the time, for a few signals, and only one frame in
``stride`` is passed on. The stride is 1.5 times the integrated correlation time (1 + r) / (1 - r) of a first-order
process with that lag-1 correlation r, so that the remaining frames have a correlation of about 0.05. On a line that
triggers once for each part, r is about 0 and every frame is watched.

A. D. Sokal, "Monte Carlo methods in statistical mechanics" (1997), section 3, for the integrated correlation time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from monitoring.checked import fields, items, number, whole

#: Normal scores are at most 4, so their moments are far below it.
_MAX_MOMENT = 1000.0
#: Below this correlation neighbours count as independent.
_INDEPENDENT = 0.2
_MAX_STRIDE = 500
#: Until this number of frames, deviations are taken from the reference and not from the camera's own mean, since a
#: scene that stands still has no deviations from its own mean.
_OWN_MEAN_FROM = 300
#: Number of frames that the running averages cover.
_MEMORY = 1000


class Thinning:
    """Selection of the frames to watch, by the measured lag-1 correlation of normal scores.

    Parameters
    ----------
    names
        Signals whose correlation is measured; the highest correlation counts.

    Examples
    --------
    >>> thinning = Thinning(["brightness"])
    >>> sum(thinning.watch({"brightness": 1.0 if i % 40 < 20 else -1.0}) for i in range(2000)) < 250  # scenes of 20
    True
    """

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._moments = {name: [0.0, 0.0, 0.0, math.nan] for name in names}  # mean, variance, covariance, last
        self._seen = 0
        self._since = 0

    @property
    def correlation(self) -> float:
        """Highest lag-1 correlation of a signal, within [0, 0.999]."""
        found = [cov / var for _, var, cov, _ in self._moments.values() if var > 1e-6]
        return min(max([0.0, *found]), 0.999)

    @property
    def stride(self) -> int:
        """Interval of the watched frames: one frame in this number is watched."""
        correlation = self.correlation
        if correlation < _INDEPENDENT or self._seen < 2:
            return 1
        return min(_MAX_STRIDE, math.ceil(1.5 * (1 + correlation) / (1 - correlation)))

    def watch(self, scores: Mapping[str, float], *, learn: bool = True) -> bool:
        """Process the normal scores of the next frame; return True if the frame must be watched.

        Without ``learn`` the correlation is not updated: a change of level looks like a correlation.
        """
        if learn:
            self._learn(scores)
        self._since += 1
        if self._since < self.stride:
            return False
        self._since = 0
        return True

    def _learn(self, scores: Mapping[str, float]) -> None:
        self._seen += 1
        weight = 1 / min(self._seen, _MEMORY)
        for name, moments in self._moments.items():
            score = scores.get(name)
            if score is None:
                continue
            mean, var, cov, last = moments
            centre = mean if self._seen > _OWN_MEAN_FROM else 0.0
            moments[0] = mean + weight * (score - mean)
            moments[1] = var + weight * ((score - centre) ** 2 - var)
            if last == last:
                moments[2] = cov + weight * ((score - centre) * (last - centre) - cov)
            moments[3] = score
        if self._seen == _OWN_MEAN_FROM:
            # Moments about the reference become moments about the mean, also of a signal that this frame lacks.
            for moments in self._moments.values():
                moments[1] -= moments[0] ** 2
                moments[2] -= moments[0] ** 2

    def state(self) -> Any:
        """Return the whole state as JSON."""
        moments = {n: [None if v != v else v for v in values] for n, values in self._moments.items()}
        return [self._seen, self._since, moments]

    def restore(self, state: Any) -> None:
        """Resume from a `state`; raise ValueError for anything else."""
        seen, since, moments = items(state, 3, 3)
        self._seen, self._since = whole(seen), whole(since, 0, _MAX_STRIDE)
        moments = fields(moments, self._names)
        for name in self._names:
            mean, var, cov, last = items(moments[name], 4, 4)
            self._moments[name] = [
                number(mean, -_MAX_MOMENT, _MAX_MOMENT),
                number(var, -1e-6, _MAX_MOMENT),
                number(cov, -_MAX_MOMENT, _MAX_MOMENT),
                math.nan if last is None else number(last, -_MAX_MOMENT, _MAX_MOMENT),
            ]

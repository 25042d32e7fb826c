"""Detectors of one signal: River's engines behind one small interface.

Each detector takes the normal scores of a signal (see `models.reference`), one at a time:

===============  ============================================================  ======================================
detector         looks for                                                     engine
===============  ============================================================  ======================================
`PageHinkley`    a mean away from the reference, however slowly it got there   River's, with a constant mean
`Adwin`          a change of mean against the camera's own past, at any scale  River's
`Shape`          another distribution with the same mean                       chi-squared over deciles
===============  ============================================================  ======================================

``update`` takes a value and returns True on an alarm. ``started``, which changes nothing, is the number of values since
the change began, as far as the detector knows. ``state`` is plain JSON of bounded size, and ``restore`` accepts it.

E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954); A. Bifet and R. Gavalda, "Learning from time-changing
data with adaptive windowing", SDM 2007.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Protocol

from river import drift
from scipy.stats import ncx2

from monitoring.checked import flag, items, number, text, whole
from monitoring.drift.adwin_state import checked_adwin_state

#: Bound that no sum of normal scores approaches.
_MAX_SUM = 1e12
_NORMAL = NormalDist()


class Detector(Protocol):
    """Interface of every detector of a signal; the contract suite runs over all of them."""

    name: str

    def update(self, score: float) -> bool:
        """Process one normal score; return True on an alarm."""

    @property
    def started(self) -> int:
        """Number of values since the change began, as far as is known."""

    def reset(self) -> None:
        """Forget everything."""

    def state(self) -> Any:
        """Return the whole state as JSON."""

    def restore(self, state: Any) -> None:
        """Resume from a `state`; raise ValueError for anything else."""


class _HeldMean:
    """Replacement for the running mean in River's Page-Hinkley test: the reference's mean, 0, which nothing changes."""

    n = 0

    def update(self, _: float) -> None:
        self.n += 1

    def get(self) -> float:
        return 0.0


class _ReferencePageHinkley(drift.PageHinkley):
    def _reset(self) -> None:
        super()._reset()
        # A running mean would follow a slow drift and never detect it.
        self._x_mean = _HeldMean()  # type: ignore[assignment]


class PageHinkley:
    """Two-sided Page-Hinkley test of a mean of 0, which is the reference's mean.

    Parameters
    ----------
    threshold
        Threshold of the cumulated sums, in standard deviations.
    slack
        Deviations of the mean that are tolerated, in standard deviations.

    Examples
    --------
    >>> detector = PageHinkley(threshold=5, slack=0.5)
    >>> [detector.update(score) for score in (0.1, -0.2, 2.0, 2.0, 2.0, 2.0)]
    [False, False, False, False, False, True]
    >>> detector.started
    4
    """

    name = "page-hinkley"

    def __init__(self, threshold: float, slack: float) -> None:
        self._test = _ReferencePageHinkley(min_instances=1, delta=slack, threshold=threshold, alpha=1.0)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._test._reset()
        self._since_low = self._since_high = 0

    def update(self, score: float) -> bool:
        """Process one normal score; return True if the mean deviates."""
        test = self._test
        test.update(score)
        self._since_low = 0 if test._sum_increase <= test._min_increase else self._since_low + 1
        self._since_high = 0 if test._sum_decrease >= test._max_decrease else self._since_high + 1
        return bool(test.drift_detected)

    @property
    def started(self) -> int:
        """Number of values since the larger one of the two sums was last at its extreme."""
        test = self._test
        up = test._sum_increase - test._min_increase
        down = test._max_decrease - test._sum_decrease
        return self._since_low if up >= down else self._since_high

    def state(self) -> list[float]:
        """Return the sums, relative to their extremes, and the number of values since then."""
        test = self._test
        up, down = test._sum_increase - test._min_increase, test._max_decrease - test._sum_decrease
        return [up if math.isfinite(up) else 0.0, max(0.0, down), self._since_low, self._since_high]

    def restore(self, state: Any) -> None:
        """Resume from a `state`."""
        up, down, since_low, since_high = items(state, 4, 4)
        up, down = number(up, 0.0, _MAX_SUM), number(down, 0.0, _MAX_SUM)
        since_low, since_high = whole(since_low), whole(since_high)
        self.reset()
        test = self._test
        test._sum_increase, test._min_increase = up, 0.0
        test._sum_decrease, test._max_decrease = -down, 0
        self._since_low, self._since_high = since_low, since_high


class Adwin:
    """ADWIN on the rank of the score, which is within [0, 1], as ADWIN's bound requires.

    Parameters
    ----------
    delta
        Probability of a false alarm at each of its checks, one in 32 values; above 1 it is 1.

    Examples
    --------
    >>> detector = Adwin(delta=1e-6)
    >>> any(detector.update(-1.0) for _ in range(500))
    False
    >>> any(detector.update(1.0) for _ in range(500))
    True
    """

    name = "adwin"
    #: Number of values between two checks.
    CLOCK = 32

    def __init__(self, delta: float) -> None:
        self._delta = min(delta, 1.0)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._adwin = drift.ADWIN(delta=self._delta, clock=self.CLOCK)

    def update(self, score: float) -> bool:
        """Process one normal score; return True if the window was cut."""
        return self.update_share(_NORMAL.cdf(score))

    def update_share(self, share: float) -> bool:
        """Process a number within [0, 1] directly: 1 for a rejected part, 0 for another part."""
        self._adwin.update(share)
        return bool(self._adwin.drift_detected)

    @property
    def mean(self) -> float:
        """Mean of the shares in the window."""
        return float(self._adwin.estimation)

    @property
    def started(self) -> int:
        """Length of the window that remains."""
        return int(self._adwin.width)

    def state(self) -> str:
        """Return the window's buckets in River's own format."""
        written: bytes = self._adwin._helper.__getstate__()
        return f"{zlib.crc32(written):08x}{base64.b64encode(written).decode()}"

    def restore(self, state: Any) -> None:
        """Resume from a `state`."""
        self.reset()
        given = text(state)
        try:
            checksum, written = int(given[:8], 16), base64.b64decode(given[8:], validate=True)
        except binascii.Error as error:
            raise ValueError(f"no state of ADWIN: {error}") from error
        if zlib.crc32(written) != checksum:
            raise ValueError("no state of ADWIN: its checksum is wrong")
        helper = self._adwin._helper
        helper.__setstate__(checked_adwin_state(written, helper.__getstate__()))


class Shape:
    """Chi-squared test of the ranks of the reference, over one window after another.

    Parameters
    ----------
    p_value
        A window with a smaller p-value is an alarm; above 1 it is 1.
    images
        Number of images of the reference: estimates from few images differ by chance.
    shares
        Share of the reference in each interval of rank, see `models.reference.SignalReference.rank_shares`; None: even.
    window
        Number of values in a window.

    Examples
    --------
    >>> detector = Shape(p_value=1e-6, images=1000)
    >>> any(detector.update(score) for score in [-2.5, 2.5] * 100)  # mean 0, but nothing in between
    True
    """

    name = "shape"
    BINS = 10
    #: Difference of shape that is tolerated, as Cohen's w squared: images of one kind come in lots, and no two lots are
    #: exactly alike. A shifted mean of 0.2 standard deviations has about as much.
    TOLERANCE = 0.04
    WINDOW = 200

    #: Intervals in which fewer values are expected are joined with the next interval.
    _MIN_EXPECTED = 10

    def __init__(
        self, p_value: float, images: int, shares: Sequence[float] | None = None, window: int = WINDOW
    ) -> None:
        self._window = window
        self._expected: list[float] = []
        #: Bin that counts the values of each interval of rank.
        self._bin: list[int] = []
        open_share = 0.0
        for share in shares or [1 / self.BINS] * self.BINS:
            self._bin.append(len(self._expected))
            open_share += share * window
            if open_share >= self._MIN_EXPECTED:
                self._expected.append(open_share)
                open_share = 0.0
        if open_share and self._expected:  # the rest at the end belongs to the last bin
            self._expected[-1] += open_share
        self._bin = [min(number, len(self._expected) - 1) for number in self._bin]
        degrees = len(self._expected) - 1
        tolerated = self.TOLERANCE * window
        limit = float(ncx2.isf(min(p_value, 1.0), degrees, tolerated)) if degrees > 0 else math.inf
        self._limit = limit * (1 + window / images)
        #: True if the last complete window was well within the limit.
        self.is_usual = True
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._counts = [0] * len(self._expected)
        self._seen = 0

    def update(self, score: float) -> bool:
        """Process one normal score; return True at the end of a window with another shape."""
        if self._seen == self._window:
            self.reset()
        self._counts[self._bin[min(int(_NORMAL.cdf(score) * self.BINS), self.BINS - 1)]] += 1
        self._seen += 1
        if self._seen < self._window:
            return False
        pairs = zip(self._counts, self._expected, strict=True)
        distance = sum((count - expected) ** 2 / expected for count, expected in pairs)
        self.is_usual = distance < self._limit / 2
        return distance > self._limit

    @property
    def started(self) -> int:
        """Number of values in the window."""
        return self._seen

    def state(self) -> Any:
        """Return the counts and the result of the last window."""
        return [self._counts, self.is_usual]

    def restore(self, state: Any) -> None:
        """Resume from a `state`."""
        given, is_usual = items(state, 2, 2)
        counts = [whole(count, 0, self._window) for count in items(given, len(self._expected), len(self._expected))]
        if sum(counts) > self._window:
            raise ValueError("counts out of range")
        self._counts, self._seen, self.is_usual = counts, sum(counts), flag(is_usual)

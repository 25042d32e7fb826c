"""Results of an analysis on thresholds: their costs, a recommendation, and the calibration of the scores."""

from __future__ import annotations

from dataclasses import dataclass

from replay.analysis.arrays import Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThresholdCurve:
    """Effect of each threshold: parts with ``score >= threshold`` are rejected, all others accepted.

    Arrays of one length with ascending thresholds, at most about 1,000 of them; if there are more scores, the
    thresholds are chosen evenly. The figures are estimates for all inspected parts by weights (Horvitz and Thompson).

    Parameters
    ----------
    escapes, overkill
        Numbers of parts.
    precision
        Share of defective parts among the rejected ones; NaN if nothing is rejected.
    recall
        Share of the defective parts that are rejected: 1 - escape rate.
    rejected
        Number of inspected parts that would be rejected; counted, not estimated.
    cost
        ``cost_ratio * escapes + overkill``: in overkills.
    average_precision, roc_auc
        Computed from the weighted labels; None if there are no labels of one truth.
    present_threshold
        Threshold in use; None if several were in use.
    present_at, recommended_at
        Index of the point nearest to the present and to the recommended threshold; None if there is no such threshold.
    why_not
        Reason why the labels do not represent all parts; every figure is then of the labelled parts, unweighted. Empty
        if they do.
    """

    thresholds: Floats
    escape_rate: Floats
    overkill_rate: Floats
    precision: Floats
    recall: Floats
    escapes: Floats
    overkill: Floats
    rejected: Integers
    cost: Floats
    cost_ratio: float
    average_precision: float | None
    roc_auc: float | None
    present_threshold: float | None
    present_at: int | None
    recommended_at: int | None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Parts that another threshold treats differently; the labelled ones of them are counted by truth."""

    was: str
    becomes: str
    parts: int
    good: int
    defective: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """Recommendation of the cheapest threshold for a cost ratio.

    Parameters
    ----------
    threshold
        Recommended threshold; None if the labels cannot support one, and ``why_not`` then states the reason.
    low, high
        Interval in which the threshold lies in 95 % of the bootstrap's resamples.
    escape_rate, overkill_rate, present_escape_rate, present_overkill_rate
        Rates by the weighted labels, with this threshold and with the threshold in use.
    saving_per_1000
        Expected saving in overkills for 1,000 parts, with its interval. It is corrected for the fact that the threshold
        was chosen as the best on the same labels. ``saving_on_stretch`` is the saving on this stretch, uncorrected.
    is_change
        True if the threshold has a different effect than the threshold in use.
    moved
        Changes that the threshold would have made on this stretch, of all inspected parts.
    rows
        Rows of inspected parts that the threshold treats differently.
    ignores_review
        True if parts went to review: the rates here are those of the score alone, and differ from those of `Rates`.
    """

    threshold: float | None
    cost_ratio: float
    low: float | None = None
    high: float | None = None
    present_threshold: float | None = None
    escape_rate: float | None = None
    overkill_rate: float | None = None
    present_escape_rate: float | None = None
    present_overkill_rate: float | None = None
    saving_per_1000: float | None = None
    saving_low: float | None = None
    saving_high: float | None = None
    saving_on_stretch: float | None = None
    is_change: bool = False
    moved: tuple[Moved, ...] = ()
    rows: tuple[int, ...] = ()
    why_not: str = ""
    warnings: tuple[str, ...] = ()
    ignores_review: bool = False

    @property
    def is_supported(self) -> bool:
        """True if the labels show that the change saves something: only then is it advice, otherwise it is a guess."""
        return self.is_change and (self.saving_low or 0.0) > 0 and not self.warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Parts with scores from ``low`` to ``high``: their mean score, and the estimated share of defective ones."""

    low: float
    high: float
    parts: int
    labelled: int
    mean_score: float
    defective_share: float
    share_low: float
    share_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibration of the scores: a calibrated score of 0.3 means that 3 in 10 such parts are defective.

    ``brier = reliability - resolution + uncertainty + within_bins``. ``why_not`` states why there are no bins.
    """

    bins: tuple[CalibrationBin, ...] = ()
    expected_error: float | None = None
    brier: float | None = None
    reliability: float | None = None
    resolution: float | None = None
    uncertainty: float | None = None
    within_bins: float | None = None
    why_not: str = ""

"""Results of an analysis as plain frozen records; `replay.analysis.as_json` converts each to JSON.

Counts are numbers of parts (frames, see `Extent`), rates are shares in [0, 1], times are UTC microseconds, durations
are milliseconds. None (in an array NaN, in JSON null) stands for a figure that cannot be computed, and a sentence
states the reason. ``rows`` are indices into the analysed table. Every estimate from labels is a
`monitoring.quality.estimates.Estimate`: value, low, high, labels, why_not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.estimates import Estimate

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Extent of the analysed data.

    Parameters
    ----------
    frames
        Number of rows of the table.
    inspected
        Number of rows with a completed inspection by the decider; all figures are of these rows.
    aborted, failed, undecided
        Numbers of the other rows: shed or past the deadline; unreadable or a fault of the model; without any decision.
    labelled, labelled_defective
        Numbers of inspected rows with a label, and with the label defective.
    random_accepted
        Number of rows that are labelled, were accepted on the line and were chosen blindly; escapes are estimated from
        these rows.
    from_us, to_us
        Times of the first and last capture; None if there are no rows.
    """

    frames: int
    inspected: int
    aborted: int
    failed: int
    undecided: int
    labelled: int
    labelled_defective: int
    random_accepted: int
    cameras: tuple[str, ...]
    lots: int
    models: tuple[str, ...]
    from_us: int | None
    to_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionRow:
    """One action: its parts, their labels, and the estimated numbers of good and defective parts.

    If the labels do not allow an estimate, it is left as None.
    """

    action: str
    parts: int
    good: int
    defective: int
    unlabelled: int
    good_estimated: float | None
    defective_estimated: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Truth by action of inspected parts, in the order ACCEPT, REJECT, REVIEW; and errors among the labelled parts."""

    rows: tuple[ConfusionRow, ...]
    escapes: int
    overkill: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Error rates and accuracy of the decider with 95 % intervals; `inspection quality` reports the same rates."""

    escape_rate: Estimate
    overkill_rate: Estimate
    accuracy: Estimate
    escapes_among_accepts: Estimate
    overkill_among_rejects: Estimate


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTest:
    """Test of one kind of error: a slice against all other parts, on labels that represent all parts.

    ``errors`` of ``labels`` (defective parts for escapes, good ones for overkill) are compared with the same numbers of
    the rest. ``p`` is two-sided, by Fisher's exact test; ``q`` is corrected for all tests of the analysis (Benjamini
    and Hochberg).
    """

    errors: int
    labels: int
    rest_errors: int
    rest_labels: int
    p: float
    q: float
    is_worse: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Parts that have something in common.

    Parameters
    ----------
    by, name
        Kind and name of the slice, such as ``lot`` and ``L7``, ``class`` and ``crack``, ``signal.brightness`` and
        ``Q1: up to 81.2``.
    parts, labelled, escapes, overkill
        Numbers of inspected parts and of labelled ones; of these, numbers of parts accepted though defective, and
        rejected though good.
    escape, overkill_test
        Tests against the rest; None if there is nothing to compare.
    is_significant
        True if the slice is worse than the rest in one of the tests, with q of at most 0.05.
    worse_in
        ``escape`` or ``overkill``: the worse test with the smaller p; empty if the slice is worse in neither.
    """

    by: str
    name: str
    parts: int
    labelled: int
    escapes: int
    overkill: int
    escape_rate: Estimate
    overkill_rate: Estimate
    escape: SliceTest | None
    overkill_test: SliceTest | None
    worse_in: str
    is_significant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """All slices, the worst first; with the numbers of slices examined, of tests made, and of slices left out.

    Slices are left out if there are too many of one kind. ``truth_like`` are attributes that state the truth, as labels
    do; they do not form slices.
    """

    slices: tuple[Slice, ...]
    looked_at: int
    tests: int
    left_out: int
    truth_like: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Quantiles of durations in milliseconds; None if there are no durations."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyOf:
    """Latency of one camera, or of all (``all``): from capture to decision, by stage; with counts of missed deadlines.

    A ``late`` frame was inspected, and decided after its deadline. A ``shed`` frame was not inspected because of its
    deadline. ``missed`` counts both. The durations include all answers, also the answers for shed frames.
    """

    camera: str
    total: Quantiles
    stages: dict[str, Quantiles]
    with_deadline: int
    late: int
    shed: int
    missed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Speed of the line at the time of recording: latency of the recorded decisions, whichever decider is analysed."""

    all: LatencyOf
    by_camera: tuple[LatencyOf, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeMark:
    """Drift episode on the time line; ``end_us`` None: still open. Counts are of its camera's inspected parts."""

    episode_id: str
    camera: str
    drift_type: str
    kind: str
    cause: str
    reason: str
    begin_us: int
    end_us: int | None
    parts: int
    labelled: int
    escapes: int
    overkill: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimeLine:
    """Time line of bins of equal length, by time of capture. All arrays have one length.

    ``mean_score`` is NaN in a bin without scores. ``parts`` were inspected; ``not_inspected`` parts are not among them.
    """

    bin_us: int
    begin_us: Integers
    parts: Integers
    rejects: Integers
    reviews: Integers
    not_inspected: Integers
    labelled: Integers
    escapes: Integers
    overkill: Integers
    late: Integers
    mean_score: Floats
    episodes: tuple[EpisodeMark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows of the same part, or of the same image."""

    name: str
    camera: str
    rows: tuple[int, ...]
    verdicts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Duplicates: parts or images that occur more than once. Lists have at most 100 groups, counts include all.

    Parameters
    ----------
    parts_seen_again, contradictory_parts
        Numbers of parts of which a camera took several frames, and of those judged both OK and NOT_OK.
    images_seen_again
        Number of images (by sha256) under more than one frame id: a file played twice, or a frozen camera.
    contradictory_images
        Number of those judged both OK and NOT_OK: more than one model or threshold was in use.
    frames_published_again
        Number of frame ids with more than one message.
    """

    parts_seen_again: int
    contradictory_parts: int
    images_seen_again: int
    contradictory_images: int
    frames_published_again: int
    contradictions: tuple[Group, ...]
    images: tuple[Group, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rankings:
    """Rows that a person should look at, the worst first, at most 100 of each kind.

    Parameters
    ----------
    escapes
        Defective and accepted rows: the lowest score first, for which the decider was most certain.
    overkill
        Good and rejected rows: the highest score first.
    nearest
        Rows whose score is nearest to their threshold, labelled or not.
    disagreements
        Rows on which the actions of the deciders differ: the greatest difference of scores first.
    """

    escapes: tuple[int, ...] = ()
    overkill: tuple[int, ...] = ()
    nearest: tuple[int, ...] = ()
    disagreements: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """Complete analysis of one decider on one stretch; ``warnings`` are sentences for people, the gravest first."""

    decider: str
    deciders: tuple[str, ...]
    extent: Extent
    confusion: Confusion
    rates: Rates
    curve: ThresholdCurve | None
    recommendation: Recommendation
    calibration: Calibration
    slices: Slices
    latency: Latency
    time_line: TimeLine | None
    duplicates: Duplicates
    rankings: Rankings
    warnings: tuple[str, ...] = ()

"""What an analysis says, as plain frozen records; `replay.analysis.as_json` makes JSON of each.

Counts are parts (frames, see `Extent`), rates shares in [0, 1], times UTC microseconds, durations milliseconds. Where a
figure cannot be given it is None (in an array NaN, in JSON null) and a sentence says why. ``rows`` are indices into the
table that was analysed. Every estimate from labels is a `stream_processors.quality.estimates.Estimate`: value, low,
high, labels, why_not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_processors.quality.estimates import Estimate

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What was looked at.

    Parameters
    ----------
    frames
        Rows of the table.
    inspected
        Of those, the ones with a completed inspection by the decider: all figures are of these.
    aborted, failed, undecided
        The others: shed or past the deadline; not readable or a fault of the model; no decision at all.
    labelled, labelled_defective
        Inspected ones with a label.
    random_accepted
        Labelled, accepted on the line, and chosen blindly: what escapes are estimated from.
    from_us, to_us
        Of the first and last capture; None without a row.
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
    """One action: parts, their labels, and how many are estimated good and defective; None: labels cannot say."""

    action: str
    parts: int
    good: int
    defective: int
    unlabelled: int
    good_estimated: float | None
    defective_estimated: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Truth by action, of inspected parts, ACCEPT, REJECT and REVIEW in this order; and errors among the labelled."""

    rows: tuple[ConfusionRow, ...]
    escapes: int
    overkill: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How right the decider was, with 95 % intervals; as `inspection quality` has them."""

    escape_rate: Estimate
    overkill_rate: Estimate
    accuracy: Estimate
    escapes_among_accepts: Estimate
    overkill_among_rejects: Estimate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThresholdCurve:
    """What each threshold would have done: a part is rejected from it on (``score >= threshold``), else accepted.

    Arrays of one length, ascending thresholds, at most some 1,000 of them; where there are more scores these are
    chosen evenly. Estimates for all inspected parts by weights (Horvitz and Thompson).

    Parameters
    ----------
    escapes, overkill
        Parts.
    precision
        Share of defective parts among the rejected ones; NaN where nothing is rejected.
    recall
        Share of the defective parts that are rejected: 1 - escape rate.
    rejected
        Inspected parts that would be rejected, counted.
    cost
        ``cost_ratio * escapes + overkill``: in overkills.
    average_precision, roc_auc
        Of the weighted labels; None if there are none of one truth.
    present_threshold
        The one in use; None if several were.
    present_at, recommended_at
        Index of the nearest point to each; None where there is none.
    why_not
        Empty, or why the labels do not speak for all parts: then every figure is of the labelled parts as they are.
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
    """Parts that another threshold treats otherwise; those of them with a label, by truth."""

    was: str
    becomes: str
    parts: int
    good: int
    defective: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The cheapest threshold for a cost ratio.

    Parameters
    ----------
    threshold
        None where labels cannot support one, and ``why_not`` says why.
    low, high
        Within which it lies in 95 % of the bootstrap's resamples.
    escape_rate, overkill_rate, present_escape_rate, present_overkill_rate
        By the weighted labels, with this threshold and with that in use.
    saving_per_1000
        Expected saving in overkills for 1,000 parts, corrected for having chosen the best on these very labels; with
        its interval. ``saving_on_stretch``: of this stretch, uncorrected.
    is_change
        Whether it differs from the threshold in use in what it does.
    moved
        What it would have changed on this stretch, of all inspected parts.
    rows
        Inspected parts that it treats otherwise.
    ignores_review
        Parts went to review: the rates here are those of the score alone, and not those of `Rates`.
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
        """Whether the labels show that the change saves something: only then it is advice, else a guess."""
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
    """Whether a score of 0.3 means that 3 in 10 such parts are defective.

    ``brier = reliability - resolution + uncertainty + within_bins``. ``why_not`` says why there are no bins.
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
    """One kind of error in a slice against all other parts, on labels that speak for all.

    ``errors`` of ``labels`` (defective parts for escapes, good ones for overkill), the same of the rest; ``p``
    two-sided by Fisher's exact test; ``q`` corrected for all tests of the analysis (Benjamini and Hochberg).
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
        Such as ``lot`` and ``L7``, ``class`` and ``crack``, ``signal.brightness`` and ``Q1: up to 81.2``.
    parts, labelled, escapes, overkill
        Inspected parts; those with a label; of these accepted though defective, rejected though good.
    escape, overkill_test
        Against the rest; None where there is nothing to compare.
    is_significant
        Worse than the rest in one of them, with q of at most 0.05.
    worse_in
        ``escape`` or ``overkill``: the one with the smaller p of those that are worse; empty if none is.
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
    """All slices, the worst first; how many were looked at, tests made, and slices left out as too many of a kind.

    ``truth_like`` are attributes that say the truth, as labels do: nothing was divided by them.
    """

    slices: tuple[Slice, ...]
    looked_at: int
    tests: int
    left_out: int
    truth_like: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Of durations in milliseconds; None where there are none."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyOf:
    """One camera, or all (``all``): capture to decision and its stages; deadlines, and those that were missed.

    ``late`` was inspected, and decided after its deadline; ``shed`` not inspected for it; ``missed`` is either. The
    durations are those of all answers, those to shed frames too.
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
    """How quick the line was when the frames came: of the recorded decisions, whatever decider is analysed."""

    all: LatencyOf
    by_camera: tuple[LatencyOf, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeMark:
    """An episode of drift on the time line; ``end_us`` None: still open. Counts are of its camera's inspected parts."""

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
    """Bins of equal length by time of capture; arrays of one length. ``mean_score`` is NaN in a bin without scores.

    ``parts`` were inspected; ``not_inspected`` ones come on top of them.
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
    """Rows that are the same part, or the same image."""

    name: str
    camera: str
    rows: tuple[int, ...]
    verdicts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """The same part or image more than once. Lists hold at most 100 groups, counts all.

    Parameters
    ----------
    parts_seen_again, contradictory_parts
        Parts of which a camera took several frames; those judged both OK and NOT_OK.
    images_seen_again
        Images (by sha256) under more than one frame id: a file played twice, or a camera that is frozen.
    contradictory_images
        Of those, judged both OK and NOT_OK: more than one model or threshold was at work.
    frames_published_again
        Frame ids with more than one message.
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
    """Rows worth a look, the worst first, at most 100 of each.

    Parameters
    ----------
    escapes
        Defective and accepted: the lowest score first, where the decider was most sure.
    overkill
        Good and rejected: the highest score first.
    nearest
        Nearest to their threshold, labelled or not.
    disagreements
        Deciders whose actions differ: the greatest difference of scores first.
    """

    escapes: tuple[int, ...] = ()
    overkill: tuple[int, ...] = ()
    nearest: tuple[int, ...] = ()
    disagreements: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """Everything of one decider on one stretch; ``warnings`` are sentences for people, the gravest first."""

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

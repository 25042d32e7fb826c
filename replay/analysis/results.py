"""Results of an analysis as plain frozen records; `replay.analysis.as_json` converts each to JSON.

Counts are numbers of parts (frames, see `Extent`), rates are shares in [0, 1], times are UTC microseconds, durations
are milliseconds. None (in an array NaN, in JSON null) stands for a figure that cannot be computed, and a sentence
states the reason. ``rows`` are indices into the analysed table. Every estimate from labels is a
`monitoring.quality.estimates.Estimate`: value, low, high, labels, why_not.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.quality.estimates import Estimate
from replay.analysis.arrays import Floats, Integers
from replay.analysis.slice_results import Slices
from replay.analysis.threshold_results import Calibration, Recommendation, ThresholdCurve


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

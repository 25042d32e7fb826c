"""Detectors of one camera, while recipe and product stay the same, and the reference from which they measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.reference import SignalReference, SignalReferences, references_of
from models.signals import CODES, RESOLUTION
from monitoring.checked import fields, items, mapping, number, numbers, whole
from monitoring.drift.budget import Budget, cusum_threshold
from monitoring.drift.detectors import Adwin, Detector, PageHinkley, Shape
from monitoring.drift.levels import REJECTS, Levels, rate_sd
from monitoring.drift.options import DriftOptions
from monitoring.drift.thinning import Thinning
from monitoring.drift.trace import MAX_SIGNALS, Trace, WatchedFrame
from schemas.records import Action, Decision

#: A larger value does not count as a number: it would make means and variances infinite. Means of such values, however
#: rounded, are below `monitoring.checked.MAX_NUMBER`, so a state with them can be read again.
MAX_VALUE = 1e29
#: Longest name of a signal: a longer name would make the state too large to be read again.
_MAX_NAME = 1000
#: Most counters of anomalies with a name of their own.
_MAX_ANOMALY_COUNTS = 500
_MAX_SAMPLES = 100_000
_MAX_QUANTILES = 1000
#: With a larger value, ranks would be so near to 1 that no normal score is finite.
_MAX_IMAGES = 10**9
#: Smallest change of a mean, in standard deviations, for which ADWIN may alarm: given time, it finds any change.
MIN_EFFECT_SD = 0.25
_MIN_EFFECT_RATE = 0.03
#: Signals for which the correlation of neighbouring frames is measured.
_CORRELATED = ("brightness", "contrast", "sharpness", "noise", "edge_density", "score")


@dataclass(frozen=True, slots=True)
class Alarm:
    """Change found by one detector: its signal, its detector, and the number of watched frames since it began."""

    signal: str
    detector: str
    started: int


@dataclass(frozen=True, slots=True)
class DetectorUpdate:
    """Result of a watched frame: the alarms, and True if the frame completes a block of the trace."""

    alarms: tuple[Alarm, ...]
    completes_block: bool


class DetectorBank:
    """Watch of one camera from one reset to the next.

    Parameters
    ----------
    references
        References from the training images, for the product; None: the camera's first frames become the reference.
    options
        Budget and slack.
    """

    def __init__(self, references: SignalReferences | None, options: DriftOptions) -> None:
        self._options = options
        self._trace = Trace()
        self._samples: list[Mapping[str, float]] = []
        self._rejects = Adwin(_adwin_delta(options.budget, len(references or ()) or 10))
        self._detectors: dict[str, list[Detector]] = {}
        self.references: SignalReferences = {}
        self._thinning = Thinning([])
        if references is not None:
            self._begin(references)

    def _begin(self, references: SignalReferences) -> None:
        self.references = references
        run_length = self._options.budget.frames_per_alarm_of_a_test(len(references))
        threshold = cusum_threshold(run_length, self._options.slack)
        self._detectors = {
            name: [
                PageHinkley(threshold, self._options.slack),
                Adwin(_adwin_delta(self._options.budget, len(references))),
                Shape(Shape.WINDOW / run_length, reference.images, reference.rank_shares(Shape.BINS)),
            ]
            for name, reference in references.items()
        }
        self._thinning = Thinning([name for name in _CORRELATED if name in references])

    @property
    def is_learning(self) -> bool:
        """True if there is no reference yet."""
        return not self._detectors

    @property
    def stride(self) -> int:
        """Interval of the watched frames, see `Thinning`."""
        return self._thinning.stride

    def update(self, decision: Decision, anomaly_counts: Counter[str], *, in_episode: bool) -> DetectorUpdate | None:
        """Process a frame; return None if it is not watched.

        Missing signals and values that are not numbers are counted in ``anomaly_counts``.
        """
        values = self._values(decision, anomaly_counts)
        if self.is_learning:
            self._learn(values)
            return None
        scores = {n: ref.normal_score(values[n]) for n, ref in self.references.items() if n in values}
        if not self._thinning.watch(scores, learn=not in_episode):
            return None
        values[REJECTS] = float(decision.action is not Action.ACCEPT)
        rate = self._rejects.mean
        scores[REJECTS] = (values[REJECTS] - rate) / rate_sd(rate)
        completes_block = self._trace.add(WatchedFrame(decision.frame_id, decision.captured_at_us, values, scores))
        alarms = [
            Alarm(name, detector.name, detector.started)
            for name, score in scores.items()
            for detector in self._detectors.get(name, ())
            if detector.update(score) and self._matters(name, detector)
        ]
        if self._rejects.update_share(values[REJECTS]) and self._rate_matters():
            alarms.append(Alarm(REJECTS, Adwin.name, self._rejects.started))
        return DetectorUpdate(tuple(alarms), completes_block)

    def levels(self) -> Levels:
        """Return the levels of the signals at this moment."""
        return Levels(
            tuple(self._trace.recent),
            tuple(self._trace.blocks),
            self._trace.open_frames,
            self.references,
            self._rejects.mean,
            frozenset(
                name
                for name, detectors in self._detectors.items()
                if not all(detector.is_usual for detector in detectors if isinstance(detector, Shape))
            ),
        )

    def relearned(self) -> DetectorBank:
        """Return a bank whose reference is the newest frames: the level has settled, and is the usual one now."""
        learned = references_of([seen.values for seen in self._trace.recent])
        learned.pop(REJECTS, None)
        return DetectorBank(learned or None, self._options)

    def restarted(self) -> DetectorBank:
        """Return a bank with the same reference that has seen no frame."""
        return DetectorBank(self.references or None, self._options)

    def rewound(self) -> DetectorBank:
        """Return a `restarted` bank that keeps the similarity of neighbours: a shifted level cannot teach it."""
        bank = self.restarted()
        bank._thinning = self._thinning
        return bank

    def _values(self, decision: Decision, anomaly_counts: Counter[str]) -> dict[str, float]:
        values: dict[str, float] = {}
        signals = decision.signals.items()
        if len(signals) > MAX_SIGNALS:  # signals with a reference come first
            signals = dict(sorted(signals, key=lambda item: item[0] not in self.references)).items()
        for name, value in signals:
            if len(name) > _MAX_NAME:
                anomaly_counts["signal-names-too-long"] += 1
            elif abs(value) <= MAX_VALUE:
                if name in CODES:
                    continue
                if len(values) < MAX_SIGNALS:
                    values[name] = value
                else:
                    anomaly_counts["too-many-signals"] += 1
            else:
                # Names come with the decisions: unknown names share a counter.
                known = name in self.references or name in RESOLUTION
                anomaly_counts[f"not-a-number:{name if known else 'other'}"] += 1
        for name in self.references:
            if name not in decision.signals:
                what = f"missing:{name}"
                has_counter = what in anomaly_counts or len(anomaly_counts) < _MAX_ANOMALY_COUNTS
                anomaly_counts[what if has_counter else "missing:other"] += 1
        return values

    def _learn(self, values: Mapping[str, float]) -> None:
        if not values:
            return
        self._samples.append(values)
        if len(self._samples) >= self._options.learn_frames:
            learned = references_of(self._samples)
            if learned:
                self._begin(learned)
            self._samples = []

    def _matters(self, name: str, detector: Detector) -> bool:
        if detector.name != Adwin.name:
            return True
        levels = self.levels()
        after = levels.mean_score(name, detector.started) or 0.0
        before = levels.mean_score(name, 10_000, skip=detector.started)
        if before is None:  # the change is older than the newest frames
            older = levels.block_means(name)
            before = sum(older) / len(older) if older else 0.0
        return abs(after - before) >= MIN_EFFECT_SD

    def _rate_matters(self) -> bool:
        before, after, _ = self.levels().change(REJECTS, min(self._rejects.started, 200))
        return abs(after - before) >= _MIN_EFFECT_RATE

    def state(self) -> Any:
        """Return the whole state as JSON."""
        return {
            "references": {name: reference.as_json() for name, reference in self.references.items()},
            "lessons": self._samples,
            "detectors": {name: [d.state() for d in found] for name, found in self._detectors.items()},
            "rejects": self._rejects.state(),
            "thinning": self._thinning.state(),
            "trace": self._trace.state(),
        }

    @classmethod
    def restored(cls, state: Any, options: DriftOptions) -> DetectorBank:
        """Return a bank that resumes from a `state`; raise ValueError for anything else."""
        state = fields(state, ("references", "lessons", "detectors", "rejects", "thinning", "trace"))
        references = {n: _reference(given) for n, given in mapping(state["references"], MAX_SIGNALS).items()}
        bank = cls(references or None, options)
        samples = items(state["lessons"], _MAX_SAMPLES)
        bank._samples = [numbers(row, MAX_SIGNALS, MAX_VALUE) for row in samples]
        states = fields(state["detectors"], references)
        for name, detectors in bank._detectors.items():
            for detector, given in zip(detectors, items(states[name], 3, 3), strict=True):
                detector.restore(given)
        bank._rejects.restore(state["rejects"])
        bank._thinning.restore(state["thinning"])
        bank._trace.restore(state["trace"])
        return bank


def _reference(given: Any) -> SignalReference:
    given = fields(given, ("quantiles", "mean", "sd", "images", "resolution"))
    for quantile in items(given["quantiles"], _MAX_QUANTILES, 2):
        number(quantile, -MAX_VALUE, MAX_VALUE)
    number(given["mean"], -MAX_VALUE, MAX_VALUE)
    number(given["sd"], 0.0, MAX_VALUE)
    number(given["resolution"], 0.0, MAX_VALUE)
    whole(given["images"], 2, _MAX_IMAGES)
    return SignalReference.from_json(given)


def _adwin_delta(budget: Budget, signals: int) -> float:
    return Adwin.CLOCK / budget.frames_per_alarm_of_a_test(signals)

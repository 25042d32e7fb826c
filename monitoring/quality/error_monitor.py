"""Concept drift of one camera: escapes and overkill are watched separately, and separately by reason for the label.

Labels come mostly from rejected parts, and the share of errors among *all* labels depends on what people choose to
label. So an error rate is watched only within one action and one reason: accepted parts that were labelled at random
are one stream, rejected parts another. A change of the mix of labels then changes no stream.

=========  ================================  =============================
stream     outcomes                          an error is
=========  ================================  =============================
escapes    labelled parts with ACCEPT        the label says defective
overkill   labelled parts with REJECT        the label says good
=========  ================================  =============================

Each decider (model sha256, recipe and revision) has its own streams: a new model or revision begins from scratch,
later labels of the older one do not mix in, and a canary is watched beside the champion.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

from monitoring.checked import items, text
from monitoring.quality.error_stream import ErrorStream, Point, Rise
from monitoring.quality.outcome import Change, ModelKey, Outcome, reason
from schemas.records import Action

Side = Literal["escapes", "overkill"]
#: Most streams of a camera; beyond that, the stream without an outcome for longest is dropped, and begins from scratch.
MAX_STREAMS = 12
_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptAlarm:
    """Alarm: the share of errors of one kind has risen.

    Parameters
    ----------
    side
        ``escapes`` (accepted parts that are defective) or ``overkill`` (rejected parts that are good).
    sampled_because
        Reason of the labels on which the alarm is based, one of `outcome.REASONS`.
    detector
        Detectors that raised the suspicion, such as ``ADWIN+DDM``.
    before, after
        Share of errors among the ``labels_before`` and the ``labels_after`` outcomes.
    log_likelihood_ratio
        How much better two rates explain the outcomes than one.
    started_frame_id, started_at_us
        First outcome after the estimated change, in the order in which labels met decisions; capture time, UTC µs.
    detected_frame_id, detected_at_us
        The outcome that raised the alarm; capture time, UTC µs.
    frames_before, frames_after
        Frame ids of the newest outcomes before the change, and of the first errors after it.
    """

    camera: str
    side: Side
    sampled_because: str
    detector: str
    before: float
    after: float
    labels_before: int
    labels_after: int
    log_likelihood_ratio: float
    started_frame_id: str
    started_at_us: int
    detected_frame_id: str
    detected_at_us: int
    frames_before: tuple[str, ...]
    frames_after: tuple[str, ...]
    model: ModelKey

    @property
    def signal(self) -> str:
        """Name for a `schemas.records.SignalChange`, such as ``error_rate.escapes``."""
        return f"error_rate.{self.side}"

    @property
    def reason(self) -> str:
        """Alarm in one sentence."""
        return (
            f"{self.side} rose from {self.before:.1%} of {self.labels_before} to {self.after:.1%} of "
            f"{self.labels_after} labels ({self.sampled_because})"
        )


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """State of one stream: ``error_rate`` of its newest 100 labels; ``labels`` since its begin or last alarm."""

    side: Side
    sampled_because: str
    model: ModelKey
    labels: int
    error_rate: float | None


_Key = tuple[ModelKey, Side, str]


class ErrorMonitor:
    """Error streams of one camera.

    Parameters
    ----------
    camera
        ``station/camera``.
    """

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._streams: OrderedDict[_Key, ErrorStream] = OrderedDict()
        #: Number of streams that made room for others.
        self.dropped = 0

    def apply(self, change: Change) -> list[ConceptAlarm]:
        """Process a change by a label or decision; return the alarms. Only completed inspections with a label count."""
        old = None if change.before is None else _key(change.before)
        new = _key(change.after)
        if old is not None and old == new:
            if (stream := self._streams.get(old)) is not None:
                stream.correct(change.after.decision.frame_id, _is_error(change.after))
            return []
        if old is not None and (stream := self._streams.get(old)) is not None and change.before is not None:
            stream.correct(change.before.decision.frame_id, None)
        if new is None:
            return []
        summary = change.after.decision
        point = Point(summary.frame_id, summary.captured_at_us, _is_error(change.after))
        found = self._stream(new).update(point)
        return [] if found is None else [self._alarm(new, found)]

    def summary(self) -> list[StreamSummary]:
        """Return all streams, those with the newest outcomes last."""
        return [
            StreamSummary(side, sampled_because, model, stream.labels, stream.error_rate)
            for (model, side, sampled_because), stream in self._streams.items()
        ]

    def to_state(self) -> list[Any]:
        """Return the whole state as JSON."""
        rows: list[Any] = []
        for (model, side, sampled_because), stream in self._streams.items():
            key = [model.name, model.version, model.sha256, model.recipe_id, model.recipe_revision]
            rows.append([key, side, sampled_because, stream.to_state()])
        return rows

    def restore(self, state: list[Any]) -> None:
        """Resume from a state; raise ValueError for anything else."""
        self._streams.clear()
        for row in items(state, MAX_STREAMS):
            model, side, sampled_because, stream = items(row, 4, 4)
            if side not in ("escapes", "overkill"):
                raise ValueError("a stream of no side")
            key = ModelKey(*map(text, items(model, 5, 5)))
            self._streams[key, side, reason(text(sampled_because))] = ErrorStream.from_state(stream)

    def _stream(self, key: _Key) -> ErrorStream:
        if key not in self._streams:
            self._streams[key] = ErrorStream()
            if len(self._streams) > MAX_STREAMS:
                self._streams.popitem(last=False)
                self.dropped += 1
        self._streams.move_to_end(key)
        return self._streams[key]

    def _alarm(self, key: _Key, found: Rise) -> ConceptAlarm:
        model, side, sampled_because = key
        before, after = found.points[: found.change.index], found.points[found.change.index :]
        return ConceptAlarm(
            camera=self._camera,
            side=side,
            sampled_because=sampled_because,
            detector="+".join(found.detectors),
            before=found.change.before,
            after=found.change.after,
            labels_before=found.change.labels_before,
            labels_after=found.change.labels_after,
            log_likelihood_ratio=found.change.log_likelihood_ratio,
            started_frame_id=after[0].frame_id,
            started_at_us=after[0].captured_at_us,
            detected_frame_id=after[-1].frame_id,
            detected_at_us=after[-1].captured_at_us,
            frames_before=tuple(point.frame_id for point in before[-_EXAMPLES:]),
            frames_after=tuple(point.frame_id for point in after if point.is_error)[:_EXAMPLES],
            model=model,
        )


def _key(outcome: Outcome) -> _Key | None:
    """Return the stream to which an outcome belongs; None if it belongs to no stream."""
    summary, truth = outcome.decision, outcome.truth
    if truth is None or not summary.is_completed or summary.action is Action.REVIEW:
        return None
    side: Side = "escapes" if summary.action is Action.ACCEPT else "overkill"
    return summary.model, side, truth.sampled_because


def _is_error(outcome: Outcome) -> bool:
    return outcome.is_escape or outcome.is_overkill

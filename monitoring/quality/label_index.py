"""Truth of frames from their labels: the newest label counts, as everywhere on the line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from monitoring.quality.outcome import Truth, counted_truth
from schemas.clock import Clock, SystemClock
from schemas.part_ids import real_part_id
from schemas.records import Decision, Label, Verdict


@dataclass(slots=True)
class LabelCounts:
    """Counts of labels by outcome.

    Parameters
    ----------
    duplicates
        Further copies of one label: the same id, and the same content.
    undecided
        Labels whose truth is NOT_DECIDABLE: they do not count.
    corrections
        Labels of a frame or part that already had a different label.
    contradictions
        Such corrections with the same time; "defective" counts. Also labels that have the id of a different label.
    future
        Labels whose time was over five minutes ahead when they were written: it does not make them the newest.
    """

    labels: int = 0
    duplicates: int = 0
    undecided: int = 0
    corrections: int = 0
    contradictions: int = 0
    future: int = 0


class LabelIndex:
    """Labels by frame and by part, by the rules of `monitoring.quality.outcome`. Memory: about 450 bytes a label.

    Examples
    --------
    >>> truths = LabelIndex()
    >>> truths.add(Label(label_id="1", station="s", camera_id="c", part_id="P", truth=Verdict.OK, labelled_at_us=5,
    ...                  labelled_by="ada", sampled_because="random"))
    >>> truths.add(Label(label_id="2", station="s", camera_id="c", frame_id="f", truth=Verdict.NOT_OK, labelled_at_us=6,
    ...                  labelled_by="bob", defect="crack"))
    >>> found = truths.of_frame("s/c", "f", "P")
    >>> found.is_defective, found.defect, found.sampled_because
    (True, 'crack', 'random')
    >>> truths.of_frame("s/other", "f", "P"), truths.waiting
    (None, 0)
    """

    def __init__(self, labels: Iterable[Label] = (), *, clock: Clock | None = None) -> None:
        self.counts = LabelCounts()
        self._clock = clock or SystemClock()
        #: Camera and label id to a hash of the content, and True for a label without a truth.
        self._ids: dict[tuple[str, str, bool], int] = {}
        self._found: dict[tuple[str, str, str], Truth] = {}
        self._asked: set[tuple[str, str, str]] = set()
        for label in labels:
            self.add(label)

    def add(self, label: Label, written_us: int | None = None) -> None:
        """Add a label; labels may come in any order.

        ``written_us`` is the time at which it was written to Kafka, UTC: no label has a later time. If that is unknown,
        a label of the future has no time, and every other label is newer.
        """
        truth = Truth.of(label, self._clock.utc_us(), written_us)
        is_undecided = label.truth is Verdict.NOT_DECIDABLE  # such a label hides none that is decided
        known = self._ids.get((label.key, truth.label_id, is_undecided))
        if known not in (None, truth.content):  # any writer can choose an id, so it must hide no other label
            truth = replace(truth, label_id=truth.other_id)
            known = self._ids.get((label.key, truth.label_id, is_undecided))
            self.counts.contradictions += known is None
        if known is not None:
            self.counts.duplicates += 1
            return
        self._ids[label.key, truth.label_id, is_undecided] = truth.content
        self.counts.labels += 1
        if is_undecided:
            self.counts.undecided += 1
            return
        self.counts.future += truth.labelled_at_us != label.labelled_at_us
        about = ("part", truth.part_id or "") if truth.frame_id is None else ("frame", truth.frame_id)
        key = (label.key, *about)
        before = self._found.get(key)
        if before is not None and before.is_defective != truth.is_defective:
            self.counts.corrections += 1
            self.counts.contradictions += before.labelled_at_us == truth.labelled_at_us
        self._found[key] = truth if before is None else counted_truth([before, truth]) or truth

    def of_frame(self, camera: str, frame_id: str, part_id: str | None) -> Truth | None:
        """Return the truth of a frame of a camera (``station/camera``); None if there is no label."""
        part_id = real_part_id(part_id)
        keys = [(camera, "frame", frame_id)] + ([] if part_id is None else [(camera, "part", part_id)])
        there = [key for key in keys if key in self._found]
        self._asked.update(there)
        return counted_truth(self._found[key] for key in there)

    def of(self, decision: Decision) -> Truth | None:
        """Return the truth of the frame of a decision; None if there is no label."""
        return self.of_frame(decision.key, decision.frame_id, decision.part_id)

    @property
    def waiting(self) -> int:
        """Number of labelled frames and parts never looked up: their label is of another time, or names nothing."""
        return len(self._found) - len(self._asked)

"""Truth of frames from their labels: the newest label counts, as everywhere on the line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from monitoring.quality.outcome import Truth
from schemas.clock import Clock, SystemClock
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
    """Labels by frame and by part. Memory: about 400 bytes a label.

    A label with a frame id is about this frame only. A label with only a part id is about every frame of the part that
    its camera took. Of all labels of a frame the newest counts; of two labels of one time, the one that says defective.
    A part once drawn at random stays so, whatever a later label says: a complaint must not remove a bad part from the
    sample.

    Examples
    --------
    >>> truths = LabelIndex()
    >>> truths.add(Label(label_id="1", station="s", camera_id="c", part_id="P", truth=Verdict.OK, labelled_at_us=5,
    ...                  labelled_by="ada", sampled_because="random"))
    >>> truths.add(Label(label_id="2", station="s", camera_id="c", frame_id="f", truth=Verdict.NOT_OK, labelled_at_us=6,
    ...                  labelled_by="bob", defect="crack"))
    >>> found = truths.of_frame("s/c", "f", "P")
    >>> found.is_defective, found.defect, found.because
    (True, 'crack', 'random')
    >>> truths.of_frame("s/other", "f", "P"), truths.waiting
    (None, 0)
    """

    def __init__(self, labels: Iterable[Label] = (), *, clock: Clock | None = None) -> None:
        self.counts = LabelCounts()
        self._clock = clock or SystemClock()
        #: Label id to a hash of its content.
        self._ids: dict[str, int] = {}
        self._found: dict[tuple[str, str, str], Truth] = {}
        self._asked: set[tuple[str, str, str]] = set()
        for label in labels:
            self.add(label)

    def add(self, label: Label, written_us: int | None = None) -> None:
        """Add a label; labels may come in any order.

        ``written_us`` is the time at which it was written to Kafka, UTC: no label has a later time. If that is unknown,
        a label of the future has no time, and every other label is newer.
        """
        content = _content(label)
        known = self._ids.get(label.label_id)
        if known not in (None, content):  # any writer can choose an id, so it must hide no other label
            label = replace(label, label_id=f"{label.label_id}#{content:x}")
            known = self._ids.get(label.label_id)
            self.counts.contradictions += known is None
        if known is not None:
            self.counts.duplicates += 1
            return
        self._ids[label.label_id] = content
        self.counts.labels += 1
        if label.truth is Verdict.NOT_DECIDABLE:
            self.counts.undecided += 1
            return
        truth = Truth.of(label, self._clock.utc_us(), written_us)
        self.counts.future += truth.labelled_at_us != label.labelled_at_us
        about = ("part", truth.part_id or "") if truth.frame_id is None else ("frame", truth.frame_id)
        key = (label.key, *about)
        before = self._found.get(key)
        if before is not None and before.is_defective != truth.is_defective:
            self.counts.corrections += 1
            self.counts.contradictions += before.labelled_at_us == truth.labelled_at_us
        self._found[key] = _newest(before, truth)

    def of_frame(self, camera: str, frame_id: str, part_id: str | None) -> Truth | None:
        """Return the truth of a frame of a camera (``station/camera``); None if there is no label."""
        keys = [(camera, "frame", frame_id)] + ([] if part_id is None else [(camera, "part", part_id)])
        newest: Truth | None = None
        for key in keys:
            truth = self._found.get(key)
            if truth is not None:
                self._asked.add(key)
                newest = _newest(newest, truth)
        return newest

    def of(self, decision: Decision) -> Truth | None:
        """Return the truth of the frame of a decision; None if there is no label."""
        return self.of_frame(decision.key, decision.frame_id, decision.part_id)

    @property
    def waiting(self) -> int:
        """Number of labelled frames and parts never looked up: their label is of another time, or names nothing."""
        return len(self._found) - len(self._asked)


def _newest(one: Truth | None, other: Truth) -> Truth:
    if one is None:
        return other
    newest = max(one, other, key=lambda truth: truth.rank)
    return replace(newest, because="random") if "random" in (one.because, other.because) else newest


def _content(label: Label) -> int:
    said = (label.key, label.frame_id, label.part_id, label.truth, label.defect, label.labelled_at_us)
    return int.from_bytes(hashlib.blake2b(repr(said).encode(), digest_size=8).digest(), "big")

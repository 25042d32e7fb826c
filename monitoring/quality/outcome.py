"""Parts of a decision and of a label that are kept, and the two combined.

The rules of the join are here, for the live join, the reports, the table of an analysis and the index of decisions:

- `is_of_line`: decisions of replays and of challengers do not count.
- `decision_rank`: of several decisions on a frame, an inspection counts before other results, then the first one.
- `Truth.of`: a label that names a frame is about this frame, else it is about every frame of its part and camera.
- `counted_truth`: of several labels of a frame the newest counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from schemas.clock import clamp_future, is_future
from schemas.part_ids import real_part_id
from schemas.records import Action, Decision, Label, ResultState, Verdict

#: Reasons for labels that the figures distinguish; any other text counts as ``other``, an empty one as ``unstated``.
REASONS = ("random", "reject", "review", "near-threshold", "disagreement", "episode", "unstated", "other")


@dataclass(frozen=True, slots=True, order=True)
class ModelKey:
    """Identity of a decider: model, and recipe with its revision. If one of them differs, it is another decider."""

    name: str
    version: str
    sha256: str
    recipe_id: str
    recipe_revision: str


#: Sort key of the decisions of a frame: the smallest one counts.
DecisionRank = tuple[bool, int, int]


def is_of_line(decision: Decision) -> bool:
    """Return True for a decision that a gate may act on; False for those of replays and of challengers."""
    return not decision.is_simulated and decision.model_stage != "challenger"


def decision_rank(decision: Decision) -> DecisionRank:
    """Return the rank of a decision among those of its frame: inspections before other results, early before late.

    A digest of the id decides between decisions of one moment, so that the order of reading makes no difference.

    Examples
    --------
    >>> _rank(True, 9, "0b") < _rank(True, 9, "0c") < _rank(True, 10, "0a") < _rank(False, 1, "0a")
    True
    """
    return _rank(decision.result_state is ResultState.COMPLETED, decision.decided_at_us, _digest(decision.decision_id))


def _rank(is_completed: bool, decided_at_us: int, digest: str) -> DecisionRank:
    return not is_completed, decided_at_us, int(digest, 16)


def _digest(decision_id: str) -> str:
    return hashlib.blake2b(decision_id.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class DecisionSummary:
    """Parts of a decision that the figures need; ``digest``, 48 bits of its id, identifies repetitions."""

    frame_id: str
    digest: str
    part_id: str | None
    lot: str | None
    action: Action
    verdict: Verdict
    is_completed: bool
    captured_at_us: int
    decided_at_us: int
    model: ModelKey

    @classmethod
    def of(cls, decision: Decision) -> DecisionSummary:
        """Return the part of a decision that is kept."""
        return cls(
            decision.frame_id,
            _digest(decision.decision_id),
            real_part_id(decision.part_id),
            decision.lot,
            decision.action,
            decision.verdict,
            decision.result_state is ResultState.COMPLETED,
            decision.captured_at_us,
            decision.decided_at_us,
            ModelKey(
                decision.model_name,
                decision.model_version,
                decision.model_sha256,
                decision.recipe_id,
                decision.recipe_revision,
            ),
        )

    @property
    def rank(self) -> DecisionRank:
        """Rank among the decisions of its frame, see `decision_rank`."""
        return _rank(self.is_completed, self.decided_at_us, self.digest)


@dataclass(frozen=True, slots=True)
class Truth:
    """Parts of a label that the figures need."""

    label_id: str
    frame_id: str | None
    part_id: str | None
    is_defective: bool
    labelled_at_us: int
    defect: str
    sampled_because: str

    @classmethod
    def of(cls, label: Label, now_us: int | None = None, written_us: int | None = None) -> Truth:
        """Return the part of a label that is kept.

        Parameters
        ----------
        now_us
            The reader's clock, UTC. None: the time of the label is kept.
        written_us
            Time at which the label was written to Kafka, if known. It replaces a later time of the label.
            If it is unknown, a label of the future has no time, and every other label is newer.
        """
        return cls(
            label.label_id,
            label.frame_id,
            real_part_id(label.part_id) if label.frame_id is None else None,
            label.truth is Verdict.NOT_OK,
            label.labelled_at_us if now_us is None else labelled_at_us(label, now_us, written_us),
            label.defect or "",
            reason(label.sampled_because),
        )

    def says_the_same(self, other: Truth) -> bool:
        """Return True if another label with the same id is a copy of it."""
        return self._content == other._content

    @property
    def other_id(self) -> str:
        """Id for a label whose own id belongs to a different label."""
        return f"{self.label_id}#{self.content:012x}"

    @property
    def content(self) -> int:
        """Hash of the statement, 48 bits."""
        return int.from_bytes(hashlib.blake2b(repr(self._content).encode(), digest_size=6).digest(), "big")

    @property
    def _content(self) -> tuple[object, ...]:
        return self.frame_id, self.part_id, self.is_defective, self.labelled_at_us, self.defect

    @property
    def rank(self) -> tuple[int, bool, str]:
        """Sort key: the greatest of a frame's labels counts, the newest; of two at one time the defective one."""
        return self.labelled_at_us, self.is_defective, self.label_id


def counted_truth(truths: Iterable[Truth]) -> Truth | None:
    """Return the label that counts, of all labels about a frame: the one with the greatest `Truth.rank`.

    A part that was drawn blindly remains so: a later complaint must not take a bad part out of the sample.
    """
    known = list(truths)
    if not known:
        return None
    newest = max(known, key=lambda truth: truth.rank)
    return (
        replace(newest, sampled_because="random")
        if any(truth.sampled_because == "random" for truth in known)
        else newest
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """Decision, and the truth as far as it is known."""

    decision: DecisionSummary
    truth: Truth | None

    @property
    def is_escape(self) -> bool:
        """True if a defective part was accepted."""
        return self.truth is not None and self.truth.is_defective and self.decision.action is Action.ACCEPT

    @property
    def is_overkill(self) -> bool:
        """True if a good part was rejected."""
        return self.truth is not None and not self.truth.is_defective and self.decision.action is Action.REJECT


@dataclass(frozen=True, slots=True)
class Change:
    """Outcome of one frame before and after a decision or label arrived; ``before`` None: the frame is new."""

    before: Outcome | None
    after: Outcome


def labelled_at_us(label: Label, now_us: int, written_us: int | None = None) -> int:
    """Return the time of a label; for a label of the future, the time of its writing, or 0 if that is unknown.

    Examples
    --------
    >>> from schemas.records import Verdict
    >>> label = Label(label_id="1", station="s", camera_id="c", frame_id="f", truth=Verdict.OK, labelled_by="ada",
    ...               labelled_at_us=4_102_444_800_000_000)
    >>> now_us = 1_795_000_000_000_000
    >>> labelled_at_us(label, now_us), labelled_at_us(label, now_us, now_us - 5)
    (0, 1794999999999995)
    """
    if written_us is not None and written_us > 0:
        return clamp_future(label.labelled_at_us, clamp_future(written_us, now_us))
    return 0 if is_future(label.labelled_at_us, now_us) else label.labelled_at_us


def reason(sampled_because: str) -> str:
    """Return one of `REASONS` for a reason in any spelling.

    Examples
    --------
    >>> reason("Random"), reason("near_threshold"), reason("customer complaint"), reason("")
    ('random', 'near-threshold', 'other', 'unstated')
    """
    text = sampled_because.strip().lower().replace("_", "-").replace(" ", "-")
    if not text:
        return "unstated"
    return text if text in REASONS else "other"

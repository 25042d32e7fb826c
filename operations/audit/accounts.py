"""Audit: compares every frame of the frames topic with its decisions and dead letters. No Kafka here.

The counts balance when {captured} = {decided} + {dead-lettered} + {counted drops}: a frame in the topic needs a
decision or a dead letter, and a gap in a camera's sequence needs a drop that the edge has counted.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from operations.audit.counts import CameraCounts
from operations.audit.reconcile import EdgeStart, StartCounts, merge, reconcile
from schemas.records import Action, DeadLetter, Decision, Frame, ResultState

#: Place of a message: topic, partition, offset.
AnswerPosition = tuple[str, int, int]


@dataclass(slots=True)
class _FrameAnswers:
    """Record of one frame: about 800 bytes with its keys, never its image."""

    captured_at_us: int
    arrived_at_us: int
    deadline_at_us: int | None
    image: int
    copies: int = 1
    dead: bool = False
    decisions: dict[str, tuple[ResultState, str, str, str, bool]] = field(default_factory=dict)
    #: Groups that have answered, each with a bit for each state of its answers. Frames share equal tuples.
    groups: tuple[tuple[int, int], ...] = ()
    repeats: int = 0
    redundant: int = 0
    conflict: bool = False
    disagreement: bool = False
    late_accept: bool = False


class Audit:
    """Audit of frames: enter frames first, then decisions and dead letters in any order; `cameras` returns the counts.

    Parameters
    ----------
    complete_since_us
        Time (UTC µs) since which every message of the frames topic was entered; None if the topic was never cut. A
        camera that started later begins with sequence 0, so missing numbers before the first seen one are gaps.
    open_end
        True if frames were entered up to the end of the topic.

    Examples
    --------
    >>> from schemas.records import Encoding
    >>> audit = Audit()
    >>> for sequence in (0, 1, 3):
    ...     audit.frame(Frame(frame_id=f"s.c.1.{sequence}", line="l", station="s", camera_id="c", started_at_us=1,
    ...                       sequence=sequence, captured_at_us=0, encoding=Encoding.JPEG, width=1, height=1, sha256="",
    ...                       image=b""))
    >>> answers = audit.cameras()["s/c"]
    >>> answers.captured, answers.gaps, answers.unaccounted
    (4, 1, 3)
    """

    def __init__(self, *, complete_since_us: int | None = None, open_end: bool = True) -> None:
        self.complete_since_us = complete_since_us
        self._open_end = open_end
        self._frames: dict[str, dict[str, _FrameAnswers]] = defaultdict(dict)
        self._sequences: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._elsewhere: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._shared: dict[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]] = {}
        self._unreadable: set[AnswerPosition] = set()
        self._dead_positions: set[AnswerPosition] = set()
        #: Cameras of all frames that were read, entered or not.
        self.seen_cameras: set[str] = set()
        self.unreadable_decisions: list[AnswerPosition] = []
        self.unreadable_dead_letters: list[AnswerPosition] = []

    def frame(self, frame: Frame, arrived_at_us: int | None = None) -> None:
        """Enter a frame of the topic, and the time when it reached Kafka (default: the time of its capture)."""
        # Also for a copy: a gateway that was killed publishes the frame of a key again, with another sequence number.
        self._sequences[frame.key, frame.started_at_us].add(frame.sequence)
        known = self._frames[frame.key].get(frame.frame_id)
        if known is not None:
            known.copies += 1
            known.conflict |= known.image != hash(frame.sha256)
            return
        self._enter(frame, frame.sha256, arrived_at_us)

    def frame_of(self, decision: Decision, arrived_at_us: int) -> None:
        """Enter the frame of a decision, where the topic of the frames is not to be had."""
        if not decision.is_simulated:
            self._sequences[decision.key, decision.started_at_us].add(decision.sequence)
            if decision.frame_id not in self._frames[decision.key]:
                self._enter(decision, decision.image_sha256, arrived_at_us)

    def _enter(self, of: Frame | Decision, sha256: str, arrived_at_us: int | None) -> None:
        arrived_at_us = of.captured_at_us if arrived_at_us is None else arrived_at_us
        self._frames[of.key][of.frame_id] = _FrameAnswers(
            of.captured_at_us, arrived_at_us, of.deadline_at_us, hash(sha256)
        )

    def frame_elsewhere(self, frame: Frame | Decision) -> None:
        """Note a frame of the topic outside the range. It only means that its sequence number is not a gap."""
        start = (frame.key, frame.started_at_us)
        if start in self._sequences and frame.sequence not in self._sequences[start]:
            self._elsewhere[start].add(frame.sequence)

    def missing(self, edge: Iterable[EdgeStart] = ()) -> int:
        """Return the number of sequence numbers missing so far, also those that the edge explains."""
        known = merge(edge)
        self._assign(known)
        return sum(self._reconcile(start, known.get(start)).gaps for start in self._sequences)

    def unreadable_frame(self, position: AnswerPosition) -> None:
        """Enter a message of the frames topic that is not a valid frame: it needs a dead letter."""
        self._unreadable.add(position)

    def decision(self, decision: Decision, group: bytes = b"") -> None:
        """Enter a decision of a group of workers; a decision on a frame that was not entered is ignored."""
        answers = self._frames.get(decision.key, {}).get(decision.frame_id)
        if answers is None or decision.is_simulated:
            return
        answers.conflict |= answers.image != hash(decision.image_sha256)
        champion = decision.model_stage == "champion"
        model = sys.intern(decision.model_sha256)
        answer = (decision.result_state, decision.verdict.value, decision.action.value, model, champion)
        is_redundant = self._note_group(answers, hash(group), decision.result_state)
        answers.redundant += is_redundant
        before = answers.decisions.get(decision.decision_id)
        if before is not None:
            answers.repeats += not is_redundant
            answers.conflict |= before != answer
            return
        if decision.result_state is ResultState.COMPLETED:
            for state, *verdict, other_model, other_champion in answers.decisions.values():
                if state is ResultState.COMPLETED and verdict != [*answer[1:3]]:
                    answers.conflict |= other_model == model
                    answers.disagreement |= other_model != model and champion and other_champion
        answers.decisions[decision.decision_id] = answer
        # Use the frame's own deadline: the worker's `is_late` is itself under audit.
        late = answers.deadline_at_us is not None and decision.decided_at_us > answers.deadline_at_us
        answers.late_accept |= decision.action is Action.ACCEPT and champion and (late or decision.is_late)

    def _note_group(self, answers: _FrameAnswers, group: int, state: ResultState) -> bool:
        """Enter a group that has answered; return True if others have answered before it, but not this one."""
        known = dict(answers.groups)
        is_redundant = bool(known) and group not in known
        if is_redundant and len(known) >= _MOST_GROUPS:
            return False
        known[group] = known.get(group, 0) | _BITS[state]
        groups = tuple(known.items())
        answers.groups = self._shared.setdefault(groups, groups)
        return is_redundant

    def dead_letter(self, letter: DeadLetter) -> None:
        self._dead_positions.add((letter.source_topic, letter.source_partition, letter.source_offset))
        if letter.frame_id is not None:
            for frames in self._frames.values():
                if letter.frame_id in frames:
                    frames[letter.frame_id].dead = True

    @property
    def unreadable(self) -> int:
        """Number of messages of the frames topic that are not valid frames."""
        return len(self._unreadable)

    @property
    def unreadable_positions(self) -> list[AnswerPosition]:
        """Places of these unreadable messages."""
        return sorted(self._unreadable)

    @property
    def unreadable_unaccounted(self) -> int:
        """Number of unreadable messages without a dead letter."""
        return len(self._unreadable - self._dead_positions)

    def cameras(
        self, *, now_us: int | None = None, grace_us: int = 10_000_000, edge: Iterable[EdgeStart] = ()
    ) -> dict[str, CameraCounts]:
        """Return the counts of each camera, by ``station/camera``.

        Parameters
        ----------
        now_us, grace_us
            Frames without an answer that reached Kafka less than ``grace_us`` before ``now_us`` are pending, not
            unaccounted. Frames captured more than ``grace_us`` after ``now_us`` are `ahead`. With None there are no
            pending frames and no frames ahead.
        edge
            Facts from edge reports and spools.
        """
        answers = {camera: self._answers(camera, now_us, grace_us) for camera in sorted(self._frames)}
        known = merge(edge)
        self._assign(known)
        for key in sorted({*self._sequences, *known}, key=lambda one: (one[0], one[1] is None, one[1] or 0)):
            camera, started_at_us = key
            result = answers.setdefault(camera, CameraCounts())
            if started_at_us is None and self._starts(camera):
                # The report does not name one of several starts: its losses explain gaps, but are not compared.
                lost = known[key].lost + known[key].spooled + known[key].unsure
                result.drops += known[key].lost
                result.unexplained_gaps = max(0, result.unexplained_gaps - lost)
                continue
            one = self._reconcile(key, known.get(key))
            for figure in ("captured", "gaps", "drops", "waiting", "unexplained_gaps", "surplus_drops"):
                setattr(result, figure, getattr(result, figure) + getattr(one, figure))
        return {camera: answers[camera] for camera in sorted(answers) if any(answers[camera].as_dict().values())}

    def _reconcile(self, start: tuple[str, int | None], edge: EdgeStart | None) -> StartCounts:
        camera, started_at_us = start
        since_us = self.complete_since_us
        key = (camera, -1 if started_at_us is None else started_at_us)
        return reconcile(
            self._sequences.get(key, set()),
            edge,
            whole=since_us is None or (started_at_us is not None and started_at_us >= since_us),
            open_end=self._open_end,
            elsewhere=self._elsewhere.get(key, set()),
        )

    def _starts(self, camera: str) -> list[int]:
        return [started_at_us for name, started_at_us in self._sequences if name == camera]

    def _assign(self, known: dict[tuple[str, int | None], EdgeStart]) -> None:
        """Assign reports that name no start to the only start that they can be about."""
        for camera, started_at_us in list(known):
            if started_at_us is None:
                open_starts = [one for one in self._starts(camera) if not known.get((camera, one), _NOTHING).reported]
                if len(open_starts) == 1:
                    report = known.pop((camera, None))
                    spool = known.get((camera, open_starts[0]))
                    about = EdgeStart(
                        camera=camera, started_at_us=open_starts[0], reported=True, captured=report.captured,
                        lost=report.lost, spooled=report.spooled, unsure=report.unsure,
                    )  # fmt: skip
                    known.update(merge([about] if spool is None else [about, spool]))

    def _answers(self, camera: str, now_us: int | None, grace_us: int) -> CameraCounts:
        result = CameraCounts()
        for answers in self._frames[camera].values():
            states = {state for state, *_ in answers.decisions.values()}
            inspected = ResultState.COMPLETED in states
            result.frames += 1
            result.repeated_frames += answers.copies - 1
            result.decided += bool(states)
            result.dead_lettered += answers.dead
            result.aborted += not inspected and ResultState.ABORTED in states
            result.failed += not inspected and ResultState.FAILED in states
            # A frame that one group sheds and another one inspects is no such frame.
            superseded = any(bits & _BITS[ResultState.COMPLETED] and bits & (bits - 1) for _, bits in answers.groups)
            result.superseded += superseded
            result.duplicates += answers.repeats
            result.redundant += answers.redundant
            result.conflicts += answers.conflict
            result.disagreements += answers.disagreement
            # For a superseded frame the gate has acted on the first answer; the later answer is only for the record.
            result.late_accepts += answers.late_accept and not superseded
            result.ahead += now_us is not None and answers.captured_at_us > now_us + grace_us
            if not states and not answers.dead:
                pending = now_us is not None and abs(now_us - answers.arrived_at_us) < grace_us
                result.pending += pending
                result.unaccounted += not pending
        return result


_BITS = {state: 1 << number for number, state in enumerate(ResultState)}
#: Most groups of one frame that are told apart: any writer can invent them.
_MOST_GROUPS = 8
_NOTHING = EdgeStart(camera="", started_at_us=None)

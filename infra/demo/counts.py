"""Accounting of a demo run: every published frame is compared with its answers. This module does not use Kafka."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from river.metrics import ConfusionMatrix

from producers.cameras.disturbed import DISTURBED
from schemas import Action, DeadLetter, Decision, ResultState, Verdict

GOOD_LABELS = frozenset({"functional", "good", "ok"})


@dataclass(frozen=True, slots=True)
class DemoQuality:
    """Comparison of decisions with labels.

    ``accuracy`` is the share of correct verdicts, in [0, 1]; None if there are no labels. ``escapes`` are accepted
    defective parts, ``overkill`` are rejected good parts; a part that was sent to REVIEW is neither.
    """

    labelled: int = 0
    accuracy: float | None = None
    escapes: int = 0
    overkill: int = 0


class DemoCounts:
    """Counts of published frames and of their answers. Thread-safe.

    Examples
    --------
    >>> counts = DemoCounts()
    >>> counts.published("f1")
    >>> counts.unaccounted
    1
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._published: set[str] = set()
        self._decided: dict[str, str] = {}
        self._dead: set[str] = set()
        self.actions: Counter[Action] = Counter()
        self.verdicts: Counter[Verdict] = Counter()
        self.dead_letters = 0
        self.duplicates = 0
        self.conflicts = 0
        self.shed = 0
        self.latencies_ms: list[float] = []
        #: First disturbed frame of a demo of drift: sequence number and frame id.
        self.first_disturbed: tuple[int, str] | None = None
        self._confusion = ConfusionMatrix()
        self._escapes = 0
        self._overkill = 0

    def published(self, frame_id: str) -> None:
        """Count a frame that Kafka has acknowledged."""
        with self._lock:
            self._published.add(frame_id)

    def decision(self, decision: Decision) -> None:
        """Count a decision read from its topic."""
        with self._lock:
            before = self._decided.get(decision.frame_id)
            if before is not None:
                self.duplicates += 1
                self.conflicts += before != decision.decision_id
                return
            self._decided[decision.frame_id] = decision.decision_id
            self.actions[decision.action] += 1
            self.verdicts[decision.verdict] += 1
            self.shed += decision.result_state is ResultState.ABORTED
            self.latencies_ms.append((decision.decided_at_us - decision.captured_at_us) / 1000)
            if DISTURBED in decision.attributes:
                place = (decision.sequence, decision.frame_id)
                self.first_disturbed = min(self.first_disturbed or place, place)
            label = decision.attributes.get("label")
            if label is not None:
                self._learn(decision, good=label in GOOD_LABELS)

    def _learn(self, decision: Decision, *, good: bool) -> None:
        # A frame that could not be inspected counts as "not good": the gate treats it in the same way.
        self._confusion.update(good, decision.verdict is Verdict.OK)
        self._escapes += not good and decision.action is Action.ACCEPT
        self._overkill += good and decision.action is Action.REJECT

    def dead_letter(self, letter: DeadLetter) -> None:
        """Count a dead letter read from its topic."""
        with self._lock:
            self.dead_letters += 1
            if letter.frame_id is not None:
                self._dead.add(letter.frame_id)

    @property
    def frames_published(self) -> int:
        """Frames that Kafka acknowledged."""
        with self._lock:
            return len(self._published)

    @property
    def decisions(self) -> int:
        """Frames with a decision, each counted once."""
        with self._lock:
            return len(self._decided)

    @property
    def answered(self) -> int:
        """Frames with a decision or a dead letter."""
        with self._lock:
            return len(self._decided.keys() | self._dead) if self._dead else len(self._decided)

    @property
    def unaccounted(self) -> int:
        """Published frames with neither a decision nor a dead letter."""
        with self._lock:
            return len(self._published - self._decided.keys() - self._dead)

    @property
    def quality(self) -> DemoQuality:
        """Comparison of the decisions so far with their labels."""
        with self._lock:
            labelled = int(self._confusion.total_weight)
            if not labelled:
                return DemoQuality()
            accuracy = float(self._confusion.total_true_positives) / labelled
            return DemoQuality(labelled, accuracy, self._escapes, self._overkill)

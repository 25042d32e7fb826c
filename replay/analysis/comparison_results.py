"""Results of a comparison of two deciders: plain records for a terminal, for JSON and for a page."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTable:
    """Errors of both deciders on the labels of one truth.

    ``p`` is McNemar's exact test on the labels on which only one decider errs; None if there are no such labels. The
    test counts only labels that are a fair sample for both deciders: ``tested_only_champion`` and
    ``tested_only_challenger``. If rejected parts were labelled more often than accepted ones, these are the labels
    drawn at random.
    """

    both_right: int
    only_champion_errs: int
    only_challenger_errs: int
    both_err: int
    tested_only_champion: int
    tested_only_challenger: int
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Rate of both deciders, and the difference challenger minus champion with its 95 % interval.

    If the rate cannot be estimated, the fields have None and ``why_not`` states the reason.
    """

    champion: float | None
    challenger: float | None
    delta: float | None
    low: float | None
    high: float | None
    labels: int
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPart:
    """Part that the deciders treat differently; ``truth`` is good, defective or unknown."""

    row: int
    frame_id: str
    part_id: str | None
    camera: str
    lot: str | None
    truth: str
    defect: str | None
    champion_action: str
    challenger_action: str
    champion_verdict: str
    challenger_verdict: str
    champion_score: float | None
    challenger_score: float | None
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenChange:
    """Golden sample that the deciders treat differently."""

    file: str
    truth: str
    defect: str
    champion_action: str
    challenger_action: str
    champion_score: float | None
    challenger_score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenComparison:
    """Results of both deciders on samples with a known truth: counts, not estimates.

    ``newly_missed`` counts defective samples that the champion finds and the challenger accepts; ``newly_found`` is the
    reverse. ``newly_overkilled`` counts good samples that only the challenger rejects.
    """

    good: int
    defective: int
    champion_escapes: int
    challenger_escapes: int
    champion_overkill: int
    challenger_overkill: int
    newly_missed: int
    newly_found: int
    newly_overkilled: int
    newly_accepted: int
    challenger_failed: int
    changed: tuple[GoldenChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionCheck:
    """Condition of the promotion gate; ``outcome`` is pass, fail or undecided, ``sentence`` states the reason."""

    name: str
    outcome: str
    sentence: str
    limit: float
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionDecision:
    """Decision on the promotion of the challenger: ``promote``, ``do not promote`` or ``undecided``."""

    decision: str
    checks: tuple[PromotionCheck, ...]

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0 to promote, 1 not to promote, 3 undecided; shells use 2 for wrong usage."""
        return {"promote": 0, "do not promote": 1}.get(self.decision, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Champion against challenger on the same parts.

    Parameters
    ----------
    parts
        Number of parts that both inspected; these are compared.
    only_champion, only_challenger
        Number of parts that only one of them inspected.
    agreement
        Share of the parts with the same action; None if there are no parts.
    escapes, overkill
        Errors on labelled defective parts, and on labelled good parts.
    changed
        Parts that the deciders treat differently, the gravest first, at most
        `replay.analysis.comparison.MAX_CHANGED`; ``changed_total`` counts all of them.
    """

    champion: str
    challenger: str
    parts: int
    only_champion: int
    only_challenger: int
    labelled: int
    agreement: float | None
    escapes: PairedTable
    overkill: PairedTable
    escape_rate: Delta
    overkill_rate: Delta
    changed: tuple[ChangedPart, ...]
    changed_total: int
    gate: PromotionDecision
    golden: GoldenComparison | None = None
    warnings: tuple[str, ...] = field(default=())

"""What a comparison of two deciders says: plain records that go to a terminal, to JSON and to a page alike."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTable:
    """Labels of one truth: which decider erred. ``p`` is McNemar's exact test on the two that differ, None if none do.

    The test counts only labels that are a fair sample of both, ``tested_only_champion`` and ``tested_only_challenger``
    of them: where rejected parts were labelled more often than accepted ones, those drawn at random.
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
    """A rate of both deciders and the challenger's minus the champion's, with its 95 % interval; None: see why_not."""

    champion: float | None
    challenger: float | None
    delta: float | None
    low: float | None
    high: float | None
    labels: int
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPart:
    """A part that the deciders treat otherwise; ``truth`` is good, defective or unknown."""

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
    """A golden sample that the deciders treat otherwise."""

    file: str
    truth: str
    defect: str
    champion_action: str
    challenger_action: str
    champion_score: float | None
    challenger_score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenComparison:
    """Both deciders on samples whose truth is known: counts, no estimates.

    ``newly_missed`` are defective samples that the champion finds and the challenger accepts, ``newly_found`` the other
    way round; ``newly_overkilled`` good ones that only the challenger rejects.
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
class Check:
    """One condition of the promotion gate; ``outcome`` is pass, fail or undecided, ``sentence`` says why."""

    name: str
    outcome: str
    sentence: str
    limit: float
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether the challenger may be promoted: ``promote``, ``do not promote`` or ``undecided``."""

    decision: str
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0 promote, 1 do not, 3 undecided; 2 is the shell's word for a wrong usage."""
        return {"promote": 0, "do not promote": 1}.get(self.decision, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Champion against challenger on the same parts.

    Parameters
    ----------
    parts
        Inspected by both: what is compared.
    only_champion, only_challenger
        Inspected by one alone.
    agreement
        Share of the parts with the same action; None without a part.
    escapes, overkill
        Errors on labelled defective parts, on labelled good ones.
    changed
        Parts that are treated otherwise, the gravest first, at most `replay.analysis.comparison.MAX_CHANGED`;
        ``changed_total`` is all.
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
    gate: Gate
    golden: GoldenComparison | None = None
    warnings: tuple[str, ...] = field(default=())

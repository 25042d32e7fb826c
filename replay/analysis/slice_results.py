"""Results of an analysis on slices: groups of parts with more errors than the rest."""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.quality.estimates import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTest:
    """Test of one kind of error: a slice against all other parts, on labels that represent all parts.

    ``errors`` of ``labels`` (defective parts for escapes, good ones for overkill) are compared with the same numbers of
    the rest. ``p`` is two-sided, by Fisher's exact test; ``q`` is corrected for all tests of the analysis (Benjamini
    and Hochberg).
    """

    errors: int
    labels: int
    rest_errors: int
    rest_labels: int
    p: float
    q: float
    is_worse: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Parts that have something in common.

    Parameters
    ----------
    by, name
        Kind and name of the slice, such as ``lot`` and ``L7``, ``class`` and ``crack``, ``signal.brightness`` and
        ``Q1: up to 81.2``.
    parts, labelled, escapes, overkill
        Numbers of inspected parts and of labelled ones; of these, numbers of parts accepted though defective, and
        rejected though good.
    escape, overkill_test
        Tests against the rest; None if there is nothing to compare.
    is_significant
        True if the slice is worse than the rest in one of the tests, with q of at most 0.05.
    worse_in
        ``escape`` or ``overkill``: the worse test with the smaller p; empty if the slice is worse in neither.
    """

    by: str
    name: str
    parts: int
    labelled: int
    escapes: int
    overkill: int
    escape_rate: Estimate
    overkill_rate: Estimate
    escape: SliceTest | None
    overkill_test: SliceTest | None
    worse_in: str
    is_significant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """All slices, the worst first; with the numbers of slices examined, of tests made, and of slices left out.

    Slices are left out if there are too many of one kind. ``truth_like`` are attributes that state the truth, as labels
    do; they do not form slices.
    """

    slices: tuple[Slice, ...]
    looked_at: int
    tests: int
    left_out: int
    truth_like: tuple[str, ...] = ()

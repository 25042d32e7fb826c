"""Advice in sentences: the first thing on the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from replay.analysis.comparison_results import Comparison
from replay.analysis.results import Analysis
from replay.analysis.slice_results import Slice
from replay.analysis.threshold_results import Recommendation
from replay.report.words import count, number, percent, plural

#: Share of errors among the good or the defective parts above which a threshold is unusable.
_UNUSABLE = 0.5


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do or to know; ``kind`` is good, act or know."""

    kind: str
    title: str
    text: str


def advise(analysis: Analysis, comparison: Comparison | None = None) -> tuple[Advice, ...]:
    """Return the gate's decision, the threshold, the worst slice, and the warnings, as advice."""
    found = [*_gate(comparison), _threshold(analysis.recommendation), *_slice(analysis)]
    warnings = [*analysis.warnings, *analysis.recommendation.warnings, *(comparison.warnings if comparison else ())]
    found += [Advice("know", "Beware", _sentence(text)) for text in dict.fromkeys(warnings)]
    return tuple(found)


def _gate(comparison: Comparison | None) -> Iterator[Advice]:
    if comparison is None:
        return
    kinds = {"promote": "good", "do not promote": "act"}
    reasons = " ".join(_sentence(check.sentence) for check in comparison.gate.checks if check.outcome != "pass")
    decision = comparison.gate.decision
    words = {"promote": f"Promote {comparison.challenger}", "do not promote": f"Do not promote {comparison.challenger}"}
    title = words.get(decision, f"Whether to promote {comparison.challenger} is undecided")
    yield Advice(kinds.get(decision, "know"), title, reasons or "Every condition of the gate is met.")


def _threshold(found: Recommendation) -> Advice:
    ratio = f"if an escape costs {found.cost_ratio:g} overkills"
    if found.threshold is None:
        return Advice("know", "No threshold can be recommended", _sentence(found.why_not or "too few labels"))
    present = "" if found.present_threshold is None else f", now {number(found.present_threshold)}"
    if not found.is_change:
        text = f"None is cheaper on these labels, {ratio}."
        if found.warnings:
            return Advice("know", "No better threshold is known", text)
        one = "thresholds" if found.present_threshold is None else f"threshold {number(found.present_threshold)}"
        return Advice("good", f"Keep the {one}", text)
    text = f"It is the cheapest on these labels, {ratio}"
    if found.low is not None and found.high is not None:
        text += f"; with these labels it lies between {number(found.low)} and {number(found.high)}"
    text += (
        f". Escape rate {percent(found.escape_rate)} instead of {percent(found.present_escape_rate)}, overkill rate "
        f"{percent(found.overkill_rate)} instead of {percent(found.present_overkill_rate)}"
        f"{', if the score alone decided and nothing went to review' if found.ignores_review else ''}"
    )
    if found.saving_per_1000 is not None and found.saving_low is not None and found.saving_high is not None:
        between = f"{number(found.saving_low, 1)} to {number(found.saving_high, 1)}"
        if found.saving_low > 0:
            text += f". In 1,000 parts it saves what {number(found.saving_per_1000, 1)} overkills cost ({between})"
        else:
            text += f". It may save nothing: what {between} overkills cost, in 1,000 parts"
    if found.is_supported:
        return Advice("act", f"Set the threshold to {number(found.threshold)}{present}", f"{text}.")
    if max(found.escape_rate or 0.0, found.overkill_rate or 0.0) > _UNUSABLE:
        title = "No threshold is of use for this cost ratio"
        return Advice("know", title, f"The cheapest is {number(found.threshold)}{present}. {text}.")
    title = f"A threshold of {number(found.threshold)} may be better{present}; this is not sure enough to change it"
    return Advice("know", title, f"{text}. Label more parts, and try it on recorded ones (inspection replay).")


def _slice(analysis: Analysis) -> Iterator[Advice]:
    worst = next((one for one in analysis.slices.slices if one.is_significant), None)
    looked_at = f"{analysis.slices.tests} tests were made, and corrected for"
    if worst is not None:
        yield Advice("act", f"Look into {where(worst)}", f"{_worse(worst)}; {looked_at}.")
    elif analysis.slices.tests:
        yield Advice(
            "good", "No slice stands out", f"None of {count(analysis.slices.looked_at)} is worse than the rest by more "
            f"than chance; {looked_at}.",
        )  # fmt: skip


def where(one: Slice) -> str:
    """Return the name of a slice in words."""
    return f"{one.by.removeprefix('signal.').removeprefix('attribute.')} {one.name}"


def _worse(one: Slice) -> str:
    test = one.escape if one.worse_in == "escape" else one.overkill_test
    if test is None:
        return "It is worse than the rest"
    what, of = ("accepted", "defective") if one.worse_in == "escape" else ("rejected", "good")
    return (
        f"{count(test.errors)} of {plural(test.labels, f'{of} part')} {what}, of the others "
        f"{count(test.rest_errors)} of {count(test.rest_labels)} (q = {number(test.q)})"
    )


def moved(found: Recommendation) -> Iterator[str]:
    """Describe the changes that another threshold would have made on this stretch."""
    words = {"ACCEPT": "accepted", "REJECT": "rejected", "REVIEW": "sent to review"}
    for one in found.moved:
        labelled = one.good + one.defective
        known = (
            f"; of {plural(labelled, 'label')} {count(one.good)} good, {count(one.defective)} defective"
            if labelled
            else ""
        )
        yield (
            f"{plural(one.parts, 'part')} {words.get(one.was, one.was)} then would be "
            f"{words.get(one.becomes, one.becomes)}{known}"
        )


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")

"""Sentences and counts of the page about the stretch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.quality.label_index import LabelCounts
from replay.analysis.results import Analysis
from replay.analysis.table import Table
from replay.past.selection import Selection
from replay.report import words


@dataclass(frozen=True, slots=True, kw_only=True)
class DataQuality:
    """Facts about the data beside the table; None for facts that nobody determined.

    Parameters
    ----------
    labels
        Counts of the labels that were read (`LabelIndex.counts`).
    labels_waiting
        Number of labelled frames and parts that are not in this stretch (`LabelIndex.waiting`).
    unreadable
        Number of messages that are not a valid frame or decision.
    reproduced, not_reproduced
        Numbers of frames whose decision was the same again, and whose decision was not; ``differences`` are sentences.
    """

    labels: LabelCounts | None = None
    labels_waiting: int | None = None
    unreadable: int | None = None
    reproduced: int | None = None
    not_reproduced: int | None = None
    differences: Sequence[str] = ()


def lead(analysis: Analysis, table: Table) -> str:
    """Return the first sentences of the page."""
    extent, rates = analysis.extent, analysis.rates
    lines = sorted({str(line) for line in table["line"]})
    text = (
        f"{words.plural(extent.inspected, 'part')} inspected on {words.plural(len(extent.cameras), 'camera')}"
        f" ({_some(extent.cameras)}) of line {_some(lines)}, from {words.time(extent.from_us)} to"
        f" {words.time(extent.to_us)};"
        f" {words.count(extent.labelled)} have a label, {words.count(extent.labelled_defective)} of them defective."
    )
    if rates.escape_rate.value is not None:
        text += f" Of 100 defective parts about {_of_100(rates.escape_rate.value)} were accepted"
        if rates.overkill_rate.value is not None:
            text += f", of 100 good ones {_of_100(rates.overkill_rate.value)} rejected"
        text += "."
    return text


def _of_100(share: float) -> str:
    """Return a share as parts of 100: whole parts if there are many.

    Examples
    --------
    >>> _of_100(0.2813), _of_100(0.3), _of_100(1.0), _of_100(0.0179), _of_100(0.0001)
    ('28', '30', '100', '1.8', '0.01')
    """
    return words.number(share * 100, 0 if share >= 0.1 else 1)


def origin(analysis: Analysis, selection: Selection | None) -> str:
    """Describe the models that decided, and the selection."""
    text = f"Decided by {analysis.decider}: {_some(analysis.extent.models)}."
    given = {} if selection is None else selection.to_json()
    chosen = [_chosen(name, value) for name, value in given.items() if name not in ("selection", "clock")]
    return f"{text} Selected: {'; '.join(chosen)}." if chosen else text


def _chosen(name: str, value: Any) -> str:
    """Describe one field of a selection.

    Examples
    --------
    >>> _chosen("from_us", 1_700_000_000_000_000), _chosen("lots", ("L1", "L2")), _chosen("last", 500)
    ('from 2023-11-14 22:13:20 UTC', 'lots L1, L2', 'last 500')
    """
    name, unit, _ = name.partition("_us")
    if name in ("from", "to"):
        return f"{name} {words.time(value)}"
    if unit:
        return f"{name.replace('_', ' ')} {words.milliseconds(value / 1000)}"
    if isinstance(value, dict):
        return f"{name} " + ", ".join(f"{number}:{begin}-{end}" for number, (begin, end) in value.items())
    return f"{name} {_some([str(one) for one in value]) if isinstance(value, list | tuple) else value}"


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name[:80] for name in names[:most]) + more


def headline(analysis: Analysis) -> list[dict[str, str]]:
    """Return the figures that people read first."""
    rates = analysis.rates
    shown = (
        ("Escape rate", rates.escape_rate, "of the defective parts were accepted"),
        ("Overkill rate", rates.overkill_rate, "of the good parts were rejected"),
        ("Accuracy", rates.accuracy, "of the accepted and rejected parts rightly so"),
    )
    found = []
    for name, estimate, about in shown:
        if estimate.value is None:
            found.append({"name": name, "value": words.NONE, "about": estimate.why_not})
        else:
            sure = f"95 % interval {words.bounds(estimate)}, from {words.plural(estimate.labels, 'label')}"
            if estimate.low == estimate.high:
                sure = f"known: {words.bounds(estimate)}"
            found.append({
                "name": name, "value": words.percent(estimate.value),
                "about": f"{about}; {sure}",
            })  # fmt: skip
    extent = analysis.extent
    missing = extent.aborted + extent.failed + extent.undecided
    about = f"{words.count(extent.aborted)} shed, {words.count(extent.failed)} failed"
    about += f", {words.count(extent.undecided)} without a decision"
    return [*found, {"name": "Not inspected", "value": words.count(missing), "about": about}]


def deadlines(analysis: Analysis) -> str:
    """Describe the missed deadlines."""
    found = analysis.latency.all
    if not found.with_deadline:
        return "No frame had a deadline."
    return (
        f"{words.plural(found.with_deadline, 'frame')} had a deadline: {words.count(found.late)} inspected and decided"
        f" after it, {words.count(found.shed)} not inspected for it."
    )


def duplicates(analysis: Analysis) -> list[tuple[str, int]]:
    """Count the parts and images that occur more than once."""
    found = analysis.duplicates
    return [
        ("parts that a camera took several frames of", found.parts_seen_again),
        ("of those, judged both OK and NOT_OK", found.contradictory_parts),
        ("images under more than one frame id", found.images_seen_again),
        ("of those, judged both OK and NOT_OK", found.contradictory_images),
        ("frames that were published again", found.frames_published_again),
    ]


def facts(analysis: Analysis, quality: DataQuality) -> Any:
    """Yield the facts behind the figures: name, count and meaning."""
    extent, count = analysis.extent, words.count
    yield "frames", count(extent.frames), "each counted once, however often it was published"
    yield "inspected", count(extent.inspected), f"by {analysis.decider}: what all figures are of"
    yield "shed", count(extent.aborted), "not inspected, for want of time"
    yield "failed", count(extent.failed), "not readable, or a fault of the model"
    yield "without a decision", count(extent.undecided), ""
    yield "labelled", count(extent.labelled), f"{count(extent.labelled_defective)} defective"
    yield "accepted and drawn at random", count(extent.random_accepted), "labelled: what escapes are estimated from"
    if quality.labels is not None:
        found = quality.labels
        yield "labels read", count(found.labels), f"and {count(found.duplicates)} copies"
        yield "labels corrected", count(found.corrections), "the newest counts"
        yield "labels that contradict", count(found.contradictions), "of one and the same time: defective counts"
        yield "labels undecided", count(found.undecided), "they say nothing"
    if quality.labels_waiting is not None:
        yield "labels without a frame here", count(quality.labels_waiting), "of another stretch, too late, or misspelt"
    if quality.unreadable is not None:
        yield "messages that could not be read", count(quality.unreadable), ""
    if quality.reproduced is not None:
        yield "decisions reproduced", count(quality.reproduced), "the same again, apart from times"
        yield "not reproduced", count(quality.not_reproduced or 0), ""


def heat_about(kinds: set[str], model: str) -> str:
    """Describe the pictures and heat maps."""
    of = f" of {model}" if model else ""
    texts = ["Each picture is made small for the page; the frame itself lies where the command line says."]
    if "occlusion" in kinds:
        texts.append(
            f"The heat map{of} shows what hiding each place does to the score (occlusion; Zeiler and Fergus, 2014): "
            "red where the place speaks for a defect, blue where it speaks against one. It says what the model looks "
            "at, and not where the defect is."
        )
    if "anomaly" in kinds:
        texts.append(f"The heat map{of} is the model's own: the redder, the less it looks like the good parts.")
    return " ".join(texts)

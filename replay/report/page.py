"""The report: one HTML file with everything in it, that opens without a network and asks for nothing.

The page forbids itself all requests and all scripts but its own three (Content Security Policy Level 3, by hash): even
if a name out of a message got through the template's escaping, nothing would run.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.analysis.results import Analysis, Comparison
from replay.report import figures as draw
from replay.report import words
from replay.report.advice import advise, moved
from replay.report.gallery import Gallery
from replay.report.parts import describe
from replay.selection import Selection
from replay.table import Table
from replay.truths import TruthCounts
from schemas.errors import SettingsError

_FOLDER = Path(__file__).parent
#: Rows of a table on the page; all of them are in the JSON and the rows file.
_MAX_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DataQuality:
    """What is known of the data beside the table; None: nobody looked.

    Parameters
    ----------
    labels
        What became of the labels that were read (`Truths.counts`).
    labels_waiting
        Labelled frames and parts that are none of this stretch (`Truths.waiting`).
    unreadable
        Messages that are no frame or no decision.
    reproduced, not_reproduced
        Frames whose decision came out the same again, and those where it did not; ``differences`` are sentences.
    """

    labels: TruthCounts | None = None
    labels_waiting: int | None = None
    unreadable: int | None = None
    reproduced: int | None = None
    not_reproduced: int | None = None
    differences: Sequence[str] = ()


def write_report(
    path: Path,
    analysis: Analysis,
    table: Table,
    *,
    comparison: Comparison | None = None,
    gallery: Gallery | None = None,
    selection: Selection | None = None,
    quality: DataQuality | None = None,
    title: str = "",
    heat_maps_of: str = "",
) -> None:
    """Write the report of an analysis; the file is there when it is whole, and not before.

    Parameters
    ----------
    table
        That was analysed.
    comparison
        Champion against challenger, where there is one.
    gallery
        See `Gallery.choose` and `Gallery.with_pictures`; None: no pictures.
    selection
        What was meant, to be said on the page.
    heat_maps_of
        Name of the model that the heat maps are of.

    Raises
    ------
    SettingsError
        If the file cannot be written, or jinja2 or plotly is not installed.
    """
    page = _render(analysis, table, comparison, gallery, selection, quality or DataQuality(), title, heat_maps_of)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
        try:
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(handle, 0o666 & ~umask)
            with open(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(page)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error


def _render(
    analysis: Analysis,
    table: Table,
    comparison: Comparison | None,
    gallery: Gallery | None,
    selection: Selection | None,
    quality: DataQuality,
    title: str,
    heat_maps_of: str,
) -> str:
    try:
        import jinja2
        from jinja2.utils import htmlsafe_json_dumps
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise SettingsError("a report needs jinja2 and plotly: pip install 'streaming-inspection[analysis]'") from error
    # A browser reads every kind of line end as one, and hashes what it has read.
    plotly = get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    figures = _figures(analysis, table, comparison)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    cards = [] if gallery is None else [gallery.card(row) for row in gallery.rows]
    return environment.get_template("page.html.j2").render(
        policy=_policy(plotly, script),
        title=title or f"Inspection of {words.time(analysis.extent.from_us, seconds=False)}",
        css=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        js=Markup(script),
        plotly=Markup(plotly),
        data=htmlsafe_json_dumps(figures, allow_nan=False),
        figures=figures,
        w=words,
        a=analysis,
        comparison=comparison,
        changed=comparison.changed[:_MAX_ROWS] if comparison is not None else (),
        slices=analysis.slices.slices[:_MAX_ROWS],
        gallery=gallery,
        describe=lambda row: describe(table, row, analysis.deciders),
        has_heat=any(card.heat for card in cards),
        has_boxes=any(card.boxes for card in cards),
        heat_about=_heat_about({card.heat_kind for card in cards if card.heat}, heat_maps_of),
        advice=advise(analysis, comparison),
        moved=list(moved(analysis.recommendation)) if analysis.recommendation.is_change else [],
        lead=_lead(analysis, table),
        origin=_origin(analysis, selection),
        headline=_headline(analysis),
        rates=[
            ("defective parts accepted (escape rate)", analysis.rates.escape_rate),
            ("good parts rejected (overkill rate)", analysis.rates.overkill_rate),
            ("accepted parts that are defective", analysis.rates.escapes_among_accepts),
            ("rejected parts that are good", analysis.rates.overkill_among_rejects),
            ("rightly accepted or rejected (accuracy)", analysis.rates.accuracy),
        ],
        deadlines=_deadlines(analysis),
        duplicates=_duplicates(analysis),
        facts=list(_facts(analysis, quality)),
        differences=list(quality.differences)[:_MAX_ROWS],
        contents=_contents(analysis, comparison, gallery, figures),
        footer="Streaming Inspection. Times are UTC, intervals of 95 %. The page is complete, and asks for nothing.",
    )


def _policy(*scripts: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'"
    )


def _figures(analysis: Analysis, table: Table, comparison: Comparison | None) -> dict[str, draw.Figure]:
    found: dict[str, draw.Figure | None] = {
        "scores": draw.scores(table, analysis),
        "calibration": draw.calibration(analysis),
        "latency": draw.latency(table),
    }
    if analysis.curve is not None and len(analysis.curve.thresholds):
        found["cost"] = draw.cost(analysis.curve, analysis)
        found["rates"] = draw.rates(analysis.curve, analysis)
    if analysis.time_line is not None and len(analysis.time_line.begin_us):
        found["time_line"] = draw.time_line(analysis.time_line)
    if comparison is not None:
        found["compared"] = draw.compared(table, comparison)
    return {name: figure for name, figure in found.items() if figure is not None}


def _contents(
    analysis: Analysis, comparison: Comparison | None, gallery: Gallery | None, figures: Mapping[str, Any]
) -> list[tuple[str, str]]:
    parts = [
        ("summary", "Summary", True), ("decisions", "Decisions", True),
        ("thresholds", "Thresholds", "cost" in figures or "calibration" in figures),
        ("comparison", "Comparison", comparison is not None), ("slices", "Slices", bool(analysis.slices.slices)),
        ("gallery", "Gallery", gallery is not None and bool(gallery.sections)),
        ("line", "Line", True), ("data", "Data", True),
    ]  # fmt: skip
    return [(name, title) for name, title, is_there in parts if is_there]


def _lead(analysis: Analysis, table: Table) -> str:
    extent, rates = analysis.extent, analysis.rates
    lines = sorted({str(line) for line in table["line"]})
    text = (
        f"{words.plural(extent.inspected, 'part')} inspected on {words.plural(len(extent.cameras), 'camera')}"
        f" ({_some(extent.cameras)}) of line {_some(lines)}, from {words.time(extent.from_us)} to"
        f" {words.time(extent.to_us)};"
        f" {words.count(extent.labelled)} have a label, {words.count(extent.labelled_defective)} of them defective."
    )
    if rates.escape_rate.value is not None:
        text += f" Of 100 defective parts about {words.number(rates.escape_rate.value * 100, 1)} were accepted"
        if rates.overkill_rate.value is not None:
            text += f", of 100 good ones {words.number(rates.overkill_rate.value * 100, 1)} rejected"
        text += "."
    return text


def _origin(analysis: Analysis, selection: Selection | None) -> str:
    text = f"Decided by {analysis.decider}: {_some(analysis.extent.models)}."
    given = {} if selection is None else selection.to_json()
    chosen = [_chosen(name, value) for name, value in given.items() if name not in ("selection", "clock")]
    return f"{text} Selected: {'; '.join(chosen)}." if chosen else text


def _chosen(name: str, value: Any) -> str:
    """One thing that a selection asks for.

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


def _headline(analysis: Analysis) -> list[dict[str, str]]:
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


def _deadlines(analysis: Analysis) -> str:
    found = analysis.latency.all
    if not found.with_deadline:
        return "No frame had a deadline."
    return (
        f"{words.plural(found.with_deadline, 'frame')} had a deadline: {words.count(found.late)} were decided after it,"
        f" {words.count(found.shed)} not inspected for it."
    )


def _duplicates(analysis: Analysis) -> list[tuple[str, int]]:
    found = analysis.duplicates
    return [
        ("parts that a camera took several frames of", found.parts_seen_again),
        ("of those, judged both OK and NOT_OK", found.contradictory_parts),
        ("images under more than one frame id", found.images_seen_again),
        ("of those, judged both OK and NOT_OK", found.contradictory_images),
        ("frames that were published again", found.frames_published_again),
    ]


def _facts(analysis: Analysis, quality: DataQuality) -> Any:
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


def _heat_about(kinds: set[str], model: str) -> str:
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

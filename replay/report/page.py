"""Report page of an analysis, see `replay.report.document`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replay.analysis.comparison_results import Comparison
from replay.analysis.results import Analysis
from replay.analysis.table import Table
from replay.past.selection import Selection
from replay.report import plots as draw
from replay.report import sentences, words
from replay.report.advice import advise, moved
from replay.report.document import render, write_document
from replay.report.gallery import Gallery
from replay.report.parts import describe
from replay.report.sentences import DataQuality

#: Maximum rows of a table on the page; all rows are in the JSON and the rows file.
_MAX_ROWS = 200


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
    """Write the report of an analysis; the file appears only when it is complete.

    Parameters
    ----------
    table
        The analysed table.
    comparison
        Champion against challenger; None if nothing was compared.
    gallery
        See `Gallery.choose` and `Gallery.with_pictures`; None for no pictures.
    selection
        Selection to describe on the page.
    heat_maps_of
        Name of the model of the heat maps.

    Raises
    ------
    SettingsError
        If the file cannot be written, or jinja2 or plotly is not installed.
    """
    page = _render(analysis, table, comparison, gallery, selection, quality or DataQuality(), title, heat_maps_of)
    write_document(path, page)


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
    figures = _figures(analysis, table, comparison)
    cards = [] if gallery is None else [gallery.card(row) for row in gallery.rows]
    return render(
        "page.html.j2",
        figures,
        title=title or f"Inspection of {words.time(analysis.extent.from_us, seconds=False)}",
        a=analysis,
        comparison=comparison,
        changed=comparison.changed[:_MAX_ROWS] if comparison is not None else (),
        slices=analysis.slices.slices[:_MAX_ROWS],
        gallery=gallery,
        describe=lambda row: describe(table, row, analysis.deciders),
        has_heat=any(card.heat for card in cards),
        has_boxes=any(card.boxes for card in cards),
        heat_about=sentences.heat_about({card.heat_kind for card in cards if card.heat}, heat_maps_of),
        advice=advise(analysis, comparison),
        moved=list(moved(analysis.recommendation)) if analysis.recommendation.is_change else [],
        lead=sentences.lead(analysis, table),
        origin=sentences.origin(analysis, selection),
        headline=sentences.headline(analysis),
        rates=[
            ("defective parts accepted (escape rate)", analysis.rates.escape_rate),
            ("good parts rejected (overkill rate)", analysis.rates.overkill_rate),
            ("accepted parts that are defective", analysis.rates.escapes_among_accepts),
            ("rejected parts that are good", analysis.rates.overkill_among_rejects),
            ("rightly accepted or rejected (accuracy)", analysis.rates.accuracy),
        ],
        deadlines=sentences.deadlines(analysis),
        duplicates=sentences.duplicates(analysis),
        facts=list(sentences.facts(analysis, quality)),
        differences=list(quality.differences)[:_MAX_ROWS],
        contents=_contents(analysis, comparison, gallery, figures),
        footer="Streaming Inspection. Times are UTC, intervals of 95 %. The page is complete, and asks for nothing.",
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

"""Report page: one complete HTML file that opens without a network and makes no requests.

The page forbids itself all requests and all scripts except its own three (Content Security Policy Level 3, by hash).
Even if a name from a message got through the template's escaping, nothing would run.
"""

from __future__ import annotations

import base64
import hashlib
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
from replay.report.gallery import Gallery
from replay.report.parts import describe
from replay.report.sentences import DataQuality
from schemas.errors import SettingsError
from schemas.private_files import open_new

_FOLDER = Path(__file__).parent
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
    try:
        handle, temporary = open_new(path.parent, f".{path.name[:100]}.", ".part")
        try:
            with open(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(page)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error


def check_installed() -> None:
    """Refuse a report early if it could not be made.

    Raises
    ------
    SettingsError
        If jinja2 or plotly is not installed.
    """
    try:
        import jinja2 as _jinja2  # noqa: F401
        import plotly.offline as _plotly  # noqa: F401
    except ImportError as error:
        raise SettingsError("a report needs jinja2 and plotly: pip install 'streaming-inspection[analysis]'") from error


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
    check_installed()
    import jinja2
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    # A browser normalises all line ends before it hashes a script.
    plotly = get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    figures = _figures(analysis, table, comparison)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
        finalize=lambda value: words.visible(value) if type(value) is str else value,
    )  # fmt: skip
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

"""Report page of a run over files: histogram of the scores, pictures worth a look, failed files."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from models.errors import ImageError
from models.manifest import Manifest
from replay.predict.child import read_file
from replay.predict.figures import PredictionFigures
from replay.predict.rows import FileRow
from replay.predict.unfinished import UnfinishedRun
from replay.report import plots, words
from replay.report.cards import Card, card_of
from replay.report.document import render, write_document
from replay.report.parts import Bar, score_bar
from schemas.records import Action
from stream_processors.worker.frame_processor import InspectionFailure

_COLOURS = ((Action.ACCEPT, plots.GREEN), (Action.REVIEW, plots.AMBER), (Action.REJECT, plots.RED))
_ABOUT_ACTIONS = {
    Action.ACCEPT: "images that the gate would let through",
    Action.REVIEW: "images that a person would look at",
    Action.REJECT: "images that the gate would reject, failed ones too",
}


@dataclass(frozen=True, slots=True)
class PictureSection:
    """Pictures of one kind, each with its row and its score."""

    title: str
    about: str
    cards: tuple[tuple[Card, FileRow, Bar | None], ...]


def write_page(path: Path, run: UnfinishedRun, figures: PredictionFigures, manifest: Manifest, title: str) -> None:
    """Write the page; only the files of the gallery are read again.

    Raises
    ------
    SettingsError
        If it cannot be written, or a package for reports is not installed.
    """
    rule = manifest.decision
    sections = _sections(run, figures)
    plotted = {} if not figures.histogram else {"scores": _histogram(figures, manifest)}
    more_failed = figures.failed_count - len(figures.failed)
    parts = (
        ("summary", "Summary", True), ("scores", "Scores", bool(plotted)), ("gallery", "Gallery", bool(sections)),
        ("failed", "Failed", bool(figures.failed)),
    )  # fmt: skip
    page = render(
        "files.html.j2",
        plotted,
        title=title,
        lead=f"{words.plural(figures.images, 'file')} inspected by {manifest.name} {manifest.version}, "
        f"threshold {words.number(rule.threshold)}.",
        origin=f"Model sha256 {manifest.sha256[:16]}, recipe {rule.recipe_id} {manifest.recipe_revision}. "
        "The decisions are those of the line for the same images.",
        contents=[(name, text) for name, text, is_there in parts if is_there],
        headline=list(_headline(figures)),
        remarks=[
            (f"{words.plural(count, 'image')}: {kind}", f"The first: {text}")
            for kind, (count, text) in sorted(figures.remarks.items())
        ],
        sections=sections,
        has_boxes=any(card.boxes for section in sections for card, _, _ in section.cards),
        failed=figures.failed,
        more_failed=more_failed,
        footer="Streaming Inspection. The page is complete, and asks for nothing.",
    )
    write_document(path, page)


def _headline(figures: PredictionFigures) -> Iterator[tuple[str, str, str]]:
    for action, about in _ABOUT_ACTIONS.items():
        count = figures.actions[action]
        share = words.percent(count / figures.images) if figures.images else words.NONE
        yield action.value, words.count(count), f"{about}: {share}"
    kinds = ", ".join(f"{words.count(count)} {kind}" for kind, count in figures.failures.most_common(5))
    yield "failed", words.count(figures.failed_count), kinds or "every file could be inspected"


def _histogram(figures: PredictionFigures, manifest: Manifest) -> plots.Figure:
    rule = manifest.decision
    marks = [(rule.threshold, f"threshold {rule.threshold:.3g}", plots.GREY)]
    if rule.review_band is not None:
        marks += [(end, f"review {end:.3g}", plots.AMBER) for end in rule.review_band]
    groups = [
        (action.value, colour, figures.histogram[action]) for action, colour in _COLOURS if action in figures.histogram
    ]
    return plots.score_bars(groups, marks, "images")


def _sections(run: UnfinishedRun, figures: PredictionFigures) -> list[PictureSection]:
    kinds = (
        ("Rejected", "The rejected images with the highest scores.", figures.rejected),
        ("Nearest to the threshold", "A small change of light or threshold decides these the other way.",
         figures.nearest),
    )  # fmt: skip
    paths = _paths(run, [number for _, _, rows in kinds for number, _ in rows])
    folder = str(run.plan["folder"])
    return [
        PictureSection(title, about, tuple(_entry(number, row, folder, paths[number]) for number, row in rows))
        for title, about, rows in kinds
        if rows
    ]


def _paths(run: UnfinishedRun, numbers: Sequence[int]) -> dict[int, str]:
    """Return the paths of some files, which a row has in an escaped form only."""
    wanted = set(numbers)
    every = enumerate(islice(run.paths(), max(wanted, default=-1) + 1))
    return {number: path for number, path in every if number in wanted}


def _entry(number: int, row: FileRow, folder: str, path: str) -> tuple[Card, FileRow, Bar | None]:
    bar = score_bar("score", *(math.nan if value is None else value for value in (row.score, row.threshold)))
    return _card(number, row, os.path.join(folder, path)), row, bar


def _card(number: int, row: FileRow, path: str) -> Card:
    data: Any = read_file(path)
    if isinstance(data, InspectionFailure):
        return Card(row=number, missing=f"{data.kind}: {data.reason}"[:200])
    if hashlib.sha256(data).hexdigest() != row.image_sha256:
        return Card(row=number, missing="the file has changed since it was inspected")
    try:
        return card_of(number, data, row.defects)
    except ImageError as error:
        return Card(row=number, missing=f"{error.kind}: {error}"[:200])

"""`inspection export`: write the past in formats that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.options import ImageStoreUri, Json, Signatures, TrustFolder, TrustTopic, image_store_uri
from infra.cli.shared.selection_options import SelectionArgs, takes_selection
from infra.cli.shared.signature_options import echo_unsigned_labels, with_signed_labels
from infra.cli.shared.terminal_text import echo, echo_json

if TYPE_CHECKING:
    from replay.export import Exported

app = typer.Typer(no_args_is_help=True, help="Frames and decisions for other tools: COCO, folders, Parquet, CSV.")

Folder = Annotated[Path, typer.Argument(help="New or empty folder.", show_default=False)]
WithLabels = Annotated[bool, typer.Option("--labels/--no-labels", help="Write the truth that labels tell.")]


@app.command()
@takes_selection
def coco(
    chosen: SelectionArgs,
    folder: Folder,
    boxes: Annotated[
        bool, typer.Option("--boxes/--no-boxes", help="Write the defects that the model found, for correction.")
    ] = True,
    with_labels: WithLabels = True,
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    image_store: ImageStoreUri = None,
    as_json: Json = False,
) -> None:
    """Write images and boxes as a COCO data set, which labelling tools import.

    Defects that a model found are boxes with a score, for a person to correct; they are not the truth. Labels are
    attributes of the images.

        inspection export coco to-label --last 8h --verdict REJECT
    """
    from replay.export import export_coco

    chosen = replace(chosen, source=with_signed_labels(chosen.source, trust, trust_topic, signatures))
    with _frames(chosen, with_labels, image_store) as given:
        _say(export_coco(folder, given.frames, given.truths, store=given.store, boxes=boxes), as_json)


@app.command("folder")
@takes_selection
def folder_(
    chosen: SelectionArgs,
    folder: Folder,
    with_labels: WithLabels = True,
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    image_store: ImageStoreUri = None,
    as_json: Json = False,
) -> None:
    """Write images into good/, defective/ and unlabelled/, with a labels.csv to fill in.

    inspection export folder to-label --last 500
    (fill in truth and defect in to-label/labels.csv)
    inspection label --csv to-label/labels.csv
    """
    from replay.export import export_folder

    chosen = replace(chosen, source=with_signed_labels(chosen.source, trust, trust_topic, signatures))
    with _frames(chosen, with_labels, image_store) as given:
        _say(export_folder(folder, given.frames, given.truths, store=given.store), as_json)


@app.command()
@takes_selection
def rows(
    chosen: SelectionArgs,
    file: Annotated[Path, typer.Argument(help="Ends with .parquet, .csv or .jsonl.", show_default=False)],
    with_labels: WithLabels = True,
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    truth_attribute: Annotated[
        str | None, typer.Option(help="Attribute of frames that tells the truth if there is no label, as `label`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a row for each frame, with decision, measurements and label: for a notebook or a spreadsheet.

    The command reads decisions only: the frames may be deleted already.

        inspection export rows shift.parquet --from 2026-11-24T06:00 --to 2026-11-24T14:00
    """

    from infra.cli.shared.progress import reading
    from monitoring.quality.label_index import LabelIndex
    from replay.export import Rows
    from replay.export.write import check_file
    from replay.past.reads import empty_selection_error, read_labels, recorded_frames
    from schemas.records import Decision

    check_file(file)
    chosen = replace(chosen, source=with_signed_labels(chosen.source, trust, trust_topic, signatures))
    with reading() as show:
        truths = (
            LabelIndex(read_labels(chosen.source, chosen.selection.from_us, on_progress=show)) if with_labels else None
        )
        found = _some(
            recorded_frames(chosen.source, chosen.selection, on_progress=show),
            lambda: empty_selection_error(chosen.source, record=Decision),
        )
        count = Rows(lambda: found, lambda: truths or LabelIndex(), truth_attribute=truth_attribute).write(file)
    echo_unsigned_labels(chosen.source)
    if as_json:
        echo_json({"path": str(file), "rows": count})
    else:
        echo(f"{count} rows: {file}")


class _Given:
    def __init__(self, frames: Iterator[Any], truths: Any, store: Any) -> None:
        self.frames, self.truths, self.store = frames, truths, store


@contextmanager
def _frames(chosen: SelectionArgs, with_labels: bool, image_store: str | None) -> Iterator[_Given]:
    """Yield frames with decisions, and labels, with a progress bar; refuse an empty selection before any write."""
    from infra.cli.shared.progress import reading
    from monitoring.quality.label_index import LabelIndex
    from replay.past.reads import empty_selection_error, read_labels
    from replay.past.resolved_selection import ResolvedSelection
    from transport.image_store import ImageStore

    store = ImageStore(image_store_uri(image_store))
    with reading() as show, ResolvedSelection(chosen.source, chosen.selection, on_progress=show) as resolved:
        truths = (
            LabelIndex(read_labels(chosen.source, chosen.selection.from_us, on_progress=show)) if with_labels else None
        )
        echo_unsigned_labels(chosen.source)
        frames = resolved.frames(on_progress=lambda done, count: show("frames", done, count))
        yield _Given(_some(frames, lambda: empty_selection_error(chosen.source)), truths, store)


def _some(read: Iterator[Any], empty_selection_error: Callable[[], Exception]) -> Iterator[Any]:
    """Return an iterator over the same items; raise at once if there is no item."""
    from itertools import chain

    for first in read:
        return chain([first], read)
    raise empty_selection_error()


def _say(found: Exported, as_json: bool) -> None:

    if as_json:
        counts = {
            "path": str(found.path), "images": found.images, "boxes": found.boxes, "truths": found.truths,
            "repeated": found.repeated, "left_out": dict(found.left_out),
        }  # fmt: skip
        echo_json(counts)
        return
    boxes = f", {found.boxes} boxes" if found.boxes else ""
    echo(f"{found.images} images{boxes}, {found.truths} with a known truth: {found.path}")
    if found.repeated:
        echo(f"  {found.repeated} messages were of frames that are there already")
    for why, count in sorted(found.left_out.items()):
        echo(f"  {count} left out: {why}")

"""`inspection model init`: make a model package from an ONNX file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.setup.model_facts import (
    ActivationFact,
    AlignmentFact,
    BayerFact,
    BitDepthFact,
    BoxFact,
    ColourFact,
    CoordinatesFact,
    DataFact,
    FirstClassFact,
    GoodLabelFact,
    LabelsFact,
    LabelThresholdsFact,
    LayoutFact,
    LicenceFact,
    MapRangeFact,
    MeanFact,
    MinAreaFact,
    OutputFact,
    ResizeFact,
    RoiFact,
    ScaleFact,
    SizeFact,
    SplitFact,
    StdFact,
    SuppressionFact,
    TaskFact,
    ThresholdFact,
    TileOverlapFact,
    TilesFact,
    WindowFact,
    fact,
    word,
)
from infra.cli.shared.options import Json, as_text
from infra.cli.shared.terminal_text import echo, echo_json, shown
from schemas.errors import SettingsError
from schemas.plain_files import real_path

if TYPE_CHECKING:
    from models.draft import ManifestDraft

#: Largest file of a model: the limit of protobuf.
_MAX_MODEL_BYTES = 2**31 - 1


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="ONNX file of the model.")],
    out: Annotated[Path, typer.Option(help="New or empty directory for the package.")],
    name: Annotated[
        str | None, typer.Option(callback=as_text, help="Name of the model. Default: that of the directory.")
    ] = None,
    model_version: Annotated[str | None, fact("Version of the model. Default: 1.0.0.")] = None,
    task: TaskFact = None,
    colour: ColourFact = None,
    layout: LayoutFact = None,
    size: SizeFact = None,
    scale: ScaleFact = None,
    mean: MeanFact = None,
    std: StdFact = None,
    resize: ResizeFact = None,
    roi: RoiFact = None,
    tiles: TilesFact = None,
    tile_overlap: TileOverlapFact = None,
    bit_depth: BitDepthFact = None,
    alignment: AlignmentFact = None,
    window: WindowFact = None,
    bayer: BayerFact = None,
    output: OutputFact = None,
    activation: ActivationFact = None,
    labels: LabelsFact = None,
    good_label: GoodLabelFact = None,
    threshold: ThresholdFact = None,
    review_band: Annotated[str | None, fact("Scores that a person decides, such as 0.4,0.6.")] = None,
    map_range: MapRangeFact = None,
    box: BoxFact = None,
    coordinates: CoordinatesFact = None,
    first_class: FirstClassFact = None,
    suppression: SuppressionFact = None,
    min_area: MinAreaFact = None,
    label_thresholds: LabelThresholdsFact = None,
    provenance: Annotated[str | None, word("Origin of the weights.")] = None,
    licence: LicenceFact = None,
    data: DataFact = None,
    split: SplitFact = None,
    as_json: Json = False,
) -> None:
    """Make a package from an ONNX file: facts from the file, the rest from options.

    Names, sizes, labels and more are read from the file, all of them if Ultralytics wrote it. The command asks on a
    terminal for a fact that the file does not state; elsewhere it names each option that is missing.

        inspection model init best.onnx --out my_model/ --threshold 0.5

        inspection model init net.onnx --out my_model/ --scale imagenet --colour rgb --threshold 0.5
    """
    from models.draft import draft_manifest
    from models.errors import ModelPackageError

    given = {
        "model_version": model_version, "task": task, "colour": colour, "layout": layout, "size": size, "scale": scale,
        "mean": mean, "std": std, "resize": resize, "roi": roi, "tiles": tiles,
        "tile_overlap": tile_overlap, "bit_depth": bit_depth, "alignment": alignment, "window": window, "bayer": bayer,
        "output": output, "activation": activation,
        "labels": labels, "good_label": good_label, "threshold": threshold, "review_band": review_band,
        "map_range": map_range, "box": box, "coordinates": coordinates, "first_class": first_class,
        "suppression": suppression, "min_area": min_area, "label_thresholds": label_thresholds,
        "provenance": provenance, "licence": licence,
        "data": data, "split": split,
    }  # fmt: skip
    answers = {option: text for option, text in given.items() if text is not None}
    content = _read(file)
    called = name or real_path(out).name
    try:
        draft = draft_manifest(content, called, answers)
        while draft.open and _is_interactive():
            question = draft.open[0]
            answers[question.option] = typer.prompt(shown(question.line), err=True)
            draft = draft_manifest(content, called, answers)
    except ModelPackageError as error:
        raise ModelPackageError(f"{file}: {error}") from error
    if draft.open:
        count = f"{len(draft.open)} facts that" if len(draft.open) > 1 else "a fact that"
        lines = "\n".join(question.line for question in draft.open)
        raise SettingsError(f"{file}: {count} the file does not state; add these options:\n{lines}")
    _write(out, content, draft)
    if as_json:
        echo_json({"package": str(out), "notes": list(draft.notes), "manifest": dict(draft.manifest)})
        return
    for note in draft.notes:
        echo(note)
    following = f"inspection model check {shlex.quote(str(out))} --images DIR"
    echo(f"{out}: a package of {file}, which loads; next: {following}")


def _read(file: Path) -> bytes:
    try:
        if not file.is_file():
            raise SettingsError(f"{file}: no such file" if not file.exists() else f"{file}: not a regular file")
        if file.stat().st_size > _MAX_MODEL_BYTES:
            raise SettingsError(f"{file}: over 2 GiB: quantise the model or make it smaller")
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror or error}") from error


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _write(out: Path, content: bytes, draft: ManifestDraft) -> None:
    """Write the package, and load it; the directory appears only with all files in it."""
    import yaml

    from models.errors import ModelPackageError
    from models.manifest_file import MANIFEST_NAME
    from models.package import load_model
    from replay.export.pictures import new_folder

    with new_folder(out) as folder:
        (folder / "model.onnx").write_bytes(content)
        text = yaml.safe_dump(dict(draft.manifest), sort_keys=False, allow_unicode=True, width=110)
        (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    try:
        load_model(out)
    except ModelPackageError as error:
        cure = f"correct {out / MANIFEST_NAME}, or delete {out} and begin again; then: inspection model check {out}"
        if ": file: " in str(error):
            cure = f"export the model again; delete {out} before you begin again"
        raise ModelPackageError(f"{out} is written, but does not load: {error}\n{cure}") from error

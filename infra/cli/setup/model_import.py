"""`inspection model import`: a model package from a model of another framework."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

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
)
from infra.cli.shared.choices import EmbeddingChoice, choice
from infra.cli.shared.options import Json
from infra.cli.shared.shutdown import kept
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.errors import SettingsError

_LOCKS = Path(__file__).parents[2] / "locks"


def import_model(
    source: Annotated[
        Path,
        typer.Argument(
            help="SavedModel folder of TensorFlow, base folder of TFX Pusher, .keras or .h5 file of Keras; .pt2, "
            "TorchScript or file of weights of PyTorch; model.pt of Anomalib; .onnx, .joblib or .pkl file of a "
            "classifier of scikit-learn."
        ),
    ],
    images: Annotated[Path, typer.Option(help="Directory of images of real parts, all levels of it, for the check.")],
    out: Annotated[Path, typer.Option(help="Directory for the model package.")],
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
    map_range: MapRangeFact = None,
    box: BoxFact = None,
    coordinates: CoordinatesFact = None,
    first_class: FirstClassFact = None,
    suppression: SuppressionFact = None,
    min_area: MinAreaFact = None,
    label_thresholds: LabelThresholdsFact = None,
    licence: LicenceFact = None,
    data: DataFact = None,
    split: SplitFact = None,
    signature: Annotated[str | None, typer.Option(help="Signature of a SavedModel that takes an image.")] = None,
    entry: Annotated[
        str | None,
        typer.Option(
            help="Function that builds the network of a PyTorch file of weights, package:function; it is imported from "
            "the current directory."
        ),
    ] = None,
    embedding: Annotated[
        EmbeddingChoice | None,
        choice("Embedding that a classifier of scikit-learn was fitted to, by models.training.embedding.embed."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Most images for the check.")] = 20,
    python: Annotated[
        Path | None,
        typer.Option(help="Interpreter of yours with the framework. Default: an environment that the command makes."),
    ] = None,
    time_limit: Annotated[float, typer.Option(min=1, max=86_400, help="Time for the framework, in seconds.")] = 600.0,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="The file is yours: it may run code when it is loaded.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the package in --out, once the new one is complete.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Convert a model of another framework, check it against that framework, and write a model package.

    The framework runs in an environment of its own, which the command makes once from a pinned lock and keeps in the
    user's cache folder. It has no network. All that the file does not say is asked for, each with its option.

        inspection model import net.keras --images parts/ --out my_model/ --labels good,bad --threshold 0.5

        inspection model import clf.onnx --embedding lite0 --colour grey --threshold 0.5 --images parts/ --out m/
    """
    from rich.console import Console

    from models.image_folder import why_no_folder
    from models.importers.environment import interpreter, is_ready
    from models.importers.import_model import choose_images
    from models.importers.import_model import import_model as run
    from models.importers.sources import detect
    from models.training.package_folder import check_place

    if not images.is_dir():
        raise SettingsError(f"--images {images}: {why_no_folder(images)}")
    check_place(out, overwrite=overwrite)
    given = {
        "task": task, "colour": colour, "layout": layout, "size": size, "scale": scale, "mean": mean, "std": std,
        "resize": resize, "roi": roi, "tiles": tiles, "tile_overlap": tile_overlap, "bit_depth": bit_depth,
        "alignment": alignment, "window": window, "bayer": bayer, "output": output, "activation": activation,
        "labels": labels, "good_label": good_label, "threshold": threshold, "map_range": map_range, "box": box,
        "coordinates": coordinates, "first_class": first_class, "suppression": suppression, "min_area": min_area,
        "label_thresholds": label_thresholds, "licence": licence, "data": data, "split": split,
    }  # fmt: skip
    answers = {option: text for option, text in given.items() if text is not None}
    found = detect(source, signature=signature, entry=entry, embedding=embedding, trust=trust_pickle)
    if embedding is not None and importlib.util.find_spec("onnx") is None:
        raise SettingsError("--embedding needs onnx: pip install 'streaming-inspection[train]'")
    choose_images(images, count)  # before an environment is made
    with kept("--out", out), Console(stderr=True).status("") as status:
        if not found.framework:
            python = Path(sys.executable)  # not used: the file is ONNX already
        elif python is None:
            lock = _LOCKS / f"import-{found.framework}.lock"
            if not is_ready(found.framework, lock):
                status.update(f"making the environment for {found.framework} (once, some minutes)")
            python = interpreter(found.framework, lock)
        try:
            result = run(
                found, images, out, answers, python=python, count=count, time_limit_s=time_limit, trust=trust_pickle,
                overwrite=overwrite, on_stage=status.update,
            )  # fmt: skip
        except OSError as error:
            raise SettingsError(f"--out {out}: {error.strerror or error}") from error
    if as_json:
        echo_json({"model": str(result.model.path), **result.model.manifest.metrics})
        return
    parity, versions = result.parity, ", ".join(f"{name} {version}" for name, version in result.versions.items())
    for note in result.notes:
        echo(note)
    echo(f"{found.description}, converted with {versions}")
    echo(f"{parity.images} images: scores of package and framework differ by {parity.score_difference:.2g} at most")
    if parity.own_resizing_difference is not None:
        echo(
            f"where the framework decodes and resizes the files itself: by {parity.own_resizing_difference:.2g} at "
            f"most ({parity.worst_resized}); train on images that were resized as the line does it (docs/models.md)"
        )
    echo(f"{result.model.path}: next: inspection model check {result.model.path} --images DIR")

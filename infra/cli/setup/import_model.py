"""`inspection model import`: a model package from a model of another framework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from infra.cli.shared.options import Json
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.errors import SettingsError

_LOCKS = Path(__file__).parents[2] / "locks"


def import_model(
    source: Annotated[
        Path,
        typer.Argument(
            help="SavedModel folder of TensorFlow, base folder of TFX Pusher, .keras or .h5 file of Keras; .pt2, "
            "TorchScript or file of weights of PyTorch."
        ),
    ],
    images: Annotated[Path, typer.Option(help="Directory of images of real parts, all levels of it, for the check.")],
    out: Annotated[Path, typer.Option(help="Directory for the model package; a package that is there is replaced.")],
    labels: Annotated[str | None, typer.Option(help="Names of the classes in the order of training: good,bad.")] = None,
    good_label: Annotated[
        str | None, typer.Option(help="Label of good parts. Default: the one that is called good, ok, normal, pass.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Score from which a part is not good.")] = None,
    colour: Annotated[
        Literal["grey", "rgb", "bgr"] | None,
        typer.Option(case_sensitive=False, help="Channels of the input. Default: from the file."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="Factor for pixels from 0 to 255, such as 1/255. Default: from the file.")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="Mean of each channel behind --scale: 0.485,0.456,0.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Deviation of each channel behind --scale.")] = None,
    size: Annotated[str | None, typer.Option(help="Size of the input, 224x224. Default: from the file.")] = None,
    letterbox: Annotated[
        bool, typer.Option("--letterbox", help="Keep the aspect ratio of images. Default: stretch them.")
    ] = False,
    task: Annotated[
        Literal["classification", "anomaly_map", "detection"] | None,
        typer.Option(case_sensitive=False, help="Task of the model. Default: from the shapes of its outputs."),
    ] = None,
    output: Annotated[
        list[str] | None, typer.Option(help="Output for a role of the manifest, scores=NAME; once for each role.")
    ] = None,
    activation: Annotated[
        Literal["none", "sigmoid", "softmax"] | None,
        typer.Option(
            case_sensitive=False,
            help="Activation that the line applies to the scores. Default: none if the model has one.",
        ),
    ] = None,
    anomaly_range: Annotated[
        str | None, typer.Option(help="Values of an anomaly map that become 0 and 1: 0,40.")
    ] = None,
    box: Annotated[
        Literal["xyxy", "xywh", "cxcywh"] | None,
        typer.Option(case_sensitive=False, help="Meaning of the four numbers of a box."),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights, for the manifest.")] = None,
    signature: Annotated[str | None, typer.Option(help="Signature of a SavedModel that takes an image.")] = None,
    entry: Annotated[
        str | None,
        typer.Option(
            help="Function that builds the network of a PyTorch file of weights, package:function; it is imported from "
            "the current directory."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Most images for the check.")] = 20,
    python: Annotated[
        Path | None,
        typer.Option(help="Interpreter of yours with the framework. Default: an environment that the command makes."),
    ] = None,
    time_limit: Annotated[float, typer.Option(min=1, help="Time for the framework, in seconds.")] = 600.0,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="The file is yours: it may run code when it is loaded.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Convert a model of another framework, check it against that framework, and write a model package.

    The framework runs in an environment of its own, which the command makes once from a pinned lock and keeps in the
    user's cache folder. It has no network. All that the file does not say is asked for, each with its option.

        inspection model import my_model.keras --images parts/ --out my_model/ --labels good,bad --threshold 0.5
    """
    from rich.console import Console

    from models.importers.environment import interpreter, is_ready
    from models.importers.import_model import choose_images
    from models.importers.import_model import import_model as run
    from models.importers.options import ImportOptions
    from models.importers.sources import detect

    if not images.is_dir():
        raise SettingsError(f"--images {images}: no such directory")
    if out.exists() and not out.is_dir():
        raise SettingsError(f"--out {out}: not a directory")
    if out.is_dir() and any(out.iterdir()) and not (out / "manifest.yaml").exists():
        raise SettingsError(f"--out {out}: it has files and is not a model package; name a new folder")
    options = ImportOptions(
        task=task, outputs=_roles(output or []), activation=activation, labels=_names(labels), good_label=good_label,
        size_wh=_size(size), colour=colour, scale=_number("--scale", scale), mean=_numbers("--mean", mean),
        std=_numbers("--std", std), letterbox=letterbox, threshold=threshold, anomaly_range=_range(anomaly_range),
        box=box, licence=licence,
    )  # fmt: skip
    found = detect(source, signature=signature, entry=entry, trust=trust_pickle)
    choose_images(images, count)  # before an environment is made
    with Console(stderr=True).status("") as status:
        if python is None:
            lock = _LOCKS / f"import-{found.framework}.lock"
            if not is_ready(found.framework, lock):
                status.update(f"making the environment for {found.framework} (once, some minutes)")
            python = interpreter(found.framework, lock)
        try:
            result = run(
                found, images, out, options, python=python, count=count, time_limit_s=time_limit, trust=trust_pickle,
                on_stage=status.update,
            )  # fmt: skip
        except OSError as error:
            raise SettingsError(f"--out {out}: {error.strerror or error}") from error
    if as_json:
        echo_json({"model": str(result.model.path), **result.model.manifest.metrics})
        return
    parity, versions = result.parity, ", ".join(f"{name} {version}" for name, version in result.versions.items())
    echo(f"{found.description}, converted with {versions}")
    echo(f"{parity.images} images: scores of package and framework differ by {parity.score_difference:.2g} at most")
    if parity.own_resizing_difference is not None:
        echo(
            f"where the framework decodes and resizes the files itself: by {parity.own_resizing_difference:.2g} at "
            f"most ({parity.worst_resized}); train on images that were resized as the line does it (docs/models.md)"
        )
    echo(f"{result.model.path}: next: inspection demo --folder {images} --model {result.model.path}")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",")) if text else ()


def _roles(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (_, _, name) in zip(texts, pairs, strict=True) if not name]:
        raise SettingsError(f"--output {wrong[0]}: write ROLE=NAME, such as scores=dense_1")
    return {role: name for role, _, name in pairs}


def _number(option: str, text: str | None) -> float | None:
    """Return a number or a fraction such as 1/255."""
    if text is None:
        return None
    above, _, below = text.partition("/")
    try:
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        value = 0.0
    if not 0 < abs(value) < 1e9:
        raise SettingsError(f"{option} {text}: a number such as 0.5 or 1/255")
    return value


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in text.split(",")) if text else ()
    except ValueError:
        raise SettingsError(f"{option} {text}: numbers such as 0.485,0.456,0.406") from None


def _range(text: str | None) -> tuple[float, float] | None:
    found = _numbers("--anomaly-range", text)
    if found and (len(found) != 2 or found[0] >= found[1]):
        raise SettingsError(f"--anomaly-range {text}: two numbers, the smaller one first, such as 0,40")
    return (found[0], found[1]) if found else None


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and 0 < int(width) <= 8192 and 0 < int(height) <= 8192):
        raise SettingsError(f"--size {text}: width and height in pixels, such as 224x224")
    return int(width), int(height)

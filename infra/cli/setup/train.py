"""`inspection train`: a model package from a folder of images of good parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.shared.options import Json
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.errors import SettingsError


def train(
    images: Annotated[
        Path,
        typer.Option(
            help="Directory of images of good parts, all levels of it. If it has a sub-directory `good` (or ok, "
            "normal), its other sub-directories hold defective parts, which are used for a test."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New directory for the model package.")],
    overkill: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Share of good parts that may be rejected.")
    ] = 0.02,
    max_ms: Annotated[float, typer.Option(min=1, help="Longest time of an inspection on one core, in ms.")] = 100.0,
    time_budget: Annotated[float, typer.Option(min=1, help="Time for the training, in seconds.")] = 300.0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the package in --out, once the new one is complete.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Learn what good parts look like, from images alone, and write a model package.

    No network, no GPU and no PyTorch are needed. The command says what it found in the images, tries a few recipes, and
    tests each with synthetic defects on images that it has not learned from.

        inspection train --images good/ --out my_model/
        inspection demo --folder new_parts/ --model my_model/
    """
    from rich.console import Console
    from rich.progress import Progress, TaskID

    try:
        from models.training.package_folder import check_place
        from models.training.train import TrainingOptions
        from models.training.train import train as run
        from models.training.write_package import write_package
    except ModuleNotFoundError as error:
        raise SettingsError("a training needs onnx: pip install 'streaming-inspection[train]'") from error

    from transport.machine import usable_cores

    if not images.is_dir():
        raise SettingsError(f"--images {images}: no such directory")
    check_place(out, overwrite=overwrite)
    options = TrainingOptions(overkill, max_ms, time_budget, usable_cores())
    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=None)
            bar.update(tasks[stage], completed=done, total=total or None)

        result = run(images, options, on_progress)
        try:
            model = write_package(result, out, options, on_progress, overwrite=overwrite)
        except OSError as error:
            raise SettingsError(f"--out {out}: {error.strerror or error}") from error
    if as_json:
        echo_json({"model": str(model.path), **model.manifest.metrics})
        return
    for line in result.survey.lines(images):
        echo(line)
    for candidate in result.tried:
        chosen = " (chosen)" if candidate is result.best else ""
        echo(
            f"recipe {candidate.fit.recipe.name}: AUROC {candidate.quality:.3f} on synthetic defects, "
            f"{candidate.image_ms:.0f} ms an image{chosen}"
        )
    for name, why in result.left_out:
        echo(f"recipe {name} was not tried: {why}")
    for name, area in result.labelled_auroc.items():
        echo(f"AUROC {area:.3f} on the images of {'all defective parts' if name == 'all' else name}")
    for warning in result.warnings:
        echo(f"warning: {warning}")
    echo(f"{model.path}: made in {result.took_s:.0f} s; next: inspection demo --folder DIR --model {model.path}")

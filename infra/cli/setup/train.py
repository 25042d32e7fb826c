"""`inspection train`: a model package from a folder of images of good parts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.shared.choices import AlignmentChoice, BayerChoice, RecipeChoice, choice
from infra.cli.shared.options import Json, as_text
from infra.cli.shared.shutdown import kept
from infra.cli.shared.terminal_text import echo, echo_json, echo_lines
from schemas.errors import SettingsError


def train(
    images: Annotated[
        Path,
        typer.Option(
            help="Directory of images of good parts, all levels of it; or a directory with a sub-directory `good` (or "
            "ok, normal, pass, nominal), whose other sub-directories hold defective parts, one kind each."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New directory for the model package.")],
    good: Annotated[
        list[str] | None,
        typer.Option(help="Sub-directory of good parts, if its name does not say so; `.` if all parts are good."),
    ] = None,
    products: Annotated[
        bool,
        typer.Option("--products", help="The sub-directories within that of good parts are products, with a map each."),
    ] = False,
    overkill: Annotated[
        float,
        typer.Option(min=0.001, max=0.5, help="Share of good parts that a model of good parts alone may reject."),
    ] = 0.02,
    escape_cost: Annotated[
        float,
        typer.Option(
            min=0.001, max=1e6, help="Overkills that one escape costs: for the threshold after learning from defects."
        ),
    ] = 20.0,
    defect_share: Annotated[
        float,
        typer.Option(min=1e-6, max=0.5, help="Share of defective parts on the line: for the same threshold."),
    ] = 0.01,
    recipe: Annotated[
        RecipeChoice | None,
        choice("The one recipe to try. The choice between several depends on the time that this machine takes."),
    ] = None,
    max_ms: Annotated[float, typer.Option(min=1, help="Longest time of an inspection on one core, in ms.")] = 100.0,
    time_budget: Annotated[
        float, typer.Option(min=1, help="Time for the training, in seconds; one recipe is always tried.")
    ] = 300.0,
    roi: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="Part of each image that is inspected: x,y,width,height in pixels, or corners of a polygon, "
            "'x,y x,y x,y'. Default: all of it.",
        ),
    ] = None,
    tiles: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="Tiles of each image, for small defects: columns and rows, such as 2x2, or their size, such as "
            "512x512px. The worst tile decides. Default: no tiles.",
        ),
    ] = None,
    tile_overlap: Annotated[float, typer.Option(help="Share of a tile that its neighbour has too.")] = 0.0,
    bit_depth: Annotated[
        int | None, typer.Option(help="Bits that the camera measures, 9 to 16, for files of 16 bits.")
    ] = None,
    alignment: Annotated[AlignmentChoice | None, choice("Place of these bits in a word of 16.")] = None,
    window: Annotated[
        str | None,
        typer.Option(callback=as_text, help="LOW,HIGH: sample values that become 0 and 255, such as 0,4095."),
    ] = None,
    bayer: Annotated[BayerChoice | None, choice("Pattern of a raw mosaic, of its first two rows.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the package in --out, once the new one is complete.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Learn what good parts look like, from images alone, and write a model package.

    No network, no GPU and no PyTorch are needed. The command says what it found in the images, tries a few recipes, and
    tests each with synthetic defects on images that it has not learned from. Images of defective parts are a further
    test. With ten or more, the model learns from them too.

        inspection train --images good/ --out my_model/

        inspection train --images parts/ --good fine --escape-cost 50 --out my_model/

        inspection train --images good/ --roi 100,50,640,480 --tiles 2x2 --out my_model/

        inspection demo --folder new_parts/ --model my_model/
    """
    from rich.console import Console
    from rich.progress import Progress, TaskID

    try:
        from models.image_folder import why_no_folder
        from models.input_text import parse_roi, parse_samples, parse_tiles
        from models.training.features import InspectedPart
        from models.training.package_folder import check_place
        from models.training.sentences import defect_lines, good_only_line, recipe_lines
        from models.training.train import TrainingOptions
        from models.training.train import train as run
        from models.training.write_package import write_package
    except ModuleNotFoundError as error:
        raise SettingsError("a training needs onnx: pip install 'streaming-inspection[train]'") from error

    from transport.machine import usable_cores

    if not images.is_dir():
        raise SettingsError(f"--images {images}: {why_no_folder(images)}")
    check_place(out, overwrite=overwrite)
    if tiles is None and tile_overlap:
        raise SettingsError("--tile-overlap is for --tiles")
    part = InspectedPart(
        None if roi is None else parse_roi(roi),
        None if tiles is None else parse_tiles(tiles, tile_overlap),
        parse_samples(bit_depth, alignment, window, bayer),
    )
    options = TrainingOptions(
        overkill,
        max_ms,
        time_budget,
        usable_cores(),
        tuple(good or ()),
        escape_cost,
        defect_share,
        by_product=products,
        recipe=recipe or "",
        part=part,
    )
    began_s = time.monotonic()
    with kept("--out", out), Progress(console=Console(stderr=True), transient=True) as bar:
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
        lists = {"survey": result.survey.lines(images), "warnings": result.warnings}
        echo_json({"model": str(model.path), **model.manifest.metrics, **lists})
        return
    for line in result.survey.lines(images):
        echo(line)
    echo_lines(recipe_lines(result))
    echo(good_only_line(result, options))
    echo(result.calibration)
    echo_lines(defect_lines(result, options))
    for warning in result.warnings:
        echo(f"warning: {warning}")
    took_s = time.monotonic() - began_s
    echo(f"{model.path}: made in {took_s:.0f} s; next: inspection demo --folder DIR --model {model.path}")

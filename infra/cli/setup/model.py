"""`inspection model`: make, import, check, show and list model packages, and add the reference signals to one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.setup.model_check import check
from infra.cli.setup.model_import import import_model
from infra.cli.setup.model_init import init
from infra.cli.setup.model_show import list_packages, show
from infra.cli.shared.options import Json
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.errors import SettingsError

app = typer.Typer(no_args_is_help=True, help="Model packages.")


app.command()(init)
app.command("import")(import_model)
app.command()(check)
app.command()(show)
app.command("list")(list_packages)


@app.command()
def reference(
    package: Annotated[Path, typer.Argument(help="Directory of the model package.")],
    images: Annotated[Path, typer.Option(help="Directory of the training images, all levels of it.")],
    test_images: Annotated[
        Path | None,
        typer.Option(
            "--held-out",
            help="Directory of images that the model was not trained on: the signals of its output are measured on "
            "these, because the model is surer of images that it was trained on.",
        ),
    ] = None,
    by_folder: Annotated[
        bool,
        typer.Option(
            "--by-folder", help="Each folder in it is a product: its images get an additional reference of their own."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure the signals of the training images, so that `inspection watch` sees drift away from them.

    The command inspects every image as the worker does, writes reference.json into the package, and its sha256 into
    the manifest. The decisions of the model do not change.

        inspection model reference my_model/ --images training/ --by-folder
    """

    from rich.console import Console
    from rich.progress import track

    from models.errors import ImageError
    from models.image_folder import list_images, read_image_file, why_no_folder
    from models.measure_reference import REFERENCE_NAME, measure_reference, write_reference
    from models.package import load_model

    for option, folder in (("--images", images), ("--held-out", test_images)):
        if folder is not None and not folder.is_dir():
            raise SettingsError(f"{option} {folder}: {why_no_folder(folder)}")
    loaded = load_model(package)
    reading, count = images, 0

    def pairs(root: Path | None) -> Iterator[tuple[str, bytes]]:
        nonlocal reading, count
        if root is None:
            return
        found = list_images(root)
        for note in found.notes:
            echo(f"{root}: {note}", err=True)
        paths = found.images
        for reading in track(paths, "inspecting", console=Console(stderr=True), transient=True):
            folders = reading.relative_to(root or images).parts[:-1]
            yield folders[0] if by_folder and folders else "", read_image_file(reading)
            count += 1

    try:
        made = measure_reference(loaded, pairs(images), pairs(test_images))
    except (ImageError, OSError) as error:
        raise SettingsError(f"{reading}: {error}; take it out and run this again") from error
    except ValueError as error:
        raise SettingsError(f"--images {images}: {error}") from error
    write_reference(loaded.path, made)
    found = {"images": count, "signals": sorted(made.everything), "products": sorted(made.products)}
    if as_json:
        echo_json(found)
        return
    products = f", products {', '.join(sorted(made.products))}" if made.products else ""
    echo(f"{loaded.path / REFERENCE_NAME}: {count} images, {len(made.everything)} signals{products}")

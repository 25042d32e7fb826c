"""`inspection model show` and `list`: facts about model packages, without loading them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.shared.options import Json
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from models.package_summary import PackageSummary


def show(
    package: Annotated[Path, typer.Argument(help="Directory of the model package.")],
    as_json: Json = False,
) -> None:
    """Show a package on one page: input, labels, thresholds, training, figures, files.

    inspection model show my_model/
    """
    from models.errors import ModelPackageError
    from models.package_summary import PackageSummary, summary_lines

    found = PackageSummary.read(package)
    if found.manifest is None:
        raise ModelPackageError(found.problem)
    if as_json:
        echo_json(found.to_json())
        return
    lines = summary_lines(found)
    width = min(24, max(len(name) for name, _ in lines))
    for name, text in lines:
        echo(f"{name:<{width}} {text}")


def list_packages(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Directories of packages, or with packages directly in them."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the packages that ship and those in folders, one line each.

    inspection model list my_models/
    """
    from models.package_summary import PackageSummary, find_packages, shipped_packages

    found: list[PackageSummary] = []
    for folder in (shipped_packages(), *(folders or ())):
        try:
            found += map(PackageSummary.read, find_packages(folder))
        except OSError as error:
            raise SettingsError(f"{folder}: {error.strerror or error}") from error
    if as_json:
        echo_json([each.to_json() for each in found])
        return
    for each in found:
        echo(_line(each))


def _line(found: PackageSummary) -> str:
    manifest = found.manifest
    if manifest is None:
        return f"{found.path}: cannot be read: {found.problem}"
    size = found.sizes.get(manifest.file)
    spec = manifest.input
    return (
        f"{found.path}: {manifest.name} {manifest.version}, {manifest.task}, {spec.width}x{spec.height} {spec.colour}, "
        f"threshold {manifest.decision.threshold:g}, {'no file' if size is None else f'{size / 1e6:.1f} MB'}, "
        f"sha256 {manifest.sha256[:8]}"
    )

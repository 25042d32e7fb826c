"""`inspection model check`: find the faults of a model package before a line has it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.options import Json
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from models.package_report import PackageReport

_WORDS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


def check(
    package: Annotated[Path, typer.Argument(help="Directory of the model package.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Directory of images to inspect, all levels of it. Default: made-up pictures alone."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a package: everything that loading refuses, times, memory, drift reference; exit status 1 for an error.

    inspection model check my_model/ --images parts/
    """
    from models.image_folder import list_images, why_no_folder
    from models.package_report import check_package

    paths: list[Path] = []
    if images is not None:
        if not images.is_dir():
            raise SettingsError(f"--images {images}: {why_no_folder(images)}")
        try:
            found = list_images(images)
        except OSError as error:
            raise SettingsError(f"--images {images}: {error.strerror or error}") from error
        paths = list(found.images)
        for note in found.notes:
            echo(f"{images}: {note}", err=True)
        if not paths:
            raise SettingsError(f"--images {images}: no image in it")
    report = _check(check_package, package, paths)
    if as_json:
        echo_json(_json(report, package))
    else:
        _print(report, package)
    if not report.is_ok:
        raise typer.Exit(1)


def _check(check_package: Callable[..., PackageReport], package: Path, paths: list[Path]) -> PackageReport:
    from infra.cli.shared.progress import reading
    from models.image_folder import read_image_file

    def images() -> Iterator[Callable[[], bytes]]:
        for path in paths:
            yield partial(read_image_file, path)

    with reading() as progress:
        return check_package(package, images(), on_progress=lambda done: progress("images", done, len(paths)))


def _print(report: PackageReport, package: Path) -> None:
    for each in report.checks:
        echo(f"{_WORDS[each.outcome]} {each.name}: {each.text}{f': {each.cure}' if each.cure else ''}")
    errors, warnings = (
        f"{count} {word}{'' if count == 1 else 's'}"
        for word in ("error", "warning")
        for count in [sum(each.outcome == word for each in report.checks)]
    )
    following = f"inspection predict DIR --model {shlex.quote(str(package))} --out rows.csv"
    last = f"next: {following}" if report.is_ok else "correct the errors and check again"
    echo(f"{package}: {len(report.checks)} checks, {errors}, {warnings}; {last}")


def _json(report: PackageReport, package: Path) -> dict[str, Any]:
    return {
        "package": str(package),
        "ok": report.is_ok,
        "checks": [asdict(each) for each in report.checks],
        "timing": None if report.timing is None else asdict(report.timing),
        "peak_memory_mib": round(report.peak_memory_mib, 1),
        "verdicts": dict(report.verdicts),
        "failures": dict(report.failures),
    }

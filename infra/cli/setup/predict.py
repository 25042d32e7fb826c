"""`inspection predict`: inspect image files without Kafka, as the line would."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.options import Json
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from replay.predict.run import PredictionResult


def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR|FILE|PATTERN...",
            help="Folders of images, all levels of them; files; or patterns in quotes, such as 'lot7/*.png'.",
            show_default=False,
        ),
    ],
    model: Annotated[Path, typer.Option(help="Directory of the model package.")],
    out: Annotated[Path, typer.Option(help="File for a row for each image: ends with .parquet, .csv or .jsonl.")],
    html: Annotated[
        Path | None,
        typer.Option(help="File for a report page with scores, pictures and failed files. Default: no page."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Number of processes. Default: one for each core.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run of this --out, if there is one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Inspect image files with a model, without Kafka, and write a row for each.

    Scores and verdicts are those of a worker for the same images, to the last bit. A file that cannot be inspected
    gets a row with the reason, as FAILED. After Ctrl-C or a kill the same command with --resume goes on.

        inspection predict parts/ --model my_model/ --out rows.parquet --html report.html

        inspection predict 'lot7/**/*.png' --model my_model/ --out rows.csv
    """
    from infra.cli.shared.progress import reading
    from infra.cli.shared.shutdown import StopRequest, stop_on_signals
    from replay.predict.run import PredictOptions
    from replay.predict.run import predict as run

    if html is not None and html.absolute() == out.absolute():
        raise SettingsError(f"--html {html}: is the file of --out; name another one")
    options = PredictOptions(
        arguments=images, model=model, out=out, html=html, processes=processes, resume=resume
    )  # fmt: skip
    stop = StopRequest()
    with stop_on_signals(stop), reading() as show:
        found = run(options, stop=stop, on_progress=lambda done, count: show("images", done, count))
    for line in found.listing.lines():
        echo(line, err=True)
    if as_json:
        echo_json(_summary(found, options.out, options.html))
    if found.figures is None:
        if not as_json:
            echo(
                f"stopped after {found.done} of {found.total} images; go on with the same command and --resume",
                err=True,
            )
        raise typer.Exit(stop.status)
    if as_json:
        return
    for kind, (count, first) in sorted(found.figures.remarks.items()):
        echo(f"{count} images, {kind}: {first}")
    for kind, count in found.figures.failures.most_common():
        echo(f"{count} could not be inspected, {kind}: {_example(found, kind)}")
    echo(_last_line(found, out, html, model))


def _example(found: PredictionResult, kind: str) -> str:
    assert found.figures is not None
    row = next((row for _, row in found.figures.failed if row.failure == kind), None)
    return "see the rows" if row is None else f"such as {row.path}: {row.reason.removeprefix(f'{kind}: ')}"


def _last_line(found: PredictionResult, out: Path, html: Path | None, model: Path) -> str:
    figures = found.figures
    assert figures is not None
    actions = ", ".join(f"{figures.actions[name]} {name}" for name in ("ACCEPT", "REVIEW", "REJECT"))
    failed = f" ({figures.failed_count} failed)" if figures.failed_count else ""
    files = f"{out} and {html}" if html is not None else str(out)
    rate = f" in {found.seconds:.1f} s, {found.images_per_s:.0f} images/s" if found.done > found.resumed else ""
    following = f"inspection worker --model {shlex.quote(str(model))}"
    return f"{files}: {figures.images} images{rate}: {actions}{failed}; next: {following}"


def _summary(found: PredictionResult, out: Path, html: Path | None) -> dict[str, Any]:
    figures, model = found.figures, found.model
    counts: dict[str, Any] = {}
    if figures is not None:
        counts = {
            "actions": dict(figures.actions),
            "verdicts": dict(figures.verdicts),
            "failed": figures.failed_count,
            "failures": dict(figures.failures),
            "remarks": {kind: count for kind, (count, _) in figures.remarks.items()},
        }
    return {
        "is_finished": figures is not None,
        "out": str(out),
        "html": None if html is None else str(html),
        "images": found.total,
        "done": found.done,
        "resumed": found.resumed,
        **counts,
        "skipped": found.listing.skipped,
        "others": found.listing.others,
        "repeated": found.listing.repeated,
        "unlisted": found.listing.unlisted,
        "model": model.name,
        "version": model.version,
        "sha256": model.sha256,
        "recipe_id": model.recipe_id,
        "recipe_revision": model.recipe_revision,
        "threshold": model.manifest.decision.threshold,
        "processes": found.processes,
        "seconds": round(found.seconds, 3),
        "images_per_s": round(found.images_per_s, 1),
    }

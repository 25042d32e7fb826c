"""`inspection demo`: run a whole line on this machine, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.shared.choices import DisturbanceChoice, choice
from infra.cli.shared.terminal_text import echo_json
from schemas.json_text import json_text


def demo(
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames in all. Default: 600; with --folder, each image once.")
    ] = None,
    cameras: Annotated[int, typer.Option(min=1, max=64, help="Cameras.")] = 3,
    fps: Annotated[
        float, typer.Option(min=0, help="Frames a second of the whole line; 0: as fast as the line goes.")
    ] = 30.0,
    folder: Annotated[
        Path | None,
        typer.Option(help="Your own images (PNG, JPEG, BMP, TIFF; sub-folders too) instead of the solar cells."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model package. Default: the solar-cell model that ships.")] = None,
    belt_ms: Annotated[
        int | None,
        typer.Option(min=1, max=86_400_000, help="From camera to gate, in ms. Default: 800; with --fps 0, 2500."),
    ] = None,
    deadline_ms: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2**31 - 1,
            help="A decision later than this is useless to the gate. Default: 500; with --fps 0, 2000.",
        ),
    ] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="Use this Kafka. Default: start one, in a folder that is removed afterwards.")
    ] = None,
    drift: Annotated[
        DisturbanceChoice | None,
        choice("Do this to the first camera half way through, and watch for drift. 1200 frames by default."),
    ] = None,
    gateway: Annotated[
        bool, typer.Option("--gateway", help="The cameras ask `inspection gateway` over HTTP. Extra 'gateway'.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result as one JSON object; '-' for standard output.")
    ] = None,
    journal: Annotated[Path | None, typer.Option(help="Keep the gate's journal (JSON lines) here.")] = None,
) -> None:
    """Run a whole line on this machine: Kafka, cameras, a worker, a gate.

    Three cameras publish real electroluminescence photos of solar cells (those that the model was not
    trained on), a worker inspects each, a simulated gate acts on every part. It ends with a summary
    and leaves nothing running; the exit status is 0 only if every frame is accounted for.

    A frame too late for its deadline is answered without inspection, as on a line; with --folder or
    --fps 0 every frame is inspected, late or not.

        inspection demo --fps 0

        inspection demo --folder my_photos/ --json result.json

        inspection demo --drift exposure

        inspection demo --gateway
    """

    from rich.console import Console

    from infra.cli.shared.shutdown import exit_on_signals
    from infra.demo.line import DemoOptions, run_demo
    from infra.demo.result import summary
    from producers.cameras.disturbed import Disturbance
    from producers.pacing import check_fps
    from schemas.errors import SettingsError

    if gateway:
        from gateway.extra import require_extra

        require_extra()
    try:
        check_fps(fps / cameras if fps else None)
    except ValueError as error:
        raise SettingsError(f"--fps {fps}: for each camera {error}, or 0") from None
    if drift == "product-change" and folder is not None:
        raise SettingsError("--drift product-change is about the solar cells: not with --folder")
    if json_file is not None and not json_file.parent.is_dir():
        raise SettingsError(f"--json {json_file}: no folder {json_file.parent}")
    console = Console(stderr=json_file == Path("-"))
    options = DemoOptions(
        frames=frames,
        cameras=cameras,
        fps=fps,
        folder=folder,
        model=model,
        belt_ms=belt_ms,
        deadline_ms=deadline_ms,
        bootstrap_servers=bootstrap_servers,
        journal=journal,
        drift=None if drift is None else Disturbance(drift),
        gateway=gateway,
    )
    with exit_on_signals():
        result = run_demo(options, console)
    console.print(summary(result))
    if json_file is not None:
        if json_file == Path("-"):
            echo_json(result.as_json(), indent=2)
        else:
            try:
                json_file.write_text(json_text(result.as_json(), indent=2) + "\n", encoding="utf-8")
            except OSError as error:
                raise SettingsError(f"--json {json_file}: {error.strerror}") from error
    if result.unaccounted:
        raise typer.Exit(1)

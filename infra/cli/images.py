"""`inspection images`: the store of images too large for the topic."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.options import ImageStoreUri, Json, image_store_uri

app = typer.Typer(no_args_is_help=True, help="The store of images too large for the topic.")


@app.callback()
def images() -> None:
    """Keep `sweep` a command of its own while it is the only one."""


@app.command()
def sweep(
    image_store: ImageStoreUri = None,
    older_than: Annotated[
        str | None, typer.Option(help="As in 36h or 7d. Default: the retention of the frames topic, and an hour.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Delete images whose frames the topic has forgotten, in whole hours of capture. For cron or a timer.

    inspection images sweep --older-than 36h
    """
    import json
    import time

    from infra.cli.times import seconds
    from schemas.image_store import ImageStore
    from schemas.topics import FRAMES

    age_s = FRAMES.retention_ms / 1000 + 3600 if older_than is None else seconds(older_than, "--older-than")
    uri = image_store_uri(image_store)
    hours = ImageStore(uri).sweep(time.time_ns() // 1000 - round(age_s * 1e6), dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps({"store": uri, "hours": hours, "dry_run": dry_run}))
    else:
        typer.echo(f"{len(hours)} hours {'would be' if dry_run else ''} deleted from {uri}".replace("  ", " "))

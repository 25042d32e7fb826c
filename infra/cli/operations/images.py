"""`inspection images`: clean up the store of images too large for the topic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    BootstrapServers,
    ImageStoreUri,
    Json,
    Prefix,
    SpoolDir,
    existing_spool_directory,
    image_store_uri,
    kafka_settings,
)
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.errors import SettingsError
from schemas.settings import KafkaSettings

app = typer.Typer(no_args_is_help=True, help="The store of images too large for the topic.")


@app.callback()
def images() -> None:
    """Make `sweep` a subcommand, although it is the only one."""


@app.command()
def sweep(
    image_store: ImageStoreUri = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            help="Age as in 36h or 7d. Default: the retention that the frames topic has on the broker, plus an hour, "
            "plus --spool-days."
        ),
    ] = None,
    spool_days: Annotated[
        float,
        typer.Option(
            min=0, help="Longest time that a frame waits in a spool, here or elsewhere, before it is published."
        ),
    ] = 2.0,
    spool_dir: SpoolDir = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Delete images whose frames the topic has deleted, in whole hours of capture. For cron or a timer.

    Hours with frames that still wait in a spool of this machine stay, however old they are.

        inspection images sweep --older-than 36h
    """
    import time

    from infra.cli.shared.times import seconds
    from transport.image_store import ImageStore

    if older_than is not None:
        age_s = seconds(older_than, "--older-than")
    else:
        age_s = _retention_s(kafka_settings(bootstrap_servers, prefix)) + 3600 + spool_days * 86_400
    uri = image_store_uri(image_store)
    waiting = _waiting(spool_dir)
    store = ImageStore(uri)
    hours = store.sweep(time.time_ns() // 1000 - round(age_s * 1e6), keep=waiting, dry_run=dry_run)
    if as_json:
        found = {"store": store.uri, "hours": hours, "waiting_hours": sorted(waiting), "dry_run": dry_run}
        echo_json(found)
    else:
        stay = f"; {len(waiting)} hours stay, whose frames wait in a spool" if waiting else ""
        echo(f"{len(hours)} hours {'would be ' if dry_run else ''}deleted from {store.uri}{stay}")


def _waiting(spool_dir: Path | None) -> set[str]:
    """Return the hours of frames in the spools of this machine, of any line: their images are still needed."""
    from producers.spool import find_spools, waiting_hours
    from transport.image_store import hour_of

    return {
        hour_of(hour * 3_600_000_000)
        for file in find_spools(existing_spool_directory(spool_dir))
        for hour in waiting_hours(file.path)
    }


def _retention_s(kafka: KafkaSettings) -> float:
    """Return the retention of the frames topic on the broker, in seconds."""
    from schemas.topics import FRAMES
    from transport.topic_setup import plan

    (state,) = plan(kafka, [FRAMES])
    found = {difference.key: difference.present for difference in state.differences}
    retention_ms = int(found.get("retention.ms", FRAMES.retention_ms))
    if retention_ms < 0 or state.status == "missing":
        raise SettingsError(f"{state.name} is missing or keeps frames for ever: say what is old with --older-than")
    return retention_ms / 1000

"""`inspection spool`: show, verify and drain the frames on disk that Kafka has not taken yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    BootstrapServers,
    Json,
    SpoolDir,
    existing_spool_directory,
    spool_directory,
)
from infra.cli.shared.terminal_text import echo, echo_json, shown
from schemas.errors import InspectionError, SettingsError

if TYPE_CHECKING:
    from rich.progress import Progress

    from producers.spool import SpoolFile

app = typer.Typer(no_args_is_help=True, help="Frames on disk that Kafka has not taken yet: one spool a camera.")

SpoolCameraOption = Annotated[str | None, typer.Option("--camera", help="Only this one, as station/camera.")]
OnlyPrefix = Annotated[str | None, typer.Option("--prefix", envvar="INSPECTION_PREFIX", help="Only of these topics.")]


class SpoolDamaged(InspectionError):
    """Error: a spool is damaged or cannot be read."""


class NotDrained(InspectionError):
    """Error: frames are left in a spool."""


@app.command()
def status(
    spool_dir: SpoolDir = None, camera: SpoolCameraOption = None, prefix: OnlyPrefix = None, as_json: Json = False
) -> None:
    """Show the contents and counts of each spool, also while cameras run. Exit status 1 if one cannot be read.

    inspection spool status
    """
    from dataclasses import asdict

    from producers.spool import SpoolError, read_counts

    rows: list[dict[str, Any]] = []
    for file in _found(spool_dir, camera, prefix):
        row = {**_name(file), "path": str(file.path), "error": None}
        try:
            rows.append({**row, **asdict(read_counts(file.path))})
        except SpoolError as error:
            rows.append({**row, "error": str(error)})
    if as_json:
        _print_json(rows)
    for row in [] if as_json else rows:
        echo(f"{shown(str(row['prefix']))} {shown(str(row['camera']))}: {row['error'] or _counted(row)}")
    if not rows and not as_json:
        echo(f"no spool in {spool_directory(spool_dir)}")
    _check_readable(rows)


@app.command()
def verify(
    spool_dir: SpoolDir = None, camera: SpoolCameraOption = None, prefix: OnlyPrefix = None, as_json: Json = False
) -> None:
    """Read every frame and compare its checksum; exit status 1 if one is damaged. Changes nothing."""
    from producers.spool import verify_spool

    rows: list[dict[str, Any]] = []
    for file in _found(spool_dir, camera, prefix):
        try:
            verified = verify_spool(file.path)
            rows.append({**_name(file), "frames": verified.frames, "damaged": verified.damaged, "error": None})
        except InspectionError as error:
            rows.append({**_name(file), "frames": 0, "damaged": (), "error": str(error)})
    if as_json:
        _print_json(rows)
    for row in [] if as_json else rows:
        bad = "" if not row["damaged"] else f", damaged: {', '.join(f'{s}/{n}' for s, n in row['damaged'][:10])}"
        what = str(row["frames"]) + " frames read" + bad if row["error"] is None else shown(row["error"])
        echo(f"{shown(row['prefix'])} {shown(row['camera'])}: {what}")
    if not rows and not as_json:
        echo(f"no spool in {spool_directory(spool_dir)}")
    damaged = sum(len(row["damaged"]) for row in rows)
    unreadable = sum(row["error"] is not None for row in rows)
    if damaged or unreadable:
        raise SpoolDamaged(
            f"{damaged} damaged frames, {unreadable} unreadable spools; the camera's next start takes damaged frames "
            "out, counts them, and sends the others"
        )


@app.command()
def drain(
    spool_dir: SpoolDir = None,
    camera: SpoolCameraOption = None,
    prefix: OnlyPrefix = None,
    timeout_s: Annotated[float | None, typer.Option(min=0, help="Seconds after which to stop. Default: none.")] = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    as_json: Json = False,
) -> None:
    """Send the frames of cameras that do not run; a running camera drains its spool itself.

    Each frame is deleted once Kafka has acknowledged it; after Ctrl-C the other frames stay in the spool.

        inspection spool drain --bootstrap-servers kafka:9092
    """
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rows: list[dict[str, Any]] = []
    deadline_s = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    files = _found(spool_dir, camera, prefix)
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            for file in files:
                rows.append(_drained(file, bootstrap_servers, max(0.0, deadline_s - time.monotonic()), progress))
    finally:  # also if no broker answers any more, or after Ctrl-C: some spools may be drained
        if as_json:
            _print_json(rows)
        for row in [] if as_json else rows:
            lost = f", {row['found_damaged']} damaged and taken out" if row.get("found_damaged") else ""
            done = row["error"] or f"{row['sent']} sent{lost}, {row['frames']} left"
            echo(f"{shown(row['prefix'])} {shown(row['camera'])}: {done}")
    if not rows and not as_json:
        echo(f"no spool in {spool_directory(spool_dir)}")
    if left := sum(row["frames"] for row in rows if row["error"] is None):
        raise NotDrained(f"{left} frames are left in the spool; run it again when Kafka takes them")
    _check_readable(rows)


def _drained(file: SpoolFile, bootstrap_servers: str, timeout_s: float, progress: Progress) -> dict[str, Any]:
    """Send the frames of a spool, and return its row."""
    from dataclasses import asdict

    from infra.cli.shared.options import kafka_settings
    from producers.offline_drain import drain_spool
    from producers.sender_thread import SenderStopped
    from producers.spool import SpoolError, read_counts

    row: dict[str, Any] = {**_name(file), "error": None}
    try:
        before = read_counts(file.path)
        row |= asdict(before)
        task = progress.add_task(f"{shown(file.prefix)} {shown(file.camera)}", total=before.frames)

        def show(left: int) -> None:
            progress.update(task, completed=before.frames - left)

        after = before
        if before.frames:
            kafka = kafka_settings(bootstrap_servers, file.prefix)
            after = drain_spool(kafka, file, timeout_s=timeout_s, on_left=show)
    except (SpoolError, SenderStopped) as error:
        return {**row, "error": str(error)}
    sent, damaged = after.drained - before.drained, after.damaged - before.damaged
    return {**row, **asdict(after), "sent": max(0, sent), "found_damaged": max(0, damaged)}


def _found(spool_dir: Path | None, camera: str | None, prefix: str | None) -> list[SpoolFile]:
    from producers.spool import find_spools

    directory = existing_spool_directory(spool_dir)
    found = [file for file in find_spools(directory) if prefix in (None, file.prefix)]
    chosen = [file for file in found if camera in (None, file.camera)]
    if camera is not None and not chosen:
        raise SettingsError(
            f"--camera {camera}: no such spool; there are {', '.join(f.camera for f in found) or 'none'}"
        )
    return chosen


def _counted(row: dict[str, Any]) -> str:
    refused = f" ({row['refused']} never got in)" if row["refused"] else ""
    return (
        f"{row['frames']} frames, {row['bytes'] / 1e6:.1f} MB waiting; so far {row['appended']} spooled, "
        f"{row['drained']} drained, {row['dropped']} dropped{refused}, {row['damaged']} damaged"
    )


def _check_readable(rows: list[dict[str, Any]]) -> None:
    errors = [row["error"] for row in rows if row["error"] is not None]
    if errors:
        raise SpoolDamaged(
            f"{len(errors)} unreadable spool{'s' if len(errors) > 1 else ''}; the others were looked at. The camera's "
            "next start keeps a damaged file beside and carries over what it can read"
            if all("cannot be read" in error for error in errors)
            else f"{len(errors)} of {len(rows)} spools failed: {errors[0]}"
        )


def _name(file: SpoolFile) -> dict[str, str]:
    return {"prefix": file.prefix, "camera": file.camera}


def _print_json(rows: list[dict[str, Any]]) -> None:

    echo_json({"spools": rows})

"""`inspection audit`: does every frame have its answer?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.options import BOOTSTRAP_DEFAULT, PREFIX_DEFAULT, BootstrapServers, Json, Prefix, kafka_settings
from schemas.errors import InspectionError, SettingsError

if TYPE_CHECKING:
    from replay.audit import Audit, CameraAudit


class BooksDoNotClose(InspectionError):
    """Frames are unaccounted for, or answered in two ways."""


def audit(
    from_time: Annotated[str | None, typer.Option("--from", help="Frames since, as 2026-11-24T06:00.")] = None,
    to_time: Annotated[str | None, typer.Option("--to", help="Frames before.")] = None,
    last: Annotated[str | None, typer.Option(help="Frames of the last 90s, 15m, 8h, 2d.")] = None,
    camera: Annotated[str | None, typer.Option(help="Only this one, as station/camera.")] = None,
    edge_report: Annotated[
        Path | None,
        typer.Option(help="What `inspection produce --json` has printed: its drops explain gaps in the sequence."),
    ] = None,
    grace: Annotated[str, typer.Option(help="Younger frames without an answer are pending, not forgotten.")] = "10s",
    metrics: Annotated[
        Path | None, typer.Option(help="Write the figures as Prometheus metrics, for node_exporter's textfiles.")
    ] = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Compare frames with decisions and dead letters, camera by camera.

    Exit status 1 if a frame has no answer, if two answers contradict each other, or if frames are
    missing from a camera's sequence that no edge report counts as dropped.

        inspection audit --last 8h
    """
    import json
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from infra.cli.times import seconds, utc_us
    from replay.audit import total
    from replay.audit_topics import audit_topics
    from replay.topic_reader import TopicRange

    if last is not None and (from_time or to_time):
        raise SettingsError("--last stands alone: give it, or --from and --to")
    now_us = time.time_ns() // 1000
    begin = utc_us(from_time, "--from") if from_time else None
    if last is not None:
        begin = now_us - round(seconds(last, "--last") * 1e6)
    end = utc_us(to_time, "--to") if to_time else None
    if begin is not None and end is not None and begin >= end:
        raise SettingsError("--from is not before --to")
    drops = _drops(edge_report, camera) if edge_report is not None else {}
    pending_after_us = now_us - round(seconds(grace, "--grace") * 1e6)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, Any] = {}

        def show(topic: str, done: int, count: int) -> None:
            if topic not in tasks:
                tasks[topic] = progress.add_task(topic, total=count)
            progress.update(tasks[topic], completed=done)

        audited = audit_topics(
            kafka_settings(bootstrap_servers, prefix), TopicRange(begin, end), camera=camera, on_progress=show
        )
    cameras = audited.cameras(pending_after_us=pending_after_us, drops=drops)
    if metrics is not None:
        _write_metrics(metrics, cameras)
    sums = total(cameras)
    unexplained = sum(max(0, books.gaps - books.drops) for books in cameras.values())
    faults = {
        "unaccounted": sums.unaccounted,
        "conflicts": sums.conflicts,
        "unexplained gaps": unexplained,
        "unreadable messages without a dead letter": audited.unreadable_unaccounted,
    }
    if as_json:
        report = {
            "cameras": {name: books.as_dict() for name, books in cameras.items()},
            "total": sums.as_dict(),
            "unexplained_gaps": unexplained,
            **_unreadable(audited),
            "ok": not any(faults.values()),
        }
        typer.echo(json.dumps(report))
    elif not cameras:
        typer.echo("no frames there" + ("" if begin is None and end is None else " in that time"))
    else:
        _print_lines({**cameras, "total": sums} if len(cameras) > 1 else cameras)
    if any(faults.values()):
        raise BooksDoNotClose(", ".join(f"{count} {what}" for what, count in faults.items() if count))


def _unreadable(audited: Audit) -> dict[str, int]:
    return {
        "unreadable_frames": audited.unreadable,
        "unreadable_frames_unaccounted": audited.unreadable_unaccounted,
        "unreadable_decisions": audited.unreadable_decisions,
        "unreadable_dead_letters": audited.unreadable_dead_letters,
    }


#: Always shown; other figures only where they are not 0.
_ALWAYS = ("captured", "frames", "decided", "unaccounted")


def _print_lines(rows: dict[str, CameraAudit]) -> None:
    for name, books in rows.items():
        shown = [
            f"{value} {figure.replace('_', ' ')}"
            for figure, value in books.as_dict().items()
            if value or figure in _ALWAYS
        ]
        typer.echo(f"{name}: {', '.join(shown)}")


def _drops(path: Path, camera: str | None) -> dict[str, int]:
    """Drops and failures by camera, from the JSON of `inspection produce`."""
    import json

    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        drops = {row["name"]: int(row["dropped"]) + int(row["failed"]) for row in report["cameras"]}
    except OSError as error:
        raise SettingsError(f"--edge-report {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise SettingsError(f"--edge-report {path}: not what `inspection produce --json` prints") from None
    return {name: count for name, count in drops.items() if camera in (None, name)}


def _write_metrics(path: Path, cameras: dict[str, CameraAudit]) -> None:
    from prometheus_client import write_to_textfile

    from replay.audit_metrics import audit_registry

    try:
        write_to_textfile(str(path), audit_registry(cameras))
    except OSError as error:
        raise SettingsError(f"--metrics {path}: {error.strerror}") from error

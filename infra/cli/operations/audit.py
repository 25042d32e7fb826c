"""`inspection audit`: check that every frame has its answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    ArchiveOnly,
    ArchiveUri,
    BootstrapServers,
    Json,
    Prefix,
    SpoolDir,
    existing_spool_directory,
    kafka_settings,
    past_source,
    spool_directory,
)
from infra.cli.shared.progress import reading
from infra.cli.shared.terminal_text import echo, echo_json, echo_lines
from infra.cli.shared.time_options import time_range
from schemas.errors import InspectionError, SettingsError

if TYPE_CHECKING:
    from operations.audit.accounts import Audit
    from operations.audit.reconcile import EdgeStart


class AuditFailed(InspectionError):
    """Error: frames are unaccounted for, or have two different answers."""


def audit(
    from_time: Annotated[str | None, typer.Option("--from", help="Frames since, as 2026-11-24T06:00.")] = None,
    to_time: Annotated[str | None, typer.Option("--to", help="Frames before.")] = None,
    last: Annotated[str | None, typer.Option(help="Frames of the last 90s, 15m, 8h, 2d.")] = None,
    camera: Annotated[str | None, typer.Option(help="Only this one, as station/camera.")] = None,
    edge_report: Annotated[
        list[Path] | None,
        typer.Option(
            help="File with the output of `inspection produce --json`: each start of a camera must have as many gaps "
            "as it counts drops. Repeat it for more producers or starts."
        ),
    ] = None,
    spool_dir: SpoolDir = None,
    grace: Annotated[str, typer.Option(help="Younger frames without an answer are pending, not forgotten.")] = "10s",
    look_around: Annotated[
        str, typer.Option(help="Time around the range in which missing sequence numbers are searched for.")
    ] = "15m",
    late_ok: Annotated[
        bool, typer.Option("--late-ok", help="ACCEPTs after the deadline are no fault, as with --overload everything.")
    ] = False,
    without_frames: Annotated[
        bool,
        typer.Option(
            "--without-frames",
            help="The topic of the frames is not here, as at the centre of several lines: a frame counts if a decision "
            "is about it, and frames without a decision are missing sequence numbers.",
        ),
    ] = False,
    metrics: Annotated[
        Path | None, typer.Option(help="Write the figures as Prometheus metrics, for node_exporter's textfiles.")
    ] = None,
    archive: ArchiveUri = None,
    archive_only: ArchiveOnly = False,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Compare frames with decisions and dead letters, camera by camera.

    Exit status 1 if a frame has no answer, if two answers contradict each other, if frames are missing
    from a camera's sequence that neither an edge report nor a spool counts as dropped, if more are
    counted as dropped than are missing, or if a part was accepted after its deadline.

        inspection audit --last 8h
    """
    import time

    from infra.cli.operations.audit_text import AuditReport
    from infra.cli.shared.times import seconds
    from operations.audit.topics import audit_topics
    from transport.topic_ranges import TimeRange

    within = time_range(from_time, to_time, last)
    grace_us, look_around_us = (
        round(seconds(text, name) * 1e6) for text, name in ((grace, "--grace"), (look_around, "--look-around"))
    )
    source = past_source(kafka_settings(bootstrap_servers, prefix), archive, archive_only)
    # Read the spools before the topic: a frame that a spool sends in the meantime is then seen twice instead of never.
    edge, unreadable_spools = _edge(edge_report or [], spool_dir, prefix, camera)
    with reading() as show:
        audited = audit_topics(
            source,
            within,
            camera=camera,
            look_around_us=look_around_us,
            without_frames=without_frames,
            edge=edge,
            on_progress=show,
        )
    cameras = audited.cameras(now_us=time.time_ns() // 1000, grace_us=grace_us, edge=edge)
    report = AuditReport(audited, cameras, unreadable_spools, late_ok)
    if metrics is not None:
        report.write_metrics(metrics)
    if camera is not None and camera not in cameras:
        _no_such_camera(camera, audited, ranged=within != TimeRange())
    if as_json:
        echo_json(report.as_dict())
    else:
        echo_lines(report.as_lines())
        if not cameras:
            echo("no frames there" + ("" if within == TimeRange() else " in that time"))
    if faults := report.faults:
        raise AuditFailed(", ".join(f"{count} {what}" for what, count in faults.items()))


def _edge(
    reports: list[Path], spool_dir: Path | None, prefix: str, camera: str | None
) -> tuple[list[EdgeStart], tuple[str, ...]]:
    """Return the starts of cameras in edge reports and spools, and a line for each spool that cannot be read."""
    from operations.audit.edge import NoEdgeReport, read_report, read_spool
    from producers.spool import SpoolError, find_spools

    starts: list[EdgeStart] = []
    unreadable = []
    for path in reports:
        try:
            starts += read_report(path)
        except NoEdgeReport as error:
            raise SettingsError(f"--edge-report {error}") from error
    # A directory named in the environment may not exist yet. One that the user names on the command line must exist.
    is_from_environment = os.environ.get("INSPECTION_SPOOL_DIR") == str(spool_dir)
    for file in find_spools(spool_directory(spool_dir) if is_from_environment else existing_spool_directory(spool_dir)):
        if file.prefix == prefix and camera in (None, file.camera):
            try:
                starts += read_spool(file)
            except SpoolError as error:
                unreadable.append(str(error))
    return [start for start in starts if camera in (None, start.camera)], tuple(unreadable)


def _no_such_camera(camera: str, audited: Audit, *, ranged: bool) -> None:
    there = ", ".join(sorted(audited.seen_cameras)) or "none"
    raise SettingsError(f"--camera {camera}: no frames{' in that time' if ranged else ''}; there are {there}")

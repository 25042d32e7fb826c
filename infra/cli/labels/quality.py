"""`inspection quality`: compare decisions with labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.choices import GroupByChoice, choice
from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    ArchiveOnly,
    ArchiveUri,
    BootstrapServers,
    Json,
    Prefix,
    Signatures,
    TrustFolder,
    TrustTopic,
    kafka_settings,
    past_source,
)
from infra.cli.shared.signature_options import echo_unsigned_labels, label_faults, with_signed_labels
from infra.cli.shared.terminal_text import echo, echo_json
from infra.cli.shared.time_options import CameraOption, FromOption, LastOption, ToOption

if TYPE_CHECKING:
    from monitoring.quality.estimates import Estimate
    from monitoring.quality.figures import Figures
    from operations.quality_report import QualityReport


def quality(
    from_time: FromOption = None,
    to_time: ToOption = None,
    last: LastOption = None,
    camera: CameraOption = None,
    by: Annotated[
        GroupByChoice, choice("One line each camera, lot, defect class or model, of each camera.")
    ] = "camera",
    max_escapes: Annotated[float, typer.Option(min=0, max=1, help="Escape rate up to which it is good.")] = 0.01,
    max_overkill: Annotated[float, typer.Option(min=0, max=1, help="Overkill rate up to which it is good.")] = 0.05,
    archive: ArchiveUri = None,
    archive_only: ArchiveOnly = False,
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Compare decisions with labels: escapes, overkill, accuracy, with 95 % intervals, and rises of the errors.

    An interval below the limit is "good", above it "bad"; around it there are "few labels". Escapes can be estimated
    only if some accepted parts were labelled --because random.

        inspection quality --last 8h --by lot
    """

    from infra.cli.shared.progress import reading
    from infra.cli.shared.time_options import time_range
    from operations.quality_report import read_quality

    within = time_range(from_time, to_time, last)
    source = past_source(kafka_settings(bootstrap_servers, prefix), archive, archive_only)
    source = with_signed_labels(source, trust, trust_topic, signatures)
    with reading() as show:
        report = read_quality(source, within, camera=camera, on_progress=show)
    echo_unsigned_labels(source)
    slices = [(name, row) for name, monitor in report.monitors.items() for row in monitor.figures(by)]
    if as_json:
        echo_json({**_report(report, slices, max_escapes, max_overkill), "unsigned_labels": label_faults(source)})
        return
    for name, row in slices:
        _print_figures(name, row, max_escapes, max_overkill)
    if not slices:
        echo("no decisions and labels there" if not report.monitors else f"no {by} there")
    for alarm in report.alarms:
        echo(f"{alarm.camera}: {alarm.reason}, from frame {alarm.started_frame_id} on ({alarm.detector})")
    for name, monitor in report.monitors.items():
        if waiting := monitor.quality.waiting_labels:
            echo(f"{name}: {waiting} labels have no decision in this time")
    if report.unreadable:
        echo(f"{report.unreadable} messages could not be read")
    if report.left_out:
        echo(f"{report.left_out} messages of further cameras are left out; --camera station/camera shows one of them")


def _print_figures(camera: str, row: Figures, max_escapes: float, max_overkill: float) -> None:
    name = camera if row.by == "camera" else f"{camera} {row.by} {row.name}"
    parts = f"{row.parts} parts, " if row.by != "class" else ""
    echo(f"{name}: {parts}{row.labelled} labelled, {row.escapes} escapes, {row.overkill} overkill")
    echo(f"  escape rate        {_text(row.escape_rate, max_escapes)}")
    echo(f"  accepted defective {_text(row.escapes_among_accepts)}")
    if row.by != "class":
        echo(f"  overkill rate      {_text(row.overkill_rate, max_overkill)}")
        echo(f"  rejected good      {_text(row.overkill_among_rejects)}")
        echo(f"  accuracy           {_text(row.accuracy)}")


def _text(estimate: Estimate, limit: float | None = None) -> str:
    """Return a rate as text for people."""
    if estimate.value is None:
        return estimate.why_not
    text = f"{estimate.value:.2%} ({estimate.low:.2%} to {estimate.high:.2%}), {estimate.labels} labels"
    return text if limit is None else f"{text}: {estimate.word(limit)}"


def _report(
    report: QualityReport, slices: list[tuple[str, Figures]], max_escapes: float, max_overkill: float
) -> dict[str, Any]:
    from dataclasses import asdict

    rows = []
    for name, row in slices:
        values = {**asdict(row), "camera": name}
        values["escape_rate"]["word"] = row.escape_rate.word(max_escapes)
        values["overkill_rate"]["word"] = row.overkill_rate.word(max_overkill)
        rows.append(values)
    return {
        "figures": rows,
        "alarms": [{**asdict(alarm), "reason": alarm.reason} for alarm in report.alarms],
        "cameras": {
            name: {**monitor.quality.counts.as_dict(), "waiting_labels": monitor.quality.waiting_labels}
            for name, monitor in report.monitors.items()
        },
        "unreadable": report.unreadable,
        "left_out": report.left_out,
    }

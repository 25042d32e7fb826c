"""`inspection watch`: watch cameras for drift of their signals and of the error rate of decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    BootstrapServers,
    Prefix,
    Signatures,
    TrustFolder,
    TrustTopic,
    as_text,
    kafka_settings,
    secret_lines,
)
from schemas.errors import SettingsError


def watch(
    model: Annotated[
        list[Path] | None,
        typer.Option(help="Model package whose training reference is used. Default: the one that ships. Repeat it."),
    ] = None,
    false_alarms_per_day: Annotated[
        float, typer.Option(help="Budget: false alarms expected of a camera and day.")
    ] = 0.2,
    frames_per_day: Annotated[
        float, typer.Option(help="Frames of a camera and day, for the budget. Two a second are 172800.")
    ] = 172_800.0,
    slack: Annotated[
        float, typer.Option(help="Changes of a signal's mean that are tolerated, in standard deviations.")
    ] = 0.4,
    product_attribute: Annotated[
        str,
        typer.Option(help="Attribute of the frames that names the product; each product has detectors of its own."),
    ] = "product",
    max_products: Annotated[
        int, typer.Option(help="Products of a camera watched side by side; beyond that, one is forgotten.")
    ] = 8,
    max_cameras: Annotated[
        int, typer.Option(help="Cameras that are watched; beyond that, the one unseen for longest is forgotten.")
    ] = 1000,
    warm_up: Annotated[
        str | None,
        typer.Option(
            help="Frames, as in 400, or time, as in 10m, after a camera's first decision or a gap. Drift that begins "
            "in it is shown, and no gate acts on it. Default: none."
        ),
    ] = None,
    warm_up_gap: Annotated[
        str, typer.Option(help="Time without a decision after which a camera warms up again, as in 1h.")
    ] = "1h",
    webhook: Annotated[
        str | None,
        typer.Option(
            envvar="INSPECTION_WEBHOOK",
            help="URL that gets a POST when an episode opens or closes. Every user of this machine can see a command "
            "line: better set the variable, or use --webhook-file.",
        ),
    ] = None,
    webhook_file: Annotated[
        Path | None, typer.Option(envvar="INSPECTION_WEBHOOK_FILE", help="File with the URL in its first line.")
    ] = None,
    snapshot_s: Annotated[float, typer.Option(help="Seconds between two snapshots of the state.")] = 15.0,
    max_age_h: Annotated[float, typer.Option(help="Hours after which a decision is too old for data drift.")] = 24.0,
    simulated: Annotated[
        bool,
        typer.Option(
            help="Watch frames that were published again (`inspection replay --to-topic`), and those alone; needs "
            "their --prefix. Labels are ignored."
        ),
    ] = False,
    group: Annotated[
        str,
        typer.Option(
            callback=as_text,
            help="Consumer group; its processes share the cameras.",
        ),
    ] = "inspection-watch",
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    http_host: Annotated[str, typer.Option(help="Address of /health and /metrics.")] = "127.0.0.1",
    http_port: Annotated[
        int | None, typer.Option(help="Their port. Default: 8089, or a free one when that is taken.")
    ] = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
) -> None:
    """Watch decisions and labels for drift, and publish episodes, until told to stop.

    Signals of each camera are compared with the model's training reference and with the camera's own past;
    labels (`inspection label`) tell how right the decisions are. `inspection drift list` shows the episodes.
    Two things can follow: a POST with --webhook, and the reaction of gates with `inspection actuate --on-drift`.

        inspection watch --model my_model/ --webhook-file /etc/inspection/webhook
    """
    from infra.cli.shared.times import frames_or_seconds, seconds
    from monitoring.drift import Budget, DriftOptions
    from schemas.replay_headers import group_of
    from stream_processors.watch.run import run_watch
    from stream_processors.watch.settings import DEFAULT_WATCH_GROUP, WatchSettings
    from transport.belief import SignaturePolicy

    frames, length_s = (0, 0.0) if warm_up is None else frames_or_seconds(warm_up, "--warm-up")
    settings = WatchSettings(
        kafka=kafka_settings(bootstrap_servers, prefix),
        models=tuple(model or ()),
        options=DriftOptions(
            Budget(false_alarms_per_day, frames_per_day),
            slack=slack,
            product_attribute=product_attribute,
            max_products=max_products,
            warm_up_frames=frames,
            warm_up_s=length_s,
            warm_up_gap_s=seconds(warm_up_gap, "--warm-up-gap"),
            simulated=simulated,
        ),
        group=group_of(group, DEFAULT_WATCH_GROUP, prefix),
        webhook=_webhook(webhook, webhook_file),
        snapshot_s=snapshot_s,
        max_age_h=max_age_h,
        max_cameras=max_cameras,
        trust=trust,
        trust_topic=trust_topic,
        signatures=None if signatures is None else SignaturePolicy(signatures),
        http_host=http_host,
        http_port=http_port,
    )
    run_watch(settings)


def _webhook(url: str | None, file: Path | None) -> str | None:
    if file is None:
        return url or None
    if url:
        raise SettingsError("--webhook and --webhook-file: one of them")
    lines = secret_lines(file, "--webhook-file")
    if len(lines) != 1:
        raise SettingsError(f"--webhook-file {file}: one line with the URL, not {len(lines)}")
    return lines[0]

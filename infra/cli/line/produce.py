"""`inspection produce`: publish the frames of cameras."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.choices import (
    DrainOrderChoice,
    EncodeModeChoice,
    PolicyChoice,
    SpoolModeChoice,
    SyncChoice,
    WhenFullChoice,
    choice,
)
from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    HTTP_HOST_DEFAULT,
    PREFIX_DEFAULT,
    BootstrapServers,
    HttpHost,
    HttpPort,
    ImageStoreUri,
    Json,
    MetricsAddress,
    MetricsPort,
    NoPartId,
    Prefix,
    SpoolDir,
    as_text,
    http_endpoint,
    image_store_uri,
    kafka_settings,
    secret_lines,
    spool_directory,
)
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.errors import InspectionError, SettingsError

if TYPE_CHECKING:
    from producers import Camera, CameraReport, PublisherStats


class ProduceFailed(InspectionError):
    """Error: a camera failed or frames were lost; the summary names them."""


def produce(
    camera: Annotated[
        list[str] | None,
        typer.Option(
            help="folder:DIR, video:PATH, usb:/dev/v4l/by-id/NAME, usb:0, rtsp://..., elpv, synthetic, an installed "
            "plug-in or package.module:Class. Repeat it for more cameras. Every user of this machine sees it: an "
            "address with a password belongs into --camera-file."
        ),
    ] = None,
    camera_file: Annotated[
        Path | None,
        typer.Option(
            envvar="INSPECTION_CAMERA_FILE",
            help="File with one camera a line, in the form of --camera; they follow those of --camera.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Option of the cameras as k=v; with several cameras, each gets it.")
    ] = None,
    line: Annotated[
        str,
        typer.Option(
            callback=as_text,
            help="Name of the line.",
        ),
    ] = "line-1",
    station: Annotated[
        str,
        typer.Option(
            callback=as_text,
            help="Name of the station.",
        ),
    ] = "station-1",
    camera_id: Annotated[
        list[str] | None,
        typer.Option(
            callback=as_text,
            help="Name of a camera, in the order of --camera. Default: camera-1, ...",
        ),
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second of each camera. Default: as they come.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of each camera at most.")] = None,
    deadline_ms: Annotated[
        int | None, typer.Option(min=1, help="Deadline after the capture; a later decision is useless to the gate.")
    ] = None,
    lot: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="Lot of the parts, if the camera does not name one.",
        ),
    ] = None,
    no_part_id: NoPartId = None,
    encode: Annotated[
        EncodeModeChoice, choice("jpeg, png, or as-is: encoded files as they are, pixels as JPEG.")
    ] = "as-is",
    quality: Annotated[int, typer.Option(min=1, max=100, help="JPEG quality.")] = 95,
    bit_depth: Annotated[
        int | None,
        typer.Option(min=9, max=16, help="Bits that the cameras measure, for 16-bit images with 10, 12 or 14 of them."),
    ] = None,
    policy: Annotated[
        PolicyChoice | None,
        choice(
            "Frames to drop when Kafka is slower than the camera. Default: block (the camera waits) for files "
            "and data sets without --fps, else drop-oldest."
        ),
    ] = None,
    image_store: ImageStoreUri = None,
    store_above_kib: Annotated[
        int, typer.Option(min=0, help="Larger images go to the image store, and the frame refers to them.")
    ] = 4096,
    spool: Annotated[
        SpoolModeChoice,
        choice("Frames on disk: outage (what Kafka does not take), always (each one, before it is sent), or off."),
    ] = "outage",
    spool_dir: SpoolDir = None,
    spool_mib: Annotated[int, typer.Option(min=1, help="Largest size of a camera's spool, in MiB.")] = 1024,
    spool_when_full: Annotated[WhenFullChoice, choice("Frames to drop when the spool is full.")] = "drop-oldest",
    spool_order: Annotated[
        DrainOrderChoice,
        choice("Frames to send first once Kafka is reachable: new frames, or those on disk."),
    ] = "live-first",
    spool_sync: Annotated[
        SyncChoice, choice("full: each append survives a power cut. normal: a killed process only.")
    ] = "full",
    http_host: HttpHost = HTTP_HOST_DEFAULT,
    http_port: HttpPort = None,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Publish the frames of one or more cameras until they end, or Ctrl-C.

    Every frame is accounted for: published (acknowledged by Kafka), spooled (on disk until
    Kafka is back), dropped or failed. While Kafka is unreachable frames go to the spool; the next
    start of the camera, or `inspection spool drain`, sends what is left there.

        inspection produce --camera folder:images/ --fps 5
    """
    import threading
    from contextlib import ExitStack
    from dataclasses import replace

    from infra.cli.line.frame_progress import frame_progress
    from infra.cli.shared.shutdown import stop_on_signals
    from producers import CameraIdentity, CameraJob, FramePublisher, PublisherMetrics, PublisherOptions, run_cameras
    from producers.pacing import check_fps
    from producers.spool import SpoolOptions
    from transport.http_server import serve_http

    settings = kafka_settings(bootstrap_servers, prefix)
    options = PublisherOptions(
        encode=encode,
        quality=quality,
        bit_depth=bit_depth,
        deadline_ms=deadline_ms,
        lot=lot,
        no_part_ids=tuple(no_part_id or ()),
        policy=policy or "drop-oldest",
        image_store=image_store_uri(image_store),
        store_above_bytes=store_above_kib * 1024,
    )
    try:
        check_fps(fps)
    except ValueError as error:
        raise SettingsError(f"--fps {fps}: {error}") from None
    camera = [*(camera or []), *(() if camera_file is None else secret_lines(camera_file, "--camera-file"))]
    if not camera:
        raise SettingsError("no camera: name one with --camera, or with --camera-file")
    cameras = _cameras(camera, option or [])
    identities = [CameraIdentity(line, station, name) for name in _names(camera_id or [], len(camera))]
    spool_options = None
    if spool != "off":
        spool_options = SpoolOptions(
            directory=spool_directory(spool_dir),
            mode=spool,
            max_bytes=spool_mib * 1024 * 1024,
            when_full=spool_when_full,
            order=spool_order,
            sync=spool_sync,
        )
    http_host, http_port = http_endpoint(http_host, http_port, metrics_address, metrics_port)
    metrics = PublisherMetrics()
    stop = threading.Event()
    with stop_on_signals(stop), serve_http(metrics.registry, http_port, http_host), ExitStack() as stack:
        publishers: list[FramePublisher] = []
        for spec, identity in zip(camera, identities, strict=True):
            if stop.is_set():
                break  # each start waits for an unreachable broker
            waits = policy is None and fps is None and _can_wait(spec)
            chosen = replace(options, policy="block") if waits else options
            publisher = FramePublisher(settings, identity, chosen, spool=spool_options, metrics=metrics)
            publishers.append(stack.enter_context(publisher))
        jobs = [
            CameraJob(
                publisher.identity.key, source, publisher, fps, frames,
                address=spec, options=tuple(option or ()), on_missed=publisher.missed,
            )
            for spec, source, publisher in zip(camera, cameras, publishers, strict=False)
        ]  # fmt: skip
        with frame_progress(publishers, None if frames is None else frames * len(jobs)):
            reports = run_cameras(jobs, stop)
        stats = [publisher.close() for publisher in publishers]
    _summary(reports, stats, [publisher.started_at_us for publisher in publishers], as_json=as_json)


def _can_wait(spec: str) -> bool:
    """Return True if a late request to the camera loses no frame; a device would lose frames."""
    return spec.partition(":")[0] in ("folder", "video", "elpv", "synthetic")


def _names(given: list[str], count: int) -> list[str]:
    names = given or [f"camera-{number}" for number in range(1, count + 1)]
    if len(names) != count or len(set(names)) != count:
        raise SettingsError(f"--camera-id: {count} different names for {count} cameras, not {', '.join(names)}")
    return names


def _cameras(specs: list[str], options: list[str]) -> list[Camera]:
    from producers.plugins import load_camera

    pairs = [text.partition("=") for text in options]
    for number, (key, equals, _) in enumerate(pairs, 1):
        if not key or not equals:
            raise SettingsError(f"--option number {number} has no name or no =; it is k=v, as in seed=7")
    given = {key: value for key, _, value in pairs}
    cameras = []
    elpv_seen = 0
    for spec in specs:
        extra: dict[str, str] = {}
        if spec == "elpv" and specs.count("elpv") > 1:
            # Several elpv cameras share the cells instead of showing the same ones.
            extra = {"camera": str(elpv_seen), "cameras": str(specs.count("elpv"))}
            elpv_seen += 1
        cameras.append(load_camera(spec, {**extra, **given}))
    return cameras


def _summary(reports: list[CameraReport], stats: list[PublisherStats], starts: list[int], *, as_json: bool) -> None:
    from dataclasses import asdict

    rows = [
        {
            **asdict(report),
            **asdict(stat),
            "dropped": stat.dropped,
            "failed": stat.failed,
            "too_large": stat.too_large,
            "pending": stat.pending,
            "started_at_us": started_at_us,
        }
        for report, stat, started_at_us in zip(reports, stats, starts, strict=True)
    ]
    if as_json:
        echo_json({"cameras": rows, "captured": sum(stat.captured for stat in stats)})
    else:
        for row in rows:
            echo(_line(row))
    bad = [report for report in reports if not report.ok]
    # Frames that were dropped for newer ones follow the policy: they are counted and shown, but are no failure.
    lost = sum(stat.failed + stat.too_large + stat.pending for stat in stats)
    refused = [stat.refused_because for stat in stats if stat.refused_because is not None and stat.spooled]
    if bad or lost or refused:
        why = [f"camera {report.name}: {report.error or 'does not end'}" for report in bad]
        if refused:
            why.append(f"{sum(stat.spooled for stat in stats)} frames stay in the spool: {refused[0]}")
        raise ProduceFailed("; ".join([*why, f"{lost} frames lost"] if lost else why))


def _line(row: dict[str, Any]) -> str:
    latency = "" if row["latency_ms_p50"] is None else f", {row['latency_ms_p50']:.1f} ms to acknowledgement (median)"
    reasons = {**row["dropped_by_reason"], **row["failed_by_reason"]}
    why = f" ({', '.join(f'{reason} {count}' for reason, count in reasons.items())})" if reasons else ""
    spooled = f"{row['spooled']} left in the spool, " if row["spooled"] else ""
    nameless = f", {row['no_part_id']} without a part id" if row["no_part_id"] else ""
    recovered = f", {row['recovered']} of earlier runs sent from the spool" if row["recovered"] else ""
    missed = f", {row['missed']} slots missed" if row["missed"] else ""
    return (
        f"{row['name']}: {row['captured']} captured, {row['published']} published, {spooled}"
        f"{row['dropped']} dropped, {row['failed']} failed{why}{missed}{nameless}{recovered}{latency}"
    )

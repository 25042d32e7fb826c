"""`inspection worker`: inspect frames and publish decisions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    BootstrapServers,
    ImageStoreUri,
    Prefix,
    Signatures,
    TrustFolder,
    TrustTopic,
    as_text,
    image_store_uri,
    kafka_settings,
)
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from stream_processors.worker.overload import Overload, OverloadPolicy


def worker(
    model: Annotated[
        Path | None, typer.Option(help="Directory of the model package. Without it: the solar-cell model that ships.")
    ] = None,
    group: Annotated[
        str,
        typer.Option(
            callback=as_text,
            help="Consumer group; its workers share the frames.",
        ),
    ] = "inspection-workers",
    redundant: Annotated[
        bool,
        typer.Option(
            "--redundant",
            help="Join a second group that also answers every frame: then the loss of a worker of either group delays "
            "no decision. It takes as much CPU as the first group (docs/high-availability.md).",
        ),
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            help="Worker processes, each with partitions of its own. Default: one for every two cores. One for every "
            "core, with one thread each, is the quickest for many cameras and a small network."
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Frames that a process inspects at once. Default: its share of the cores, at most 4."),
    ] = None,
    buffer_mib: Annotated[int, typer.Option(help="Most frames in memory, in MiB.")] = 32,
    overload: Annotated[
        list[str] | None,
        typer.Option(
            help="Reaction to frames that come too fast: deadline (shed frames that can no longer be in time), newest "
            "(inspect only the newest of each camera), everything (late decisions). For one station: station=mode. May "
            "be repeated."
        ),
    ] = None,
    image_store: ImageStoreUri = None,
    watchdog_s: Annotated[
        float, typer.Option(help="End if frames wait and none is committed for this many seconds; 0: never.")
    ] = 60.0,
    session_timeout_s: Annotated[
        float,
        typer.Option(
            help="Other workers of the group take over the frames of a worker that is silent for this long. Brokers "
            "accept no less than their group.min.session.timeout.ms, by default 6 s."
        ),
    ] = 6.0,
    unhealthy_after_s: Annotated[
        float, typer.Option(help="/health returns 503 if frames come but none is inspected for this long; 0: never.")
    ] = 30.0,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="INSPECTION_STATE_DIR",
            help="Folder with a list of the frames in work, so that the next start recognises a frame that ended the "
            "worker. Default: the user's folder for state.",
        ),
    ] = None,
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    http_host: Annotated[str, typer.Option(help="Address of /health and /metrics.")] = "127.0.0.1",
    http_port: Annotated[
        int | None, typer.Option(help="Their port. Default: 8088, or a free one when that is taken.")
    ] = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
) -> None:
    """Inspect frames and publish a decision for each, until told to stop.

    Start as many as the frames topic has partitions; they share the work. Ctrl-C or SIGTERM
    lets a worker finish its frames, commit and end.

        inspection worker --model my_model/
    """
    from schemas.replay_headers import group_of
    from stream_processors.worker.settings import DEFAULT_GROUP, WorkerSettings, redundant_group, share_of_cores
    from transport.belief import SignaturePolicy

    is_open = threads is None
    processes, threads = share_of_cores(processes, threads)
    group = group_of(group, DEFAULT_GROUP, prefix)
    settings = WorkerSettings(
        kafka=kafka_settings(bootstrap_servers, prefix),
        model=model,
        group=redundant_group(group) if redundant else group,
        processes=processes,
        threads=threads,
        buffer_mib=buffer_mib,
        overload=_policy(overload or []),
        image_store=image_store_uri(image_store),
        watchdog_s=watchdog_s,
        session_timeout_s=session_timeout_s,
        unhealthy_after_s=unhealthy_after_s,
        state_dir=state_dir,
        trust=trust,
        trust_topic=trust_topic,
        signatures=None if signatures is None else SignaturePolicy(signatures),
        http_host=http_host,
        http_port=http_port,
    )
    if settings.processes > 1:
        from stream_processors.worker.supervisor import run_workers

        run_workers(settings, shares_threads=is_open)
    else:
        from stream_processors.worker.run import run_worker

        run_worker(settings)


def _policy(given: list[str]) -> OverloadPolicy:
    from stream_processors.worker.overload import Overload, OverloadPolicy

    default = Overload.DEADLINE
    stations: dict[str, Overload] = {}
    for text in given:
        station, equals, mode = text.rpartition("=")
        if mode not in list(Overload) or (equals and not station):
            raise SettingsError(f"--overload {text!r}: {', '.join(Overload)}, or station=mode")
        if equals:
            stations[station] = Overload(mode)
        else:
            default = Overload(mode)
    return OverloadPolicy(default, stations)

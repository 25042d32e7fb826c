"""`inspection archive`: keep the messages that the topics delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.shared.choices import ArchivedTopic, choice
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
    Prefix,
    http_endpoint,
    image_store_uri,
    kafka_settings,
)
from infra.cli.shared.terminal_text import echo, echo_json, shown
from schemas.errors import SettingsError
from schemas.moments import time_text

if TYPE_CHECKING:
    from replay.archive import SinkReport
    from replay.archive.status import TopicStatus
    from replay.archive.verify import Verification

app = typer.Typer(invoke_without_command=True)

Uri = Annotated[str, typer.Argument(metavar="URI", help="A directory, or s3://bucket/path.")]


@app.callback()
def archive(
    context: typer.Context,
    to: Annotated[str | None, typer.Option("--to", metavar="URI", help="A directory, or s3://bucket/path.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Archive what is there now, then end. Default: run on.")] = False,
    only: Annotated[
        list[ArchivedTopic] | None, choice("Only these topics; may be repeated. Default: all.", "--only")
    ] = None,
    every: Annotated[
        str, typer.Option(help="Write at the latest after this time, as 30s, 5m. A short time gives many small files.")
    ] = "5m",
    file_mib: Annotated[
        float, typer.Option(min=0.1, help="Write when this many MiB of messages wait in memory, in all topics.")
    ] = 64.0,
    image_store: ImageStoreUri = None,
    http_host: HttpHost = HTTP_HOST_DEFAULT,
    http_port: HttpPort = None,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Keep what the topics forget: frames, decisions, labels, drift and dead letters, as Avro files behind any URI.

    The position is stored in the archive only: kill the program, start it again, and it goes on where it was. Ctrl-C or
    SIGTERM lets it write what it has read. Images of frames by reference are fetched and kept in their frames.

        inspection archive --to s3://plant7/inspection
    """
    import threading
    from dataclasses import asdict

    if context.invoked_subcommand is not None:
        return
    if to is None:
        raise SettingsError("where to? as in `inspection archive --to /srv/archive` or --to s3://bucket/path")

    from infra.cli.shared.progress import reading
    from infra.cli.shared.shutdown import stop_on_signals
    from infra.cli.shared.times import seconds
    from replay.archive import ArchiveSink, ArchiveStore, SinkOptions
    from replay.archive.collector import ARCHIVED
    from replay.archive.metrics import ArchiveMetrics
    from transport.batch_letters import BatchLetters
    from transport.http_server import serve_http
    from transport.image_store import ImageStore

    topics = tuple(topic for topic in ARCHIVED if not only or topic.suffix in only)
    options = SinkOptions(topics, round(file_mib * 1024 * 1024), seconds(every, "--every"))
    metrics = ArchiveMetrics()
    images = ImageStore(image_store_uri(image_store))
    kafka = kafka_settings(bootstrap_servers, prefix)
    letters = BatchLetters(kafka, "archive")
    sink = ArchiveSink(
        kafka, ArchiveStore(to), options, image_store=images, metrics=metrics, on_unreadable=letters.write
    )
    http_host, http_port = http_endpoint(http_host, http_port, metrics_address, metrics_port)
    stop = threading.Event()
    with stop_on_signals(stop), serve_http(metrics.registry, http_port, http_host):
        try:
            if once:
                with reading() as show:
                    report = sink.run_once(stop, lambda done, total: show("archive", done, total))
            else:
                report = sink.follow(stop)
        finally:
            letters.close()
    if as_json:
        echo_json(asdict(report))
    else:
        echo(_with_cause(report))


@app.command()
def verify(
    uri: Uri,
    quick: Annotated[
        bool, typer.Option("--quick", help="Check only that files exist with their size. Default: check every byte.")
    ] = False,
    remove_leftovers: Annotated[
        bool, typer.Option("--remove-leftovers", help="Delete files older than an hour that no commit names.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check that an archive is whole: every commit, file, checksum and record. Exit status 1 if it is damaged.

    inspection archive verify s3://plant7/inspection
    """
    from dataclasses import asdict

    from infra.cli.shared.progress import reading
    from replay.archive import ArchiveStore
    from replay.archive.verify import verify as check

    with reading() as show:
        report = check(
            ArchiveStore(uri),
            quick=quick,
            remove_leftovers=remove_leftovers,
            on_progress=lambda done, total: show("verify", done, total),
        )
    if as_json:
        echo_json(asdict(report))
    else:
        _print_verification(report)
    if report.damage:
        raise typer.Exit(1)


@app.command()
def status(
    uri: Uri,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show what an archive contains, and how far it is behind the line if the broker answers.

    inspection archive status s3://plant7/inspection
    """
    from dataclasses import asdict

    from replay.archive import ArchiveStore
    from replay.archive.status import status as ask

    rows = ask(ArchiveStore(uri), kafka_settings(bootstrap_servers, prefix))
    if as_json:
        echo_json({"archive": ArchiveStore(uri).uri, "topics": [asdict(row) for row in rows]})
        return
    for row in rows:
        _print_status(row)
    if not rows:
        echo("nothing is archived yet")


def _with_cause(report: SinkReport) -> str:
    text = f"{report.messages} messages archived in {report.files} files, {report.bytes / 1e6:.1f} MB"
    for count, what in (
        (report.unreadable, "unreadable, kept as they came"),
        (report.references, "frames without their image, which the image store did not return"),
        (report.deleted, "offsets were deleted before they were archived"),
        (report.undecodable, "offsets lie in batches that no client reads"),
    ):
        text += f"; {count} {what}" if count else ""
    return text


def _print_verification(report: Verification) -> None:

    for line in report.damage:
        echo(f"damaged: {line}")
    for line in report.gaps:
        echo(f"gap: {line}")
    if report.twice:
        echo(f"{report.twice} offsets were archived twice, and are read once")
    if report.leftovers:
        size = sum(report.leftovers.values()) / 1e6
        echo(
            f"{len(report.leftovers)} files of {size:.1f} MB are named by no commit: runs that were killed left them, "
            + (f"{report.removed} removed" if report.removed else "--remove-leftovers deletes those older than an hour")
        )
    if report.kept:
        echo(
            f"{len(report.kept)} of these files have offsets of a missing commit: they may be the only copy, and are "
            f"never removed: {', '.join(sorted(report.kept)[:3])}"
        )
    state = f"{len(report.damage)} damaged" if report.damage else "whole"
    echo(
        f"{state}: {report.topics} topics, {report.commits} commits, {report.files} files, {report.messages} messages, "
        f"{report.bytes / 1e6:.1f} MB"
    )


def _print_status(row: TopicStatus) -> None:

    lag = "" if row.lag is None else f", {row.lag} offsets behind"
    echo(f"{row.topic}: {row.messages} messages, {row.files} files, {row.bytes / 1e6:.1f} MB{lag}")
    if row.from_us is not None and row.to_us is not None:
        echo(f"  from {time_text(row.from_us)} to {time_text(row.to_us)}, last commit {time_text(row.last_commit_us)}")
    for number, (begin, end) in row.offsets.items():
        gaps = "".join(f"; not {a} to {b - 1}" for a, b in row.gaps.get(number, []))
        echo(f"  partition {number}: offsets {begin} to {end - 1}{gaps}")
    for camera, count in sorted(row.cameras.items())[:20]:
        echo(f"  {shown(camera, 100)}: {count}")
    if len(row.cameras) > 20:
        echo(f"  and {len(row.cameras) - 20} more cameras")
    for count, what in ((row.unreadable, "unreadable messages"), (row.references, "frames without their image")):
        if count:
            echo(f"  {count} {what}")
    if row.problem:
        echo(f"  {row.problem}")

"""`inspection broker`: start, stop and show the local Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.shared.options import Json
from infra.cli.shared.terminal_text import echo, echo_json

if TYPE_CHECKING:
    from infra.broker.local import BrokerStatus

app = typer.Typer(no_args_is_help=True, help="Run a real Apache Kafka on this machine, on loopback only.")

DataDir = Annotated[Path | None, typer.Option(help="Folder for topics and log. Default: the user's data directory.")]


def _show(status: BrokerStatus, as_json: bool) -> None:
    from dataclasses import asdict

    from infra.broker.secured_start import client_file, find_security

    if as_json:
        echo_json(asdict(status))
    elif status.running:
        answers = "answers" if status.ready else "does not answer (yet)"
        echo(f"Kafka {status.version} {answers} at {status.bootstrap_servers} (process {status.pid})")
        echo(f"data {status.data_dir} (private to this user), log {status.log}")
        client = client_file(Path(status.data_dir))
        if find_security(Path(status.data_dir)) is None:
            echo("it has no passwords: every user of this machine can connect, read and write")
        else:
            echo(f"it has TLS and a password: export INSPECTION_KAFKA_CONFIG={client}")
    else:
        echo(f"no broker runs on {status.data_dir}")


@app.command()
def start(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 9092,
    data_dir: DataDir = None,
    heap_mib: Annotated[int, typer.Option(help="Java heap in MiB.")] = 384,
    secure: Annotated[
        bool,
        typer.Option(
            "--secure",
            help="TLS and a random password, in client.properties of the data directory. Later starts keep them.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Start the broker and wait until it answers. The first start fetches Kafka's jars (45 MB)."""
    from infra.broker.download_progress import download_progress
    from infra.broker.local import LocalBroker, default_data_dir
    from infra.broker.secured_start import find_security, make_security, write_client

    folder = (data_dir or default_data_dir()).absolute()
    security = make_security(folder) if secure else find_security(folder)
    with download_progress() as progress:
        status = LocalBroker(folder, port, heap_mib, security=security).start(progress=progress)
    if security is not None and status.bootstrap_servers is not None:
        write_client(folder, security, status.bootstrap_servers)
    _show(status, as_json)


@app.command()
def stop(data_dir: DataDir = None) -> None:
    """Stop the broker cleanly. Its topics stay for the next start."""
    from infra.broker.local import LocalBroker

    echo("stopped" if LocalBroker(data_dir).stop() else "no broker was running")


@app.command()
def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show if the broker runs and answers; exit status 1 if it does not."""
    from infra.broker.local import LocalBroker, default_data_dir
    from infra.broker.secured_start import find_security

    folder = (data_dir or default_data_dir()).absolute()
    found = LocalBroker(folder, security=find_security(folder)).status()
    _show(found, as_json)
    if not found.ready:
        raise typer.Exit(1)

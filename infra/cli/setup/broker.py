"""`inspection broker`: start, stop and show the local Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from infra.cli.shared.choices import choice
from infra.cli.shared.options import Json
from infra.cli.shared.terminal_text import echo, echo_json

if TYPE_CHECKING:
    from infra.broker.cluster import ClusterStatus
    from infra.broker.local import BrokerStatus

app = typer.Typer(no_args_is_help=True, help="Run a real Apache Kafka on this machine, on loopback only.")

DataDir = Annotated[Path | None, typer.Option(help="Folder for topics and log. Default: the user's data directory.")]


def _show_cluster(status: ClusterStatus, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        echo_json(asdict(status))
        return
    for number, node in enumerate(status.nodes, 1):
        if node.running:
            answers = "answers" if node.ready else "does not answer (yet)"
            echo(f"node {number} of Kafka {node.version} {answers} at {node.bootstrap_servers} (process {node.pid})")
        else:
            echo(f"node {number} does not run, log {node.log}")
    if status.running:
        echo(f"--bootstrap-servers {status.bootstrap_servers}, data {status.data_dir} (private to this user)")
        _show_security(Path(status.data_dir), status.bootstrap_servers or "")


def _show_security(folder: Path, servers: str) -> None:
    from infra.broker.secured_start import find_security
    from schemas.connection.local_broker import CLIENT_FILE, default_data_dir
    from schemas.settings import DEFAULT_BOOTSTRAP_SERVERS

    security = find_security(folder)
    if security is None:
        echo("warning: it has no passwords: every user of this machine can read, write and delete topics", err=True)
    else:
        kind = "a password" if security.keystore is None else "TLS and a password"
        export = f"export INSPECTION_KAFKA_CONFIG={folder / CLIENT_FILE}"
        # Without an address, commands ask the default one.
        where = "" if DEFAULT_BOOTSTRAP_SERVERS in servers.split(",") else f" with --bootstrap-servers {servers}"
        find = f"commands of this user find it{where}"
        echo(f"it has {kind}: {find if folder == default_data_dir() else export}")


def _show(status: BrokerStatus, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        echo_json(asdict(status))
    elif status.running:
        answers = "answers" if status.ready else "does not answer (yet)"
        echo(f"Kafka {status.version} {answers} at {status.bootstrap_servers} (process {status.pid})")
        echo(f"data {status.data_dir} (private to this user), log {status.log}")
        _show_security(Path(status.data_dir), status.bootstrap_servers or "")
    else:
        echo(f"no broker runs on {status.data_dir}")


@app.command()
def start(
    port: Annotated[
        int | None,
        typer.Option(help="Port on 127.0.0.1; 0 takes a free one. Default: that of the last start, else 9092."),
    ] = None,
    data_dir: DataDir = None,
    heap_mib: Annotated[
        int | None, typer.Option(help="Java heap in MiB. Default: 384, or 256 for each node of a cluster.")
    ] = None,
    nodes: Annotated[
        Literal["1", "3"] | None,
        choice("Brokers: 1, or a cluster of 3 with the ports from --port on. Default: as at the last start, else 1."),
    ] = None,
    secure: Annotated[bool, typer.Option("--secure", help="TLS beside the password. Later starts keep both.")] = False,
    is_open: Annotated[
        bool, typer.Option("--open", help="No password: every user of this machine can read, write and delete topics.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start the broker and wait until it answers. The first start fetches Kafka's jars (45 MB).

    It is on loopback, with a random password in a private file of the data directory, which all commands of this user
    find by themselves if the directory is the default one.
    """
    from infra.broker.cluster import ClusterStatus, LocalCluster
    from infra.broker.download_progress import download_progress
    from infra.broker.local import LocalBroker
    from infra.broker.secured_start import make_security, require_open, write_client
    from schemas.connection.local_broker import default_data_dir
    from schemas.errors import SettingsError

    if secure and is_open:
        raise SettingsError("--secure and --open exclude each other")
    folder = (data_dir or default_data_dir()).absolute()
    is_cluster = _is_cluster(folder, nodes)
    if is_open:
        require_open(folder)
    security = None if is_open else make_security(folder, tls=secure)
    status: BrokerStatus | ClusterStatus
    with download_progress() as progress:
        if is_cluster:
            status = LocalCluster(folder, port, heap_mib or 256, security=security).start(progress=progress)
        else:
            status = LocalBroker(folder, port, heap_mib or 384, security=security).start(progress=progress)
    if security is not None and status.bootstrap_servers is not None:
        write_client(folder, security, status.bootstrap_servers)
    if isinstance(status, ClusterStatus):
        _show_cluster(status, as_json)
    else:
        _show(status, as_json)


def _is_cluster(folder: Path, nodes: str | None = None) -> bool:
    """Return True if a data directory has, or is to have, a cluster."""
    from infra.broker.cluster import find_plan
    from infra.broker.errors import BrokerError

    is_cluster = find_plan(folder) is not None
    if is_cluster and nodes == "1":
        raise BrokerError(f"{folder} has the topics of a cluster of 3; choose another --data-dir")
    return is_cluster or nodes == "3"


@app.command()
def stop(data_dir: DataDir = None) -> None:
    """Stop the broker, or all nodes of the cluster. The topics stay for the next start."""
    from infra.broker.cluster import LocalCluster
    from infra.broker.local import LocalBroker
    from schemas.connection.local_broker import default_data_dir

    folder = (data_dir or default_data_dir()).absolute()
    broker = LocalCluster(folder) if _is_cluster(folder) else LocalBroker(folder)
    echo("stopped" if broker.stop() else "no broker was running")


@app.command()
def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show if the broker runs and answers; exit status 1 if it, or a node of the cluster, does not."""
    from infra.broker.cluster import LocalCluster
    from infra.broker.local import LocalBroker
    from infra.broker.secured_start import find_security
    from schemas.connection.local_broker import default_data_dir

    folder = (data_dir or default_data_dir()).absolute()
    security = find_security(folder)
    found: BrokerStatus | ClusterStatus
    if _is_cluster(folder):
        found = LocalCluster(folder, security=security).status()
        _show_cluster(found, as_json)
    else:
        found = LocalBroker(folder, security=security).status()
        _show(found, as_json)
    if not found.ready:
        raise typer.Exit(1)

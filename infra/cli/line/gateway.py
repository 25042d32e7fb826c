"""`inspection gateway`: images in, decisions out, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    BootstrapServers,
    Json,
    Prefix,
    as_text,
    kafka_settings,
)
from infra.cli.shared.terminal_text import echo_json, echo_lines


def gateway(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Another one than loopback needs --tokens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")] = 8080,
    reuse_port: Annotated[
        bool, typer.Option("--reuse-port", help="Share the port with other gateways; each needs its own --instance.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Processes behind the port; the bounds below count for each of them.")
    ] = 1,
    line: Annotated[str, typer.Option(callback=as_text, help="Line of the frames.")] = "line-1",
    station: Annotated[str, typer.Option(callback=as_text, help="Station of requests that name none.")] = "http",
    instance: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="Name of this gateway in the names of its cameras; no two of a line have one name. Default: machine "
            "and port.",
        ),
    ] = None,
    cameras: Annotated[
        int,
        typer.Option(
            min=1, max=64, help="Cameras for each client. One camera's frames go to one worker; more spread the load."
        ),
    ] = 1,
    wait_s: Annotated[
        float, typer.Option(help="Wait for the decision in s, if the request has no Prefer: wait.")
    ] = 10.0,
    waiting: Annotated[int, typer.Option(min=1, help="Most requests at the same time.")] = 64,
    waiting_per_client: Annotated[
        int, typer.Option(min=1, help="Most requests of one client at the same time, if there are several clients.")
    ] = 32,
    tokens: Annotated[Path | None, typer.Option(help="File with the clients and the hashes of their tokens.")] = None,
    new_token: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Print a new token for this client, and the lines of the file; then end."),
    ] = None,
    label_key: Annotated[
        Path | None,
        typer.Option(
            envvar="INSPECTION_LABEL_KEY",
            help="Private key that labels are signed with, of the role operator (`inspection keys new`): readers with "
            "--trust use no other labels. Default: the key of the frames.",
            show_default=False,
        ),
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="File of the certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="File of its private key, PEM.")] = None,
    image_store: Annotated[
        str | None,
        typer.Option(
            "--image-store",
            envvar="INSPECTION_IMAGE_STORE",
            help="Store of images too large for the topic. Default: such images are refused.",
        ),
    ] = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Answer images over HTTP with the decisions of the line.

    POST an image to /v1/inspections and get its decision. The frame is an ordinary frame of a camera, so
    audit, drift, replay and labels know it. Ctrl-C or SIGTERM lets the gateway answer what is at hand.

        inspection gateway
    """
    import threading

    from gateway.extra import require_extra
    from infra.cli.shared.shutdown import stop_on_signals

    require_extra()
    from gateway.clients import new_token as make_token
    from gateway.processes import run_processes
    from gateway.run import run_gateway
    from gateway.settings import GatewaySettings

    if new_token is not None:
        token, lines = make_token(new_token)
        echo_lines([f"token: {token}", "", *lines.splitlines()])
        return
    settings = GatewaySettings(
        line=line,
        station=station,
        instance=instance,
        host=host,
        port=port,
        reuse_port=reuse_port,
        cameras=cameras,
        wait_s=wait_s,
        waiting=waiting,
        waiting_per_client=waiting_per_client,
        tokens=tokens,
        label_key=label_key,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        image_store=image_store,
    )
    stop = threading.Event()
    with stop_on_signals(stop):
        kafka = kafka_settings(bootstrap_servers, prefix)
        if processes == 1:
            report = run_gateway(kafka, settings, stop)
        else:
            report = run_processes(kafka, settings, processes, stop)
    if as_json:
        echo_json(report.as_dict())
    else:
        echo_lines(report.as_lines())

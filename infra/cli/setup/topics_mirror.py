"""`inspection topics mirror-config`: the file with which MirrorMaker brings the answers of a line to a centre."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.shared.options import PREFIX_DEFAULT, Prefix
from infra.cli.shared.terminal_text import echo_lines

_Client = "properties file with which clients connect, as INSPECTION_KAFKA_CONFIG names one"


def mirror_config(
    line: Annotated[Path, typer.Option(help=f"Cluster of the line: {_Client}.", show_default=False)],
    centre: Annotated[Path, typer.Option(help="Cluster of the centre, likewise.", show_default=False)],
    line_name: Annotated[str, typer.Option(help="Name of the line; first part of its topics at the centre.")] = "line",
    centre_name: Annotated[str, typer.Option(help="Name of the centre.")] = "centre",
    line_password_file: Annotated[
        Path | None, typer.Option(help="File with the password for the line, without a line break at its end.")
    ] = None,
    centre_password_file: Annotated[Path | None, typer.Option(help="The same for the centre.")] = None,
    copies: Annotated[int, typer.Option(min=1, max=100, help="Copies of each partition at the centre.")] = 3,
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Topics have the same names at the centre. For one line only.")
    ] = False,
    prefix: Prefix = PREFIX_DEFAULT,
) -> None:
    """Print the configuration of MirrorMaker 2: decisions, labels, drift and dead letters go to a centre.

    Images stay at the line. The file holds no secret, but the places from which MirrorMaker reads them.

        inspection topics mirror-config --line line.properties --centre centre.properties > mirror.properties
        connect-mirror-maker.sh mirror.properties
    """
    from transport.mirror_config import MirrorSite
    from transport.mirror_config import mirror_config as text_of

    sites = (
        MirrorSite(line_name, line, line_password_file),
        MirrorSite(centre_name, centre, centre_password_file),
    )
    echo_lines(text_of(*sites, prefix, copies=copies, keep_names=keep_names).splitlines())

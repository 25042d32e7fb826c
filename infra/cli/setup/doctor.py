"""`inspection doctor`: find the faults of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.shared.options import BOOTSTRAP_DEFAULT, PREFIX_DEFAULT, BootstrapServers, Json, Prefix, kafka_settings
from infra.cli.shared.terminal_text import echo, echo_json, shown

if TYPE_CHECKING:
    from infra.doctor import Check


def doctor(
    data_dir: Annotated[
        Path | None, typer.Option(help="Data directory of the local broker. Default: the user's data directory.")
    ] = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Check Python, Java, Kafka, schemas, model, clock, broker and topics; exit status 1 if a check fails."""
    from infra.doctor import examine

    checks = examine(kafka_settings(bootstrap_servers, prefix), data_dir)
    if as_json:
        from dataclasses import asdict

        healthy = not any(check.status == "fail" for check in checks)
        echo_json({"healthy": healthy, "checks": [asdict(check) for check in checks]})
    else:
        _print(checks)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(1)


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        text = escape(shown(check.detail)) + (f"\n[bold]{escape(shown(check.remedy))}[/bold]" if check.remedy else "")
        colour = colours[check.status]
        table.add_row(f"[{colour}]{check.status}[/{colour}]", check.name, text)
    Console(highlight=False).print(table)
    failed = sum(check.status == "fail" for check in checks)
    warned = sum(check.status == "warn" for check in checks)
    echo(f"{len(checks)} checks: {failed} failed, {warned} to look at")

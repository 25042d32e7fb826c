"""`inspection gate`: how a gate is, and the reset of its FAULT, through its state directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.options import Json, as_text
from infra.cli.text import echo, echo_json
from schemas.moments import time_text
from schemas.text import file_text

if TYPE_CHECKING:
    from actuators.fault_reset import Standing

app = typer.Typer(no_args_is_help=True, help="A gate in FAULT: show it, reset it.")

_StateDir = Annotated[Path, typer.Option(help="State directory of the gate, as given to `inspection actuate`.")]


@app.command()
def status(state_dir: _StateDir, as_json: Json = False) -> None:
    """Show whether the gate runs and is in FAULT; exit status 1 in FAULT."""
    from actuators.fault_reset import standing

    found = standing(state_dir)
    _show(found, as_json)
    if found.fault is not None:
        raise typer.Exit(1)


@app.command()
def reset(
    state_dir: _StateDir,
    note: Annotated[
        str,
        typer.Option(
            callback=as_text,
            help="What you found and did; kept with the reset.",
        ),
    ],
    who: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="Who resets it. Default: your user name.",
        ),
    ] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds the running gate may take.")] = 5.0,
    as_json: Json = False,
) -> None:
    """End a FAULT, of a gate that runs or of one that does not.

    Look first: from now on parts are accepted again.

        inspection gate reset --state-dir /var/lib/gate --note "worker had crashed, restarted it"
    """
    import getpass

    from actuators.fault_reset import reset_fault

    found = reset_fault(state_dir, who or file_text(getpass.getuser()), note, timeout_s=timeout_s)
    _show(found, as_json)
    if found.fault is not None:
        raise typer.Exit(1)


def _show(found: Standing, as_json: bool) -> None:

    if as_json:
        echo_json(found.as_dict())
        return
    process = "the gate runs" if found.is_gate_running else "no gate runs"
    if found.fault is None:
        echo(f"no fault; {process}")
    else:
        echo(f"FAULT since {time_text(found.fault.since_us)}: {found.fault.reason}; {process}")
    last: Any = found.last_reset
    if last is not None:
        echo(f"last reset {time_text(last.at_us)} by {last.who}: {last.note}")

"""Commands of `inspection gate`: state of a gate, reset of its FAULT, and stop of the belt, by its state directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.audited import warn
from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    BootstrapServers,
    Json,
    Prefix,
    as_text,
    kafka_settings,
    user_name,
)
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.moments import time_text

if TYPE_CHECKING:
    from actuators.fault_reset import FaultStatus

#: Longest wait for Kafka after a reset, in seconds.
_PATIENCE_S = 2.0

app = typer.Typer(no_args_is_help=True, help="A gate in FAULT: show it, reset it.\n\nA stopped belt: suspend, resume.")

_StateDir = Annotated[Path, typer.Option(help="State directory of the gate, as given to `inspection actuate`.")]


@app.command()
def status(state_dir: _StateDir, as_json: Json = False) -> None:
    """Show if the gate runs, if it is in FAULT, and if its belt is stopped; exit status 1 in FAULT."""
    from actuators.fault_reset import standing

    found = standing(state_dir)
    _show(found, state_dir, as_json)
    if found.fault is not None:
        raise typer.Exit(1)


@app.command()
def reset(
    state_dir: _StateDir,
    note: Annotated[
        str,
        typer.Option(
            callback=as_text,
            help="Your finding and action; kept with the reset.",
        ),
    ],
    who: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="Person who resets it. Default: your user name.",
        ),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, max=3600, help="Seconds the running gate may take.")
    ] = 5.0,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """End a FAULT, of a gate that runs or of one that does not.

    Look first: from now on parts are accepted again. The reset needs no Kafka. It is kept in the state directory, and
    copied to the audit log if that can be reached; `inspection trail copy` copies it later.

        inspection gate reset --state-dir /var/lib/gate --note "worker had crashed, restarted it"
    """
    from actuators.fault_reset import reset_fault

    found = reset_fault(state_dir, who or user_name("--who"), note, timeout_s=timeout_s)
    _show(found, state_dir, as_json)
    if found.fault is not None:
        raise typer.Exit(1)
    _copy(state_dir, bootstrap_servers, prefix)


@app.command()
def suspend(
    state_dir: _StateDir,
    note: Annotated[str, typer.Option(help="Reason for the stop; kept until the belt moves again.")] = "",
    who: Annotated[str | None, typer.Option(help="Person who reports it. Default: your user name.")] = None,
) -> None:
    """Report that the belt is stopped: no part arrives until `inspection gate resume`.

    The gate's schedule is one of time, at a constant speed of the belt. Parts that are on the belt now get the
    fail-safe when they arrive. A running gate notices this within 0.1 s; a gate that starts meanwhile starts suspended.
    """
    from actuators.belt_file import BeltFile
    from actuators.fault_reset import standing

    standing(state_dir)
    BeltFile(state_dir).stop(who or user_name("--who"), note)
    echo("the belt stands; `inspection gate resume` when it moves again")


@app.command()
def resume(state_dir: _StateDir) -> None:
    """Report that the belt moves again: parts on it arrive later by the time that it was stopped."""
    from actuators.belt_file import BeltFile
    from actuators.fault_reset import standing

    standing(state_dir)
    was_standing = BeltFile(state_dir).resume()
    echo("the belt moves" if was_standing else "no stop of the belt was reported")


def _copy(state_dir: Path, bootstrap_servers: str, prefix: str) -> None:
    """Copy the resets to the audit log; a warning if that fails: the gate runs already."""
    from operations.trail.record import Act, has_audit_log
    from operations.trail.resets import copy_resets
    from schemas.errors import InspectionError

    try:
        kafka = kafka_settings(bootstrap_servers, prefix)
        if has_audit_log(kafka, Act.GATE_RESET, warn, timeout_s=_PATIENCE_S):
            copy_resets(kafka, state_dir)
    except InspectionError as error:
        why = str(error).partition("; ")[0]
        warn(f"the reset is not in the audit log yet: {why}; `inspection trail copy --state-dir {state_dir}` copies it")


def _show(found: FaultStatus, state_dir: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from actuators.belt_file import BeltFile

    belt = BeltFile(state_dir).load()
    if as_json:
        echo_json({**found.as_dict(), "belt_stop": None if belt is None else asdict(belt)})
        return
    process = "the gate runs" if found.is_gate_running else "no gate runs"
    if found.fault is None:
        echo(f"no fault; {process}")
    else:
        echo(f"FAULT since {time_text(found.fault.since_us)}: {found.fault.reason}; {process}")
    if belt is not None:
        note = f": {belt.note}" if belt.note else ""
        echo(f"the belt stands since {time_text(belt.at_us)}, says {belt.who}{note}")
    last: Any = found.last_reset
    if last is not None:
        echo(f"last reset {time_text(last.at_us)} by {last.who}: {last.note}")

"""`inspection trail`: who did what to the line, and whether the log of it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    BootstrapServers,
    Json,
    Prefix,
    Signatures,
    TrustFolder,
    TrustTopic,
    kafka_settings,
)
from infra.cli.shared.signature_options import checked_keys
from infra.cli.shared.terminal_text import echo, echo_json, shown
from schemas.errors import InspectionError
from schemas.moments import time_text

if TYPE_CHECKING:
    from operations.trail.read import TrailCheck
    from transport.audit_log import LoggedEvent

#: Most stretches of events that the line about signatures names for a reason.
_SHOWN_SPANS = 10
app = typer.Typer(help="Who labelled, acknowledged, reset, retried, replayed: the audit log, and a check of it.")


class TrailBroken(InspectionError):
    """Error: events or lines were changed or removed."""


@app.callback(invoke_without_command=True)
def trail(
    context: typer.Context,
    since: Annotated[str | None, typer.Option(help="Only events of the last 90s, 8h, 30d.")] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check the hash chain of the whole log and, with --trust, the signature of each event; exit status 1 "
            "if the chain is broken, or a signature is required and missing.",
        ),
    ] = False,
    head: Annotated[
        str | None,
        typer.Option(metavar="OFFSET:SHA256", help="Head that an earlier --verify printed: it must still be there."),
    ] = None,
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """List the acts of people on the line: time, act, what it changed, user of Kafka, and the name that was given.

    inspection trail --since 30d
    """
    if context.invoked_subcommand is not None:
        return
    import time
    from dataclasses import replace

    from infra.cli.shared.times import seconds
    from operations.trail.read import check_trail, parse_head, read_trail
    from transport.belief import SignaturePolicy

    kafka = kafka_settings(bootstrap_servers, prefix)
    expected = None if head is None else parse_head(head)
    begin_us = None if since is None else time.time_ns() // 1000 - round(seconds(since, "--since") * 1e6)
    rows: list[dict[str, Any]] = []

    def take(each: LoggedEvent) -> None:
        if begin_us is not None and each.at_us < begin_us:
            return
        if as_json:
            rows.append(_row(each))
        else:
            echo(_line(each))

    if not (verify or head):
        for each in read_trail(kafka, begin_us):
            take(each)
        if as_json:
            echo_json({"events": rows})
        return
    checked = checked_keys(kafka, trust, trust_topic, signatures)
    keys, policy = checked or (None, SignaturePolicy.OFF)
    found = check_trail(kafka, expected, take, keys=keys, policy=policy)
    if as_json:
        echo_json({"events": rows, "check": _check_row(found)})
    else:
        _say(found)
    if not found.is_whole:
        why = "is not what was written"
        if replace(found, unsigned=()).is_whole:
            why = "has events that are not signed"
        elif replace(found, unsigned=(), hidden_from=None).is_whole:
            why = "was not read to its end"
        raise TrailBroken(f"{kafka.audit_log} {why}")


@app.command(name="file")
def check_file(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Journal of a gate, or its gate.trail.jsonl; older parts first."),
    ],
    head: Annotated[
        str | None,
        typer.Option(metavar="COUNT:SHA256", help="Head that an earlier check printed: its line must still be there."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the hash chain of a gate's journal, or of its resets; exit status 1 if a line was changed or removed.

    The newest lines may be missing without a fault: keep the head that is printed elsewhere, and give it next time.

    inspection trail file gate.jsonl
    """
    from operations.trail.files import check_files
    from operations.trail.read import parse_head

    found = check_files(files, None if head is None else parse_head(head))
    if as_json:
        faults = [{"line": fault.at, "what": fault.what} for fault in found.faults]
        row = {"lines": found.lines, "faults": faults, "head": found.head, "head_is_lost": found.is_head_lost}
        echo_json(row)
    else:
        for fault in found.faults:
            echo(str(fault))
        if found.is_head_lost:
            echo("no line has the head that was noted")
        echo(f"{found.lines} lines, {len(found.faults)} faults" + (f"; head {found.head}" if found.head else ""))
    if found.faults or found.is_head_lost:
        raise TrailBroken("lines were changed or removed")


@app.command()
def copy(
    state_dir: Annotated[Path, typer.Option(help="State directory of the gate, as given to `inspection actuate`.")],
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
) -> None:
    """Copy the resets of a gate to the audit log, if they are not there yet."""
    from operations.trail.resets import copy_resets
    from transport.admin import require_topics

    kafka = kafka_settings(bootstrap_servers, prefix)
    require_topics(kafka, [kafka.audit_log])
    echo(f"{copy_resets(kafka, state_dir)} resets copied")


def _row(each: LoggedEvent) -> dict[str, Any]:
    from dataclasses import asdict

    event = {} if each.event is None else asdict(each.event)
    return {"offset": each.offset, "at": time_text(each.at_us), **event, "problem": each.problem or None}


def _line(each: LoggedEvent) -> str:
    event = each.event
    if event is None:
        return f"{each.offset}  {time_text(each.at_us)}  not an event: {shown(each.problem)}"
    outcome = " FAILED" if event.outcome.value == "FAILED" else ""
    change = " -> ".join(filter(None, (event.before, event.after)))
    texts = [f"{event.act}{outcome}", event.about, change, f"by {event.principal} ({event.login}) at {event.host}"]
    if event.stated_by:
        texts.append(f"says {event.stated_by}" + (f": {event.note}" if event.note else ""))
    return f"{each.offset}  {time_text(each.at_us)}  {shown('; '.join(filter(None, texts)), 2000)}"


def _check_row(found: TrailCheck) -> dict[str, Any]:
    from dataclasses import asdict

    head = found.head
    return {
        "is_whole": found.is_whole,
        "events": found.events,
        "unreadable": found.unreadable,
        "head": None if head is None else f"{head.offset}:{head.sha256}",
        "breaks": [{**asdict(each), "what": str(each)} for each in found.breaks],
        "head_is_lost": found.lost_head is not None,
        "gone": found.gone,
        "hidden_from": found.hidden_from,
        "unsigned": [{"offset": offset, "why": why.value} for offset, why in found.unsigned],
    }


def _unsigned_line(found: TrailCheck) -> str:
    """Return one line about the events that are not signed, with their offsets."""
    from transport.offset_ranges import merged

    by_reason: dict[str, list[int]] = {}
    for offset, why in found.unsigned:
        by_reason.setdefault(why, []).append(offset)
    parts = []
    for reason, offsets in sorted(by_reason.items()):
        spans = merged((offset, offset + 1) for offset in offsets)
        texts = [str(begin) if end == begin + 1 else f"{begin} to {end - 1}" for begin, end in spans[:_SHOWN_SPANS]]
        more = ["..."] if len(spans) > _SHOWN_SPANS else []
        parts.append(f"{len(offsets)} {reason} ({', '.join(texts + more)})")
    events = "1 event is" if len(found.unsigned) == 1 else f"{len(found.unsigned)} events are"
    return f"{events} not signed by those of --trust: {', '.join(parts)}"


def _say(found: TrailCheck) -> None:
    from dataclasses import replace

    for each in found.breaks:
        echo(str(each))
    if found.unreadable:
        echo(f"{found.unreadable} messages are no events")
    if found.gone:
        echo(f"{found.gone} older events are gone, by the retention of the topic or by someone who may delete")
    if found.lost_head is not None:
        echo(f"event {found.lost_head.offset}: the log does not have the head that was noted")
    if found.hidden_from is not None:
        echo(f"event {found.hidden_from} and later ones are not read: an open transaction holds them back")
    if found.unsigned:
        echo(_unsigned_line(found))
    if replace(found, unsigned=()).is_whole:
        head = "" if found.head is None else f"; head {found.head.offset}:{found.head.sha256}"
        echo(f"{found.events} events, nothing changed or removed{head}")

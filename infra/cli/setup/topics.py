"""`inspection topics`: create, show and compare the topics of a line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.setup.topics_mirror import mirror_config
from infra.cli.shared.audited import warn
from infra.cli.shared.options import BOOTSTRAP_DEFAULT, PREFIX_DEFAULT, BootstrapServers, Json, Prefix, kafka_settings
from infra.cli.shared.terminal_text import echo, echo_json, shown

if TYPE_CHECKING:
    from schemas.settings import KafkaSettings
    from transport.topic_setup import TopicState

app = typer.Typer(no_args_is_help=True, help="The topics of a line: create what is missing, compare the rest.")

app.command("mirror-config")(mirror_config)

_TimeoutS = Annotated[
    float, typer.Option("--timeout", min=0.1, max=3600, help="Seconds that the cluster may take to answer.")
]


@app.command()
def apply(
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    timeout_s: _TimeoutS = 10.0,
    as_json: Json = False,
) -> None:
    """Create the missing topics. Existing topics stay as they are; differences are reported."""
    from operations.trail.record import Act, Deed, record_done
    from transport import topic_setup as topics

    kafka = kafka_settings(bootstrap_servers, prefix)
    applied = topics.apply(kafka, timeout_s=timeout_s)
    if applied.created:  # the audit log may be one of them
        record_done(kafka, Deed(Act.TOPICS_APPLY, ", ".join(applied.created), "missing", "created"), warn)
    if as_json:
        _print_json(kafka, applied.states, created=list(applied.created))
        return
    _print_table(applied.states, applied.created)
    differing = [state.name for state in applied.states if state.status == "differs"]
    if differing:
        echo(f"left as they are: {', '.join(differing)} (see `inspection topics diff`)", err=True)


@app.command()
def show(
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    timeout_s: _TimeoutS = 10.0,
    as_json: Json = False,
) -> None:
    """Show the topics as they are on the cluster."""
    from transport import topic_setup as topics

    kafka = kafka_settings(bootstrap_servers, prefix)
    states = topics.plan(kafka, timeout_s=timeout_s)
    if as_json:
        _print_json(kafka, states)
    else:
        _print_table(states)


@app.command()
def diff(
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    timeout_s: _TimeoutS = 10.0,
    as_json: Json = False,
) -> None:
    """Show topics that are missing or differ from the table; exit status 1 if there are any."""
    from transport import topic_setup as topics

    kafka = kafka_settings(bootstrap_servers, prefix)
    states = topics.plan(kafka, timeout_s=timeout_s)
    wrong = [state for state in states if state.status != "ok"]
    if as_json:
        _print_json(kafka, wrong)
    elif wrong:
        _print_differences(wrong)
    else:
        echo(f"all {len(states)} topics are as wanted")
    if wrong:
        raise typer.Exit(1)


def _print_json(kafka: KafkaSettings, states: Iterable[TopicState], **more: Any) -> None:
    rows = [
        {
            "name": state.name,
            "status": state.status,
            "partitions": state.partitions,
            "wanted": {"partitions": state.wanted.partitions, **state.wanted.config},
            "differences": {d.key: {"present": d.present, "wanted": d.wanted} for d in state.differences},
        }
        for state in states
    ]
    echo_json({"bootstrap_servers": kafka.bootstrap_servers, "prefix": kafka.prefix, "topics": rows, **more})


def _print_table(states: Iterable[TopicState], created: Iterable[str] = ()) -> None:
    from rich.console import Console
    from rich.table import Table

    new = set(created)
    table = Table("topic", "state", "partitions", "record", "key", box=None, pad_edge=False)
    for state in states:
        word = "created" if state.name in new else state.status
        partitions = "-" if state.partitions is None else str(state.partitions)
        table.add_row(shown(state.name), word, partitions, state.wanted.record.__name__, state.wanted.key)
    Console(markup=False, highlight=False).print(table)


def _print_differences(states: Iterable[TopicState]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("topic", "setting", "is", "wanted", box=None, pad_edge=False)
    for state in states:
        if state.status == "missing":
            table.add_row(shown(state.name), "", "missing", "`inspection topics apply` creates it")
        for difference in state.differences:
            table.add_row(*map(shown, (state.name, difference.key, difference.present, difference.wanted)))
    Console(markup=False, highlight=False).print(table)

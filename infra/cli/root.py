"""The root command: registers the others, and turns what a user can cause into one line."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from infra.cli.actuate import actuate
from infra.cli.analyse import analyse
from infra.cli.archive import app as archive
from infra.cli.audit import audit
from infra.cli.broker import app as broker
from infra.cli.compare import compare
from infra.cli.dead_letters import app as dead_letters
from infra.cli.demo import demo
from infra.cli.doctor import doctor
from infra.cli.drift import app as drift
from infra.cli.export import app as export
from infra.cli.gate import app as gate
from infra.cli.images import app as images
from infra.cli.label import label
from infra.cli.model import app as model
from infra.cli.produce import produce
from infra.cli.quality import quality
from infra.cli.replay import replay
from infra.cli.review import review
from infra.cli.spool import app as spool
from infra.cli.text import shown
from infra.cli.topics import app as topics
from infra.cli.watch import watch
from infra.cli.worker import worker
from schemas.errors import InspectionError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Visual inspection on Kafka: cameras in, decisions out, gates that fail safe.\n\n"
    "A first look: [bold]inspection demo[/bold]. A line of your own: broker start, topics apply, worker, "
    "produce, actuate. The past: replay, analyse, compare. Something wrong: [bold]inspection doctor[/bold].",
    rich_markup_mode="rich",
)
app.command()(demo)
app.command()(produce)
app.command()(worker)
app.command()(watch)
app.command()(actuate)
app.command()(audit)
app.command()(label)
app.command()(quality)
app.command()(review)
app.command()(analyse)
app.command()(compare)
app.command()(replay)
app.command()(doctor)
app.add_typer(archive, name="archive")
app.add_typer(broker, name="broker")
app.add_typer(topics, name="topics")
app.add_typer(export, name="export")
app.add_typer(gate, name="gate")
app.add_typer(drift, name="drift")
app.add_typer(images, name="images")
app.add_typer(model, name="model")
app.add_typer(spool, name="spool")
app.add_typer(dead_letters, name="dead-letters")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streaming-inspection {version('streaming-inspection')}")
        raise typer.Exit


@app.callback()
def root(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more, to standard error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Set up logging before a command runs."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if not verbose:
        for noisy in ("aiokafka", "faust", "mode", "asyncio", "stream_processors.transport", "botocore", "aiobotocore"):
            logging.getLogger(noisy).setLevel(logging.WARNING)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except InspectionError as error:
        lines = "\n".join(shown(line, 4000) for line in str(error).splitlines())
        typer.echo(f"error: {lines}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: not an error. Keep Python from flushing into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)

"""Table of the commands of `inspection`: module of each command, and its line in the list of commands.

A command is imported when it runs. ``inspection --help`` imports no command: so the lines stand here, and a test
compares them with the help texts of the commands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


@dataclass(frozen=True, slots=True)
class Row:
    """Row of the table: module, function or `typer.Typer` in it, heading, and first paragraph of the help."""

    module: str
    attribute: str
    panel: str
    line: str


#: Line of Rich's markup that shows nothing.
_EMPTY_LINE = "[bold][/bold]"
#: Most characters of an error about an option, an argument or the name of a command.
_LONGEST_ERROR = 600
#: Folder of `infra.cli` and heading of its commands in the help.
PANELS = {
    "setup": "Set up",
    "line": "Run the line",
    "operations": "Operate",
    "labels": "Labels and quality",
    "past": "The past",
}

COMMANDS = {
    name: Row(f"infra.cli.{folder}.{name.replace('-', '_')}", attribute or name, PANELS[folder], line)
    for folder, name, attribute, line in (
        ("setup", "demo", "", "Run a whole line on this machine: Kafka, cameras, a worker, a gate."),
        (
            "setup",
            "doctor",
            "",
            "Check Python, Java, Kafka, schemas, model, clock, broker and topics; exit status 1 if a check fails.",
        ),
        ("setup", "broker", "app", "Run a real Apache Kafka on this machine, on loopback only."),
        ("setup", "topics", "app", "The topics of a line: create what is missing, compare the rest."),
        ("setup", "acls", "app", "Rights on the topics: one user of Kafka for each program and camera."),
        ("setup", "keys", "app", "Keys that sign frames, decisions and acts: make, show, publish, revoke."),
        ("setup", "model", "app", "Model packages."),
        (
            "setup",
            "train",
            "",
            "Learn what good parts look like, from images alone, and write a model package.",
        ),
        ("setup", "predict", "", "Inspect image files with a model, without Kafka, and write a row for each."),
        ("line", "produce", "", "Publish the frames of one or more cameras until they end, or Ctrl-C."),
        ("line", "worker", "", "Inspect frames and publish a decision for each, until told to stop."),
        ("line", "watch", "", "Watch decisions and labels for drift, and publish episodes, until told to stop."),
        (
            "line",
            "actuate",
            "",
            "Act on each part when it is at the gate: as decided, or fail-safe without a decision in time.",
        ),
        ("line", "gateway", "", "Answer images over HTTP with the decisions of the line."),
        (
            "line",
            "archive",
            "app",
            "Keep what the topics forget: frames, decisions, labels, drift and dead letters, as Avro files "
            "behind any URI.",
        ),
        ("operations", "gate", "app", "A gate in FAULT: show it, reset it."),
        ("operations", "drift", "app", "Episodes of drift: list them, show one, acknowledge one."),
        ("operations", "audit", "", "Compare frames with decisions and dead letters, camera by camera."),
        ("operations", "dead-letters", "app", "Messages that could not be processed, kept with the reason."),
        ("operations", "spool", "app", "Frames on disk that Kafka has not taken yet: one spool a camera."),
        (
            "operations",
            "trail",
            "app",
            "Who labelled, acknowledged, reset, retried, replayed: the audit log, and a check of it.",
        ),
        ("operations", "images", "app", "The store of images too large for the topic."),
        (
            "labels",
            "label",
            "",
            "Publish the true class of a part: `inspection quality` then tells how right decisions are.",
        ),
        (
            "labels",
            "quality",
            "",
            "Compare decisions with labels: escapes, overkill, accuracy, with 95 % intervals, and rises of the errors.",
        ),
        (
            "labels",
            "review",
            "",
            "List frames without a label that are most worth one: chosen blindly, near the threshold, "
            "unsure, in an episode.",
        ),
        (
            "past",
            "replay",
            "",
            "Inspect frames of the past again, as the worker does, and compare with what was decided then.",
        ),
        (
            "past",
            "analyse",
            "",
            "Find out how right the decisions of a stretch were: errors, thresholds, slices, latency, drift,"
            " duplicates.",
        ),
        (
            "past",
            "compare",
            "",
            "Compare a challenger with the champion on the same parts, and say whether it may be promoted.",
        ),
        ("past", "export", "app", "Frames and decisions for other tools: COCO, folders, Parquet, CSV."),
    )
}


class LazyGroup(TyperGroup):
    """Group of all `COMMANDS`. It imports a command only when needed: for its help, to run it, to complete it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._listing = False
        self.commands = {
            name: TyperCommand(name, help=row.line, rich_markup_mode=self.rich_markup_mode, rich_help_panel=row.panel)
            for name, row in COMMANDS.items()
        }
        self._imported: dict[str, Any] = {}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; while the help lists all commands, return only a stand-in with its line."""
        if self._listing or cmd_name not in COMMANDS:
            return self.commands.get(cmd_name)
        if cmd_name not in self._imported:
            self._imported[cmd_name] = load(cmd_name)
        return self._imported[cmd_name]

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the options before the command; an error of the user has a bounded length."""
        with _bounded_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Parse the rest and run the command; an error of the user has a bounded length."""
        with _bounded_errors():
            return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with the lines of `COMMANDS`, without importing the commands."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


@contextmanager
def _bounded_errors() -> Iterator[None]:
    """Shorten the texts of errors, which repeat what the user typed; Typer would draw all of it into a box."""
    try:
        yield
    except typer.TyperException as error:
        from schemas.text import shortened

        error.message = shortened(error.message, _LONGEST_ERROR)
        raise


def load(name: str) -> Any:
    """Import a command."""
    row = COMMANDS[name]
    found = getattr(import_module(row.module), row.attribute)
    alone = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    command = get_group(alone).commands[name]
    _fill_paragraphs(command)
    _check_values(command)
    return command


def filled(text: str) -> str:
    """Return a help text with one line for each paragraph, which the terminal wraps; indented lines are kept.

    Examples
    --------
    >>> filled("Check it.\\n\\nTwo lines\\nof prose.")
    'Check it.\\n\\nTwo lines of prose.'
    >>> filled("Check it.\\n\\nProse.\\n\\n    inspection doctor").splitlines()
    ['Check it.', '', 'Prose.', '[bold][/bold]', '    inspection doctor']
    """
    first, *more = cleandoc(text).split("\n\n")
    lines = [first.replace("\n", " ")]
    for number, each in enumerate(more):
        is_indented = re.search(r"^\s", each, re.M) is not None
        # An empty line would let Typer remove the indent: all further lines have it.
        lines += [_EMPTY_LINE if is_indented and number else "", each if is_indented else each.replace("\n", " ")]
    return "\n".join(lines)


def _fill_paragraphs(command: Any) -> None:
    if command.help:
        command.help = filled(command.help)
    for child in getattr(command, "commands", {}).values():
        _fill_paragraphs(child)


def _check_values(command: Any) -> None:
    """Refuse values of options and arguments that no command can mean."""
    for param in command.params:
        kinds = {param.type_descriptor.annotation, *get_args(param.type_descriptor.annotation)}
        if param.type_descriptor.is_path or Path in kinds:
            param.process_value = partial(_given_path, param, param.process_value)
        if kinds & {float, int}:
            param.process_value = partial(_given_number, param, param.process_value)
    for child in getattr(command, "commands", {}).values():
        _check_values(child)


def _given_path(param: Any, process: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    """Refuse a path without a character, as of a variable without a value: `Path` makes it the current folder."""
    if "" in (value if isinstance(value, list | tuple) else [value]):
        raise typer.BadParameter("an empty path; write . for the current folder", ctx=ctx, param=param)
    return process(ctx, value)


def _given_number(param: Any, process: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    """Refuse an infinite number, and what is not a number though Python takes it for one: both pass any limit.

    Whole numbers of more than 64 bits fit into no field and no size of a list.
    """
    number = process(ctx, value)
    for each in number if isinstance(number, list | tuple) else [number]:
        if isinstance(each, int) and not -(2**63) <= each < 2**63:
            raise typer.BadParameter(f"{each} is out of range", ctx=ctx, param=param)
        if isinstance(each, float) and not math.isfinite(each):
            raise typer.BadParameter(f"{each} is not a finite number", ctx=ctx, param=param)
    return number

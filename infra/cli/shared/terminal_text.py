"""Output of commands, in which no text from a record or a file can control the terminal.

Print text with `echo`, one line at a time, so that a line end in a name adds no line. Print JSON with `echo_json`.
A test forbids any other print in the commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer

from schemas.json_text import json_text, plain
from schemas.known_secrets import without_secrets
from schemas.text import shown

__all__ = ["echo", "echo_json", "echo_lines", "shown"]


def echo(line: object, *, err: bool = False) -> None:
    """Print one line; escape all characters that would control a terminal, line ends too.

    Parameters
    ----------
    err
        True: print to standard error.
    """
    typer.echo(shown(without_secrets(str(line)), None), err=err)


def echo_lines(lines: Iterable[object], *, err: bool = False) -> None:
    """Print lines, each one as `echo` does."""
    for line in lines:
        echo(line, err=err)


def echo_json(value: Any, **options: Any) -> None:
    """Print a value as JSON, see `schemas.json_text.json_text`."""
    typer.echo(json_text(_without_secrets(plain(value)), **options))


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {_without_secrets(name): _without_secrets(inner) for name, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value

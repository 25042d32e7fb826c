"""Commands are imported when they run, and are listed as they say of themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from infra.cli.commands import COMMANDS, load
from infra.cli.root import app


@pytest.mark.parametrize("name", COMMANDS)
def test_listed_as_it_says_of_itself(name):
    found = load(name)
    assert found.name == name
    assert not found.hidden
    assert " ".join((found.short_help or found.help).split("\n\n")[0].split()) == COMMANDS[name].line


def test_help_lists_all_of_them():
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    assert all(f" {name} " in listed and row.line in listed for name, row in COMMANDS.items())


def test_help_imports_none_of_them():
    code = (
        "import sys; from infra.cli.root import app; app(['--help'], standalone_mode=False); "
        "heavy = {'schemas', 'numpy', 'confluent_kafka', 'infra.cli.line.worker'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_name_that_is_nearly_right():
    result = CliRunner().invoke(app, ["wroker"])
    assert result.exit_code == 2
    assert "worker" in result.output


def test_prose_of_the_help_fills_the_terminal_and_examples_are_indented():
    lines = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "80"}).stdout.splitlines()
    assert " in the images, tries a few recipes, and tests each with synthetic defects on" in map(str.rstrip, lines)
    assert "     inspection train --images good/ --out my_model/" in map(str.rstrip, lines)

"""Documents name only files that exist, and wrap their prose."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer import Context
from typer.main import get_command

from infra.cli.root import app

ROOT = Path(__file__).parents[1]
FILES = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
#: The changelog names files of earlier versions.
DOCUMENTS = [name for name in FILES if name.endswith(".md") and name != "CHANGELOG.md"]
#: Files that a reader writes.
EXAMPLES = {
    "my_camera.py", "test_my_camera.py", "export_my_model.py", "test_my_model.py", "my_gate.py", "test_my_gate.py",
    "fill_in.py",
}  # fmt: skip


def _exists(named: str) -> bool:
    return any(f"/{name}".endswith(f"/{named}") for name in FILES)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_that_a_document_names_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = {name for name in re.findall(r"[\w/.-]+\.py\b", text) if "*" not in name}
    assert {name for name in named - EXAMPLES if not _exists(name.lstrip("./"))} == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_of_a_document_lead_somewhere(document: str) -> None:
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_path_of_a_frame_names_functions_that_exist() -> None:
    rows = re.findall(
        r"^\| \d+ \| `([\w/]+\.py)` `([\w.]+)`", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE
    )
    assert len(rows) == 15
    missing = [
        (path, name)
        for path, name in rows
        if not all(
            re.search(rf"^\s*(?:class|(?:async )?def) {part}\b", (ROOT / path).read_text(), re.MULTILINE)
            for part in name.split(".")
        )
    ]
    assert missing == []


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md"])
def test_prose_wraps_at_120_columns(document: str) -> None:
    """Tables, code and a line that is one long link or code span are excepted."""
    wide, is_code = [], False
    for number, line in enumerate((ROOT / document).read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        is_excepted = is_code or line.startswith(("|", "    ", "#")) or "](" in line or "`" in line
        if len(line) > 120 and not is_excepted:
            wide.append(number)
    assert not wide


def _command_of(words: list[str]) -> tuple[Any, str]:
    """Return the command that the words name, and its name; words after it are its arguments."""
    command: Any = get_command(app)
    used: list[str] = []
    for word in words:
        lookup = getattr(command, "get_command", None)
        inner = None if lookup is None else lookup(Context(command), word)
        if inner is None:
            break
        command = inner
        used.append(word)
    return command, " ".join(used)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_options_that_a_document_names_exist(document: str) -> None:
    text = re.sub(r"\\\n\s*", " ", (ROOT / document).read_text(encoding="utf-8"))
    unknown = set()
    for rest in re.findall(r"(?<![\w/.-])inspection ([a-z][^`|;&#\n>]*)", text):
        command, name = _command_of(rest.split())
        if not name:  # no command, but a word of a sentence
            continue
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        named = set(re.findall(r"(?<!\S)--[a-z][\w-]*", rest))
        unknown |= {f"inspection {name} {option}" for option in named - known - {"--help"}}
    assert unknown == set()

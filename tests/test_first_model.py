"""The tutorial of the first model: its commands run in a real shell, and their output is real, but for its numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "first-model.md").read_text(encoding="utf-8")
#: Named files, and consoles, in order.
BLOCKS = re.findall(r"(?:^`([\w./]+)`:\n\n)?^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def without_numbers(text: str) -> str:
    """Return the lines of an output with every number replaced; a training takes other times on each machine."""
    return re.sub(r"\d+(\.\d+)?", "N", "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip()))


@pytest.mark.long
def test_a_reader_makes_a_first_model(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {name: text for name, text in os.environ.items() if not name.startswith("INSPECTION_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "500"}
    for name, language, text in BLOCKS:
        if language != "console":
            (folder / name).write_text(text, encoding="utf-8")
            continue
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            done = subprocess.run(
                ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
            lines = without_numbers(expected).splitlines()
            pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line) + "\n" for line in lines)
            output = without_numbers(done.stdout)
            assert re.fullmatch(pattern, output), f"$ {command}\n{done.stdout}{done.stderr}\nexpected\n{expected}"
    assert (folder / "my_model" / "report.html").exists()


def test_every_block_runs() -> None:
    assert len(BLOCKS) == TEXT.count("```") / 2
    assert all(name or language == "console" for name, language, _ in BLOCKS)

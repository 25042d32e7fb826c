"""Check of the security tables: each row names a test that exists, or says "open"."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


@pytest.mark.parametrize(("heading", "least"), [("Threat model", 12), ("IEC 62443-3-3", 17)])
def test_each_row_names_tests_that_exist(heading: str, least: int) -> None:
    found = rows(heading)
    assert len(found) >= least
    for *cells, tests in found:
        assert len(cells) == 3, cells
        assert tests or "open" in cells[-1].lower(), f"neither a test nor open: {cells}"
        named = re.findall(r"`([^`]+)`", tests)
        assert bool(named) == bool(tests), tests
        for name in named:
            path, _, function = name.partition("::")
            source = (ROOT / path).read_text(encoding="utf-8")
            assert not function or re.search(rf"^(?:async )?def {function}\(", source, re.MULTILINE), name

"""The glossary names public classes, topics and commands that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from typer.main import get_command

from infra.cli.root import app
from schemas.topics import TOPICS

TEXT = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")
PACKAGES = "schemas|transport|models|monitoring|producers|stream_processors|actuators|replay|operations"


def test_classes_are_public() -> None:
    names = re.findall(rf"`({PACKAGES})\.(\w+)`", TEXT)
    assert len(names) > 20
    assert [(package, name) for package, name in names if name not in importlib.import_module(package).__all__] == []


def test_topics_and_commands_exist() -> None:
    topics = re.findall(r"Topic `([\w-]+)`", TEXT)
    assert set(topics) <= {topic.suffix for topic in TOPICS}
    assert {topic.suffix for topic in TOPICS} - set(topics) == {"drift-state"}
    commands = re.findall(r"`inspection ([\w-]+)`", TEXT)
    assert commands
    assert set(commands) <= set(get_command(app).commands)  # type: ignore[attr-defined]

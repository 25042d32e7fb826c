"""Progress bars of commands that read the past."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from infra.cli.shared.terminal_text import shown


@contextmanager
def reading() -> Iterator[Callable[[str, int, int], object]]:
    """Show a progress bar for each topic on standard error; yield the callback that moves it.

    The callback gets the name of the topic, the messages done, and their total. The bars vanish at the end.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.0f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    console = Console(stderr=True)
    # Without a terminal, a bar that vanishes at the end would only leave an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_interactive) as progress:
        tasks: dict[str, Any] = {}

        def show(topic: str, done: int, count: int) -> None:
            if topic not in tasks:
                tasks[topic] = progress.add_task(shown(topic), total=count)
            progress.update(tasks[topic], completed=done)

        yield show

"""Options of commands that read a stretch of the past, and their progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.terminal_text import shown
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from transport.topic_ranges import TimeRange

FromOption = Annotated[str | None, typer.Option("--from", help="Decisions since, as 2026-11-24T06:00.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Decisions before.")]
LastOption = Annotated[str | None, typer.Option(help="Decisions of the last 90s, 15m, 8h, 2d.")]
CameraOption = Annotated[str | None, typer.Option("--camera", help="Only this one, as station/camera.")]


def time_range(from_time: str | None, to_time: str | None, last: str | None) -> TimeRange:
    """Return the time range that the options name.

    Raises
    ------
    SettingsError
        If the options contradict each other, or name no valid time.

    Examples
    --------
    >>> time_range("2026-11-24T06:00:00Z", None, None).from_us
    1795500000000000
    """
    import time

    from infra.cli.shared.times import seconds, utc_us
    from transport.topic_ranges import TimeRange

    if last is not None and (from_time or to_time):
        raise SettingsError("--last stands alone: give it, or --from and --to")
    begin = utc_us(from_time, "--from") if from_time else None
    if last is not None:
        begin = time.time_ns() // 1000 - round(seconds(last, "--last") * 1e6)
    end = utc_us(to_time, "--to") if to_time else None
    if begin is not None and end is not None and begin >= end:
        raise SettingsError("--from is not before --to")
    return TimeRange(begin, end)


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

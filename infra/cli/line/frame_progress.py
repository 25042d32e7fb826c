"""Progress bar of publishers, on standard error."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from producers import FramePublisher

_REFRESH_S = 0.2


@contextmanager
def frame_progress(publishers: Sequence[FramePublisher], total: int | None) -> Iterator[None]:
    """Show the progress of the publishers while the block runs; show nothing if standard error is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    done = threading.Event()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("publishing", total=total)

        def refresh() -> None:
            while not done.wait(_REFRESH_S):
                stats = [publisher.stats() for publisher in publishers]
                lost = sum(stat.dropped + stat.failed for stat in stats)
                bar.update(
                    task,
                    completed=sum(stat.published for stat in stats),
                    description=f"publishing, {lost} lost" if lost else "publishing",
                )

        thread = threading.Thread(target=refresh, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

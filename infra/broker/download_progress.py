"""Progress bar of the first download, on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from infra.broker import kafka_jars


@contextmanager
def download_progress() -> Iterator[kafka_jars.OnDownload]:
    """Yield a callback that shows a progress bar once there is a jar to fetch."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("fetching Apache Kafka", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)

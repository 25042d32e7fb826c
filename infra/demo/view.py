"""Live view of a demo run in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from infra.demo.counts import DemoCounts
from infra.demo.result import latency_text
from monitoring.percentiles import percentiles
from schemas import Action

#: Number of newest decisions whose percentiles the view shows.
_WINDOW = 500


class LiveView:
    """Progress bar and figures, refreshed four times a second; nothing is shown if the output is not a terminal."""

    def __init__(self, console: Console, total: int | None) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        self._task = self._progress.add_task("decided", total=total)
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the view while the block runs, then remove it from the screen; the summary follows."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self._progress, console=self._console, refresh_per_second=4, transient=True) as self._live:
            yield

    def update(self, counts: DemoCounts, elapsed_s: float, gate_latencies_ms: list[float], acted: int) -> None:
        """Show the newest figures."""
        if self._live is None:
            return
        self._progress.update(self._task, completed=counts.decisions)
        self._live.update(Group(self._progress, self._figures(counts, elapsed_s, gate_latencies_ms, acted)))

    def _figures(
        self, counts: DemoCounts, elapsed_s: float, gate_latencies_ms: list[float], acted: int
    ) -> RenderableType:
        actions, quality = counts.actions, counts.quality
        table = Table.grid(padding=(0, 3))
        table.add_row(
            f"[bold]{counts.decisions / max(elapsed_s, 1e-3):.1f}[/] frames/s",
            f"[green]{actions[Action.ACCEPT]} accept[/]",
            f"[red]{actions[Action.REJECT]} reject[/]",
            f"[yellow]{actions[Action.REVIEW]} review[/]",
            f"{counts.dead_letters} dead letters",
            f"{acted} parts passed the gate",
        )
        labels = (
            f"accuracy {quality.accuracy:.1%}, {quality.escapes} escapes, {quality.overkill} overkill"
            f" of {quality.labelled} labelled"
            if quality.accuracy is not None
            else "no labels"
        )
        decision = latency_text(percentiles(counts.latencies_ms[-_WINDOW:]))
        gate = latency_text(percentiles(gate_latencies_ms[-_WINDOW:]))
        text = f"capture to decision  {decision}\ncapture to gate      {gate}"
        return Panel(Group(table, labels, text), title="the line", border_style="dim", expand=False)

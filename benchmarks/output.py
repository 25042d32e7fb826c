"""Output of a benchmark: JSON on standard output, a Markdown table on standard error, and both in files with plots.

`write` writes ``<name>.json``, ``<name>.md`` and ``<name>-<plot>.png`` to ``build/bench``. A plot is a function that
draws on the axes that it gets; `bars` and `lines` return the two most common kinds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rounds import Spread

FOLDER = Path("build/bench")

#: Function that draws on matplotlib axes.
Plot = Callable[[Any], None]


def write(
    name: str,
    report: Mapping[str, Any],
    table: str,
    plots: Mapping[str, Plot] | None = None,
    *,
    json_file: Path | None = None,
    folder: Path = FOLDER,
) -> None:
    """Write report, table and plots of a benchmark to the terminal and to ``folder``.

    Parameters
    ----------
    name
        Name of the benchmark and of its files.
    report
        All measurements, as values that JSON can represent; they go to standard output.
    table
        Markdown text; it goes to standard error.
    plots
        Plots by the last part of their file names. Without matplotlib, a line tells how to install it.
    json_file
        File for the report instead of standard output.
    """
    text = json.dumps(report, indent=2) + "\n"
    table = table.rstrip() + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    (folder / f"{name}.md").write_text(table, encoding="utf-8")
    _draw({folder / f"{name}-{plot}.png": draw for plot, draw in (plots or {}).items()})
    if json_file is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        json_file.write_text(text, encoding="utf-8")
    sys.stderr.write(table)


def progress(text: str) -> None:
    """Print one line to standard error and flush it."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table.

    Examples
    --------
    >>> print(markdown(["name", "frames/s"], [["ours", 9]]))
    | name | frames/s |
    |---|---|
    | ours | 9 |
    """
    return "\n".join(
        f"| {' | '.join(map(str, row))} |" if row else f"|{'---|' * len(head)}" for row in (head, (), *rows)
    )


def bars(title: str, unit: str, spreads: Mapping[str, Spread]) -> Plot:
    """Return a plot with one bar for each name: the median, and a whisker from lowest to highest."""

    def draw(axes: Any) -> None:
        names = list(spreads)[::-1]
        found = [spreads[name] for name in names]
        medians = [each.median for each in found]
        whiskers = [[each.median - each.lowest for each in found], [each.highest - each.median for each in found]]
        axes.barh(names, medians, xerr=whiskers, capsize=3, color="#4878a8")
        for place, each in enumerate(found):
            axes.annotate(
                f"{each.median:.3g}", (each.highest, place), xytext=(4, 0), textcoords="offset points", va="center"
            )
        axes.set(title=title, xlabel=unit)
        axes.margins(x=0.12)

    return draw


def lines(
    title: str,
    x: str,
    y: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> Plot:
    """Return a plot with one line for each name, through its points."""

    def draw(axes: Any) -> None:
        for name, points in series.items():
            axes.plot([at for at, _ in points], [value for _, value in points], marker="o", markersize=4, label=name)
        axes.set(title=title, xlabel=x, ylabel=y)
        if log_x:
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        if len(series) > 1:
            axes.legend(fontsize=8)

    return draw


def _draw(plots: Mapping[Path, Plot]) -> None:
    if not plots:
        return
    try:
        import matplotlib as mpl
    except ImportError:
        progress('no plots, matplotlib is missing: pip install -e ".[bench]"')
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    for path, draw in plots.items():
        figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
        draw(axes)
        figure.savefig(path, dpi=120)
        plt.close(figure)

"""Figures of the report for plotly.js: plain dictionaries of traces and layout.

The colours are those of M. Okabe and K. Ito, "Color Universal Design" (2008): colour-blind people can distinguish them,
on light and on dark paper. The size of a figure is limited for any length of the stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from replay.analysis.comparison_results import Comparison
from replay.analysis.results import Analysis, EpisodeMark, TimeLine
from replay.analysis.table import DEFECTIVE, GOOD, UNKNOWN, Table
from replay.analysis.threshold_results import ThresholdCurve
from replay.export.write import iso
from replay.report.words import visible

BLUE, RED, GREY, AMBER, GREEN, PURPLE = "#0072B2", "#D55E00", "#8c8c8c", "#E69F00", "#009E73", "#CC79A7"
_TRUTHS = ((GOOD, "good", BLUE), (DEFECTIVE, "defective", RED), (UNKNOWN, "without a label", GREY))
_BINS = 50
#: Maximum points of a scatter plot, and maximum episodes on the time line.
_MAX_POINTS, _MAX_EPISODES = 2_000, 200

Figure = dict[str, Any]


def scores(table: Table, analysis: Analysis) -> Figure | None:
    """Draw a histogram of the defect scores by truth, with the thresholds."""
    values = table[f"{analysis.decider}.score"]
    if not np.isfinite(values).any():
        return None
    edges = np.linspace(0, 1, _BINS + 1)
    groups = []
    for truth, name, colour in _TRUTHS:
        chosen = values[(table["truth"] == truth) & np.isfinite(values)]
        if len(chosen):
            groups.append((name, colour, np.histogram(np.clip(chosen, 0, 1), edges)[0].tolist()))
    return score_bars(groups, _thresholds(analysis), "parts")


def score_bars(
    groups: Sequence[tuple[str, str, Sequence[int]]], marks: Sequence[tuple[float, str, str]], unit: str
) -> Figure:
    """Draw a stacked histogram of scores from 0 to 1.

    Parameters
    ----------
    groups
        Name, colour, and count in each of some bins of equal width.
    marks
        Score, text and colour of each vertical line.
    unit
        Name of the counted things, in the plural.
    """
    traces = []
    for name, colour, counts in groups:
        edges = np.linspace(0, 1, len(counts) + 1)
        texts = [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)]
        traces.append({
            "type": "bar", "name": name, "x": _list((edges[1:] + edges[:-1]) / 2), "y": list(counts),
            "width": 1 / len(counts), "marker": {"color": colour}, "customdata": texts,
            "hovertemplate": "score %{customdata}: %{y} " + unit + "<extra>" + name + "</extra>",
        })  # fmt: skip
    # With few defective parts among many good ones, they would not be visible on a linear axis.
    layout = _layout("defect score", unit, marks, barmode="stack", xaxis={"range": [-0.01, 1.01]})
    layout["updatemenus"] = [{
        "type": "buttons", "direction": "left", "x": 1, "y": -0.2, "xanchor": "right", "yanchor": "top",
        "showactive": False, "pad": {"r": 0, "t": 0}, "font": {"size": 11},
        "buttons": [
            {"label": "linear", "method": "relayout", "args": [{"yaxis.type": "linear"}]},
            {"label": "log", "method": "relayout", "args": [{"yaxis.type": "log"}]},
        ],
    }]  # fmt: skip
    return {"data": traces, "layout": layout}


def cost(curve: ThresholdCurve, analysis: Analysis) -> Figure:
    """Draw the cost of each threshold."""
    custom = np.stack([curve.escapes, curve.overkill, curve.rejected], axis=1)
    trace = {
        "type": "scatter", "mode": "lines", "name": "cost", "x": _list(curve.thresholds), "y": _list(curve.cost),
        "line": {"color": PURPLE, "width": 2}, "customdata": [_list(row) for row in custom],
        "hovertemplate": "from %{x:.3f} on: cost %{y:.1f}<br>%{customdata[0]:.1f} escapes, "
        "%{customdata[1]:.1f} overkill<br>%{customdata[2]} rejected<extra></extra>",
    }  # fmt: skip
    title = f"cost, in overkills (an escape costs {curve.cost_ratio:g})"
    layout = _layout("threshold", title, _thresholds(analysis), yaxis={"rangemode": "tozero"}, showlegend=False)
    layout["hovermode"] = "x"
    return {"data": [trace], "layout": layout}


def rates(curve: ThresholdCurve, analysis: Analysis) -> Figure:
    """Draw escape and overkill rate, precision and recall over the threshold."""
    lines = (
        ("escape rate", curve.escape_rate, RED, "solid"), ("overkill rate", curve.overkill_rate, BLUE, "solid"),
        ("precision", curve.precision, GREEN, "dash"), ("recall", curve.recall, AMBER, "dash"),
    )  # fmt: skip
    traces = [
        {
            "type": "scatter", "mode": "lines", "name": name, "x": _list(curve.thresholds), "y": _list(values),
            "line": {"color": colour, "width": 2, "dash": dash}, "hovertemplate": "%{y:.1%}",
        }
        for name, values, colour, dash in lines
    ]  # fmt: skip
    layout = _layout("threshold", "share", _thresholds(analysis), yaxis={"range": [-0.02, 1.02], "tickformat": ".0%"})
    layout["hovermode"] = "x unified"
    return {"data": traces, "layout": layout}


def calibration(analysis: Analysis) -> Figure | None:
    """Draw the share of defective parts by score, against the diagonal."""
    bins = analysis.calibration.bins
    if not bins:
        return None
    x, y = [one.mean_score for one in bins], [one.defective_share for one in bins]
    largest = max(one.parts for one in bins)
    points = {
        "type": "scatter", "mode": "markers+lines", "name": "this stretch", "x": _list(x), "y": _list(y),
        "line": {"color": BLUE, "width": 1},
        "marker": {"color": BLUE, "size": [6 + 14 * (one.parts / largest) ** 0.5 for one in bins]},
        "error_y": {
            "type": "data", "symmetric": False, "color": GREY, "thickness": 1,
            "array": _list([one.share_high - one.defective_share for one in bins]),
            "arrayminus": _list([one.defective_share - one.share_low for one in bins]),
        },
        "customdata": [[one.low, one.high, one.parts, one.labelled] for one in bins],
        "hovertemplate": "scores %{customdata[0]:.2f} to %{customdata[1]:.2f}, mean %{x:.3f}<br>%{y:.1%} defective"
        "<br>%{customdata[2]} parts, %{customdata[3]} labels<extra></extra>",
    }  # fmt: skip
    diagonal = {
        "type": "scatter", "mode": "lines", "name": "as the score says", "x": [0, 1], "y": [0, 1],
        "line": {"color": GREY, "dash": "dot", "width": 1}, "hoverinfo": "skip",
    }  # fmt: skip
    layout = _layout("mean score", "share of defective parts", [])
    layout["xaxis"]["range"] = layout["yaxis"]["range"] = [-0.03, 1.03]
    return {"data": [diagonal, points], "layout": layout}


def time_line(line: TimeLine) -> Figure:
    """Draw the parts by action, the errors, and the episodes of drift as bands."""
    begin = [iso(int(at)) for at in line.begin_us]
    middle = [iso(int(at + line.bin_us // 2)) for at in line.begin_us]
    accepts = line.parts - line.rejects - line.reviews
    bars = (
        ("accepted", accepts, GREEN), ("review", line.reviews, AMBER),
        ("rejected", line.rejects, PURPLE),
        ("not inspected", line.not_inspected, GREY),
    )  # fmt: skip
    traces: list[dict[str, Any]] = [
        {
            "type": "bar", "name": name, "x": middle, "y": values.tolist(), "marker": {"color": colour},
            "width": line.bin_us / 1000 * 0.96, "hovertemplate": "%{y}",
        }
        for name, values, colour in bars if values.any()
    ]  # fmt: skip
    marks = (("escapes", line.escapes, RED, "x"), ("overkill", line.overkill, BLUE, "diamond"),
             ("late", line.late, GREY, "triangle-up"))  # fmt: skip
    for name, values, colour, symbol in marks:
        some = np.flatnonzero(values)
        if len(some):
            traces.append({
                "type": "scatter", "mode": "markers", "name": name, "x": [middle[i] for i in some], "yaxis": "y2",
                "y": values[some].tolist(), "hovertemplate": "%{y}",
                "marker": {"color": colour, "symbol": symbol, "size": 10, "line": {"width": 1, "color": "#fff"}},
            })  # fmt: skip
    end = iso(int(line.begin_us[-1] + line.bin_us))
    shown = line.episodes[:_MAX_EPISODES]
    shapes = [_band(one, begin[0], end) for one in shown]
    if shown:
        traces.append({
            "type": "scatter", "mode": "markers", "name": "drift", "yaxis": "y3",
            "x": [max(iso(one.begin_us), begin[0]) for one in shown], "y": [0.96] * len(shown),
            "marker": {"symbol": "triangle-right", "size": 11, "color": AMBER},
            "customdata": [
                _safe(f"{one.camera}: {one.kind} {one.drift_type}, {one.cause or one.reason}") for one in shown
            ],
            "hovertemplate": "%{customdata}<extra>drift</extra>",
        })  # fmt: skip
    layout = _layout("", "parts", [], barmode="stack", shapes=shapes, hovermode="x unified")
    layout["xaxis"] |= {"type": "date", "range": [begin[0], end]}
    layout["yaxis"] |= _whole(line.parts)
    layout["yaxis2"] = {
        "title": {"text": "errors, late"}, "overlaying": "y", "side": "right", "rangemode": "tozero", "showgrid": False,
        "tickmode": "auto", **_whole(np.maximum.reduce([line.escapes, line.overkill, line.late])),
    }  # fmt: skip
    layout["yaxis3"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    layout["margin"]["r"] = 60
    return {"data": traces, "layout": layout}


def latency(table: Table) -> Figure | None:
    """Draw a histogram of the time from capture to decision, on a logarithmic axis."""
    values = table["recorded.latency_ms"]
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return None
    edges = np.logspace(np.log10(values.min() * 0.98), np.log10(values.max() * 1.02), 41)
    counts = np.histogram(values, edges)[0]
    trace = {
        "type": "bar", "x": _list(np.sqrt(edges[1:] * edges[:-1])), "y": counts.tolist(), "marker": {"color": BLUE},
        "width": _list(edges[1:] - edges[:-1]),
        "customdata": [[float(low), float(high)] for low, high in pairwise(edges)],
        "hovertemplate": "%{customdata[0]:.4~g} to %{customdata[1]:.4~g} ms: %{y} parts<extra></extra>",
    }  # fmt: skip
    layout = _layout("capture to decision, ms", "parts", [], showlegend=False)
    layout["xaxis"]["type"] = "log"
    return {"data": [trace], "layout": layout}


def compared(table: Table, comparison: Comparison) -> Figure | None:
    """Draw the scores of both deciders, one point a part."""
    one, other = (table[f"{name}.score"] for name in (comparison.champion, comparison.challenger))
    both = np.isfinite(one) & np.isfinite(other)
    if not both.any():
        return None
    traces = []
    for truth, name, colour in reversed(_TRUTHS):
        chosen = _thin(np.flatnonzero(both & (table["truth"] == truth)))
        if len(chosen):
            texts = [_safe(f"{table['frame_id'][i]}") for i in chosen]
            traces.append({
                "type": "scatter", "mode": "markers", "name": name, "x": _list(one[chosen]), "y": _list(other[chosen]),
                "marker": {"color": colour, "size": 7, "opacity": 0.75}, "customdata": texts,
                "hovertemplate": "%{customdata}<br>%{x:.3f} and %{y:.3f}<extra>" + name + "</extra>",
            })  # fmt: skip
    shapes = []
    for axis, name in (("x", comparison.champion), ("y", comparison.challenger)):
        thresholds = np.unique(table[f"{name}.threshold"][both])
        if len(thresholds) == 1 and np.isfinite(thresholds[0]):
            other_axis = "y" if axis == "x" else "x"
            shapes.append({
                "type": "line", f"{axis}0": float(thresholds[0]), f"{axis}1": float(thresholds[0]),
                f"{other_axis}0": 0, f"{other_axis}1": 1, "line": {"color": GREY, "dash": "dot", "width": 1},
            })  # fmt: skip
    layout = _layout(f"score of {_safe(comparison.champion)}", f"score of {_safe(comparison.challenger)}", [])
    layout["xaxis"]["range"] = layout["yaxis"]["range"] = [-0.03, 1.03]
    layout["shapes"] = shapes
    return {"data": traces, "layout": layout}


def _thresholds(analysis: Analysis) -> list[tuple[float, str, str]]:
    """Return the thresholds to draw as lines: the threshold in use, and the recommended one."""
    found = analysis.recommendation
    present = analysis.curve.present_threshold if analysis.curve is not None else found.present_threshold
    marks = [] if present is None else [(present, f"in use {present:.3g}", GREY)]
    if found.threshold is not None and found.is_change:
        word = "recommended" if found.is_supported else "cheapest here"
        marks.append((found.threshold, f"{word} {found.threshold:.3g}", GREEN))
    return marks


def _layout(x: str, y: str, marks: Sequence[tuple[float, str, str]], **more: Any) -> dict[str, Any]:
    lines = [
        {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1,
         "line": {"color": colour, "dash": "dash", "width": 1.5}}
        for at, _, colour in marks
    ]  # fmt: skip
    notes = [
        {"x": at, "y": 1, "yref": "paper", "yanchor": "bottom", "text": text, "showarrow": False,
         "xanchor": "right" if at > 0.7 else "left", "yshift": 12 * number, "font": {"size": 11}}
        for number, (at, text, _) in enumerate(marks)
    ]  # fmt: skip
    layout: dict[str, Any] = {
        "margin": {"l": 60, "r": 20, "t": 46, "b": 48},
        "legend": {"orientation": "h", "y": -0.22, "x": 0},
        "shapes": lines,
        "annotations": notes,
        "xaxis": {"title": {"text": x}, **more.pop("xaxis", {})},
        "yaxis": {"title": {"text": y}, **more.pop("yaxis", {})},
    }
    return layout | more


def _band(one: EpisodeMark, begin: str, end: str) -> dict[str, Any]:
    return {
        "type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "line": {"width": 0},
        "x0": max(iso(one.begin_us), begin), "x1": end if one.end_us is None else min(iso(one.end_us), end),
        "fillcolor": AMBER, "opacity": 0.18,
    }  # fmt: skip


def _whole(values: Any) -> dict[str, Any]:
    """Return axis settings with whole numbers only, if the values are small."""
    return {"dtick": 1, "tickmode": "linear", "range": [0, 1.05 * max(1, values.max())]} if values.max() < 8 else {}


def _safe(text: str) -> str:
    """Return a text that is safe in a plot: plotly.js reads some HTML in labels, and ``%{...}`` in templates."""
    return visible(text[:200]).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")


def _thin(rows: Any) -> Any:
    if len(rows) <= _MAX_POINTS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _MAX_POINTS).round().astype(int)]


def _list(values: Any) -> list[float | None]:
    """Return numbers for JSON, which has no NaN."""
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]

"""Drawings of the report as SVG, in the colours of its style sheet; they need no script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 560, 300
#: Space for the numbers of the axes, left and below, and above for the label of the threshold.
_LEFT, _BELOW, _ABOVE, _RIGHT = 66, 44, 24, 26
_BINS = 40
#: Most points of a curve.
_MOST_POINTS = 200


def histogram(scores: Mapping[str, NDArray[np.floating]], threshold: float) -> str:
    """Draw stacked bars of scores in [0, 1].

    Parameters
    ----------
    scores
        Scores by CSS class, ``good`` and ``defective``.
    threshold
        Score from which on a part is rejected.
    """
    edges = np.linspace(0, 1, _BINS + 1)
    counts = {name: np.histogram(np.clip(values, 0, 1), edges)[0] for name, values in scores.items()}
    most = max(1, int(np.sum(list(counts.values()), axis=0).max()))
    parts, below = [], np.zeros(_BINS, int)
    for name, row in counts.items():
        for index in np.flatnonzero(row):
            left, right = _x(edges[index]), _x(edges[index + 1])
            top, bottom = _y((below[index] + row[index]) / most), _y(below[index] / most)
            parts.append(
                f'<rect class="{name}" x="{left + 0.5:.1f}" y="{top:.1f}" width="{right - left - 1:.1f}" '
                f'height="{bottom - top:.1f}"><title>{row[index]} {name}, score {edges[index]:.3f} to '
                f"{edges[index + 1]:.3f}</title></rect>"
            )
        below = below + row
    at, is_right = _x(threshold), threshold > 0.7
    parts.append(f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="{_ABOVE}" y2="{_HEIGHT - _BELOW}"/>')
    parts.append(
        f'<text x="{at:.1f}" y="{_ABOVE - 8}" text-anchor="{"end" if is_right else "start"}">threshold '
        f"{threshold:g}: rejected from here on</text>"
    )
    marks = [(count / most, str(count)) for count in _whole_steps(most)]
    return _frame("Histogram of the scores", parts, "score", "images", [(n / 4, f"{n / 4:g}") for n in range(5)], marks)


def roc(curves: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]]) -> str:
    """Draw ROC curves.

    Parameters
    ----------
    curves
        Scores of good and of defective parts, by CSS class.
    """
    parts = [f'<line class="chance" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>']
    for name, (good, defective) in curves.items():
        limits = np.sort(np.unique(np.concatenate([good, defective])))[::-1]
        rejected = 1 - np.searchsorted(np.sort(good), limits, "left") / len(good)
        found = 1 - np.searchsorted(np.sort(defective), limits, "left") / len(defective)
        points = np.concatenate([[[0, 0]], np.stack([rejected, found], axis=1), [[1, 1]]])
        points = points[np.unique(np.linspace(0, len(points) - 1, _MOST_POINTS).astype(int))]
        path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="{name}" points="{path}"/>')
    shares = [(n / 4, f"{n * 25} %") for n in range(5)]
    return _frame("ROC curves", parts, "overkill: good parts rejected", "defective parts found", shares, shares)


def _frame(
    name: str,
    parts: Iterable[str],
    x_name: str,
    y_name: str,
    x_marks: Sequence[tuple[float, str]],
    y_marks: Sequence[tuple[float, str]],
) -> str:
    """Return the SVG with axes; marks are pairs of position, from 0 to 1, and text."""
    lines = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name}">']
    for at, text in y_marks:
        lines.append(f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{_y(at):.1f}" y2="{_y(at):.1f}"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{_y(at) + 4:.1f}" text-anchor="end">{text}</text>')
    for at, text in x_marks:
        lines.append(f'<text x="{_x(at):.1f}" y="{_HEIGHT - _BELOW + 16}" text-anchor="middle">{text}</text>')
    lines += parts
    lines.append(f'<text x="{(_x(0) + _x(1)) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{x_name}</text>')
    middle = (_y(0) + _y(1)) / 2
    lines.append(f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{y_name}</text></svg>')
    return "".join(lines)


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BELOW - share * (_HEIGHT - _BELOW - _ABOVE)


def _whole_steps(most: int) -> list[int]:
    """Return at most six round numbers from 0 up.

    Examples
    --------
    >>> _whole_steps(37), _whole_steps(3)
    ([0, 10, 20, 30], [0, 1, 2, 3])
    """
    step = next(size * 10**power for power in range(10) for size in (1, 2, 5) if most / (size * 10**power) <= 5)
    return list(range(0, most + 1, step))

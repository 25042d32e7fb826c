"""Plot of each scenario: the signals that moved, the change, and the events."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.drift.contenders import Ours, numbers
from benchmarks.drift.scenarios import BEFORE, Pools, Scenario
from models import default_model_path
from models.package import load_reference
from schemas.records import EpisodeState

mpl.use("Agg")
from matplotlib import pyplot as plt

_SMOOTH = 50
_SHOWN = 3
_COLOURS = {EpisodeState.OPENED: "#c1272d", EpisodeState.UPDATED: "#e8a33d", EpisodeState.CLOSED: "#3a7d44"}


def plot_scenario(scenario: Scenario, pools: Pools, folder: Path) -> Path:
    """Run our watch once and plot it; return the path of the plot."""
    ours = Ours()
    frames = BEFORE + (scenario.plotted or scenario.after)
    pictures = list(itertools.islice(scenario.make(pools, np.random.default_rng(0)), frames))
    for picture in pictures:
        ours.look(picture, scenario.product)
    _, reference = load_reference(default_model_path())
    assert reference is not None
    references = reference.of(scenario.product)
    scores = {
        name: np.array([ref.normal_score(numbers(p.signals).get(name, ref.mean)) for p in pictures])
        for name, ref in references.items()
    }
    kernel = np.ones(_SMOOTH) / _SMOOTH
    smooth = {name: np.convolve(values, kernel, "valid") for name, values in scores.items()}
    moved = sorted(smooth, key=lambda name: -float(np.abs(smooth[name][BEFORE:]).max()))[:_SHOWN]
    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    for name in moved:
        axes.plot(np.arange(_SMOOTH - 1, frames), smooth[name], label=name, linewidth=1.2)
    axes.axvline(BEFORE, color="black", linestyle="--", linewidth=1)
    axes.annotate("change ", (BEFORE, 0.02), xycoords=("data", "axes fraction"), ha="right")
    said = set()
    for number, event in ours.events:
        label = None if event.state in said else event.state.value.lower()
        said.add(event.state)
        axes.axvline(number, color=_COLOURS[event.state], linewidth=1, alpha=0.8, label=label)
    kinds = [event.kind.value.lower() for _, event in ours.events]
    axes.set(
        title=f"{scenario.name}" + (f": {kinds[-1]}" if kinds else ": not found"),
        xlabel="frame",
        ylabel=f"standard deviations of the reference\n(mean of {_SMOOTH} frames)",
    )
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', scenario.name.lower()).strip('-')}.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path

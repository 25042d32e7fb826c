"""Statements of the user about a model, for what its file does not say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Statements of the user; None and empty values are taken from the file.

    Parameters
    ----------
    task
        Task of the manifest.
    outputs
        Name of the output for each role of the manifest.
    activation
        Activation that the line applies to the scores.
    labels
        Names of the classes in the order of training.
    good_label
        Label of good parts; empty: no label is good.
    size_wh
        Width and height of the input, for a model that takes any size.
    colour, scale, mean, std, letterbox
        Preparation of the pixels, as in the manifest.
    threshold
        Score from which a part is NOT_OK.
    anomaly_range
        Values of an anomaly map that become 0 and 1.
    box
        Meaning of the four numbers of a box.
    licence
        Licence for the use of the weights.
    """

    task: Literal["classification", "anomaly_map", "detection"] | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    activation: Literal["none", "sigmoid", "softmax"] | None = None
    labels: tuple[str, ...] = ()
    good_label: str | None = None
    size_wh: tuple[int, int] | None = None
    colour: Literal["grey", "rgb", "bgr"] | None = None
    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    letterbox: bool = False
    threshold: float | None = None
    anomaly_range: tuple[float, float] | None = None
    box: Literal["xyxy", "xywh", "cxcywh"] | None = None
    licence: str | None = None

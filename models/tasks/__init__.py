"""Interpreters of the graph's outputs: one function for each task returns a score, labels and defects."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.manifest import Manifest
from models.preprocess import Geometry
from models.tasks.anomaly import anomaly_map
from models.tasks.classification import classification
from models.tasks.detection import detection
from models.tasks.finding import Finding, Outputs
from models.tasks.segmentation import segmentation

Interpreter = Callable[[Outputs, Manifest, Geometry], Finding]

TASKS: Mapping[str, Interpreter] = {
    "classification": classification,
    "anomaly_map": anomaly_map,
    "detection": detection,
    "segmentation": segmentation,
}

__all__ = ["TASKS", "Finding", "Interpreter", "Outputs"]

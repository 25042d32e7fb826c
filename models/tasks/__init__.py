"""What a model's outputs mean, one module a task: outputs -> score, labels, defects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from models.manifest import Manifest, Task
from models.preprocess import Placement
from models.tasks.anomaly import read_anomaly_map
from models.tasks.classification import read_classification
from models.tasks.detection import read_detections
from models.tasks.finding import Finding

Outputs = Mapping[str, NDArray[Any]]

#: For each task: from the named outputs of one image to what they say.
READERS: dict[Task, Callable[[Outputs, Manifest, Placement], Finding]] = {
    Task.CLASSIFICATION: read_classification,
    Task.ANOMALY_MAP: read_anomaly_map,
    Task.DETECTION: read_detections,
}

__all__ = ["READERS", "Finding", "Outputs"]

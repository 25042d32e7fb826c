"""Blocks of a manifest that belong to its task, and the roles of the outputs for each task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from models.manifest_block import ManifestBlock

Share = Annotated[float, Field(ge=0, le=1)]
Task = Literal["classification", "anomaly_map", "detection", "segmentation"]
#: Boxes of which labels non-maximum suppression compares.
Suppression = Literal["each_label", "all_labels", "none"]

#: Role of an additional output that any model may have: the features of the image, as numbers, before the judgement.
EMBEDDING = "embedding"
#: Roles of the outputs for each task, as a tuple of alternatives.
ROLES: dict[str, tuple[frozenset[str], ...]] = {
    "classification": (frozenset({"scores"}), frozenset({"scores", "map"})),
    "anomaly_map": (frozenset({"map"}), frozenset({"score"}), frozenset({"score", "map"})),
    "detection": (
        frozenset({"boxes", "scores"}),
        frozenset({"boxes", "scores", "classes"}),
        frozenset({"boxes", "scores", "count"}),
        frozenset({"boxes", "scores", "classes", "count"}),
        frozenset({"predictions"}),
        frozenset({"detections"}),
    ),
    "segmentation": (frozenset({"scores"}), frozenset({"class_map"})),
}
#: Roles whose numbers are final: no activation follows.
FINISHED_ROLES = frozenset({"detections", "class_map"})
#: Roles of results that may be the same for very different pictures, such as no box at all.
SPARSE_ROLES = frozenset({"detections", "classes", "count", "class_map"})


class ClassificationOptions(ManifestBlock):
    """Rule for several labels at the same time: a threshold for each label, see `models.tasks.label_thresholds`."""

    label_thresholds: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(min_length=1)


class AnomalyOptions(ManifestBlock):
    """Rule for the score of a map: its ``score_percentile``, scaled from ``low``..``high`` to 0..1.

    A finished score (role ``score``) is scaled in the same way; the percentile has no effect on it.
    """

    score_percentile: float = Field(default=99.5, gt=0, le=100)
    low: float = 0.0
    high: float

    @field_validator("high")
    @classmethod
    def _above(cls, value: float, info: ValidationInfo) -> float:
        if "low" in info.data and value <= info.data["low"]:
            raise ValueError("must be above low")
        return value


class DetectionOptions(ManifestBlock):
    """Rules for boxes that count as defects.

    ``coordinates`` are pixels of the model's input, or shares of it. ``box`` is the order of the four numbers; ``yxyx``
    is that of TensorFlow. ``suppression`` states which boxes non-maximum suppression compares: those of each label,
    those of all labels, or none. Without it, ``none`` for the role ``detections``, else ``each_label``. ``first_class``
    is the class number of the first label; with 1, class 0 is the background.
    """

    score_threshold: Share
    iou_threshold: Share = 0.5
    box: Literal["xyxy", "xywh", "cxcywh", "yxyx"] = "xyxy"
    coordinates: Literal["pixels", "normalised"] = "pixels"
    suppression: Suppression | None = None
    first_class: Literal[0, 1] = 0


class SegmentationOptions(ManifestBlock):
    """Rules for regions that count as defects.

    Regions with an area below ``min_area``, in pixels of the frame, are left out. A pixel belongs to its best label if
    that has a score from ``score_threshold`` on. ``first_class`` is as for detection, and for class maps only.
    """

    min_area: float = Field(ge=0)
    score_threshold: Share = 0.5
    first_class: Literal[0, 1] = 0


#: Task -> its block, and True if a manifest needs it.
BLOCKS: dict[str, tuple[str, bool]] = {
    "classification": ("classification", False),
    "anomaly_map": ("anomaly", True),
    "detection": ("detection", True),
    "segmentation": ("segmentation", True),
}
#: Block -> fields that the first version did not have, with their defaults as in JSON; None for a new block.
_NEWER: dict[str, dict[str, Any] | None] = {
    "detection": {"suppression": None, "first_class": 0},
    "classification": None,
    "segmentation": None,
}


def without_newer_defaults(described: dict[str, Any]) -> dict[str, Any]:
    """Leave fields that older versions did not have out of a recipe's description while they have their defaults.

    Examples
    --------
    >>> without_newer_defaults({"segmentation": None, "detection": {"box": "xyxy", "first_class": 0}, "anomaly": None})
    {'detection': {'box': 'xyxy'}, 'anomaly': None}
    """
    found = dict(described)
    for block, newer in _NEWER.items():
        value = found.get(block)
        if newer is None and value is None:
            found.pop(block, None)
        elif newer is not None and value is not None:
            missing = object()
            found[block] = {name: each for name, each in value.items() if each != newer.get(name, missing)}
    return found

"""Forms of outputs that are recognised by names, shapes and operators, where these leave no doubt.

A form gives the task, the roles of the outputs, and facts for the block of the task. Shapes that fit several forms are
none of these: `models.draft` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.metadata import is_finished
from models.onnx_graph import OnnxModel
from models.onnx_values import FLOATS, OnnxSignature, OnnxValue

_INTEGERS = frozenset({"uint8", "int8", "int32", "int64"})
#: Length of a finished row.
_ROW = 6
#: Operators that leave the best boxes.
_CHOOSING = ("NonMaxSuppression", "TopK")


@dataclass(frozen=True, slots=True)
class OutputForm:
    """Recognised form: task, name of the output for each role, facts for the task's block, and the reason in words."""

    task: str
    names: Mapping[str, str]
    reason: str
    block: Mapping[str, Any] = field(default_factory=dict)


def recognise(model: OnnxModel, signature: OnnxSignature, task: str | None) -> OutputForm | None:
    """Return the form of the outputs, or None if it is not sure.

    Parameters
    ----------
    task
        Task that a person or the file's metadata states; None if neither does.

    Examples
    --------
    >>> from models.onnx_graph import Graph
    >>> values = (OnnxValue("pred_score", "float32", (1,)), OnnxValue("anomaly_map", "float32", (1, 1, 8, 8)))
    >>> recognise(OnnxModel(Graph(), {}, {}), OnnxSignature((), values, ""), None).names
    {'score': 'pred_score', 'map': 'anomaly_map'}
    """
    for form_of in _FORMS:
        form = form_of(model, signature)
        if form is not None and task in (None, form.task):
            return form
    return None


def may_be_rows(value: OnnxValue) -> bool:
    """Return True if an output of three axes may have a finished row for each box as well as a column.

    Examples
    --------
    >>> may_be_rows(OnnxValue("o", "float32", (1, 300, 6))), may_be_rows(OnnxValue("o", "float32", (1, 6, 8400)))
    (True, False)
    """
    rows, length = value.shape[-2:]
    return length == _ROW and (rows is None or rows > _ROW)


def _finished_rows(model: OnnxModel, signature: OnnxSignature) -> OutputForm | None:
    found = [value for value in _floats(signature) if len(value.shape) == 3 and value.shape[2] in (_ROW, None)]
    if len(found) != 1:
        return None
    names = {"detections": found[0].name}
    if is_finished(model.metadata):
        reason = "finished rows, as the file's metadata says (nms or end2end)"
        return OutputForm("detection", names, reason, {"box": "xyxy", "coordinates": "pixels"})
    operator = next((node.op for node in model.graph.nodes if node.op in _CHOOSING), None)
    if operator is None or not may_be_rows(found[0]):
        return None
    return OutputForm("detection", names, f"rows of six numbers, and {operator} in the graph")


def _tensorflow(model: OnnxModel, signature: OnnxSignature) -> OutputForm | None:
    words = {
        "boxes": "detection_boxes", "scores": "detection_scores", "classes": "detection_classes",
        "count": "num_detections",
    }  # fmt: skip
    block = {"box": "yxyx", "coordinates": "normalised", "first_class": 1}
    return _by_names(signature, words, "names of TensorFlow's detection API: yxyx, shares, classes from 1", block)


def _torchvision(model: OnnxModel, signature: OnnxSignature) -> OutputForm | None:
    words = {"boxes": "boxes", "scores": "scores", "classes": "labels"}
    if not any(value.name == "boxes" and len(value.shape) == 2 for value in signature.outputs):
        return None
    block = {"box": "xyxy", "coordinates": "pixels", "first_class": 1}
    return _by_names(signature, words, "names of torchvision: xyxy, pixels, classes from 1", block)


def _suppressed(model: OnnxModel, signature: OnnxSignature) -> OutputForm | None:
    words = {"boxes": "det_boxes", "scores": "det_scores", "classes": "det_classes", "count": "num_det"}
    return _by_names(signature, words, "names of a graph with non-maximum suppression", {})


def _by_names(
    signature: OnnxSignature, words: Mapping[str, str], reason: str, block: Mapping[str, Any]
) -> OutputForm | None:
    """Return the form if one output begins with each word; the one with the number of boxes may be missing."""
    names = {}
    for role, word in words.items():
        found = [value.name for value in signature.outputs if value.name.startswith(word)]
        if len(found) == 1:
            names[role] = found[0]
        elif role != "count":
            return None
    return OutputForm("detection", names, reason, block)


def _anomalib(model: OnnxModel, signature: OnnxSignature) -> OutputForm | None:
    names = {value.name for value in signature.outputs}
    if "pred_score" not in names:
        return None
    roles = {"score": "pred_score"} | ({"map": "anomaly_map"} if "anomaly_map" in names else {})
    return OutputForm("anomaly_map", roles, "names of Anomalib, which normalises to 0 to 1", {"low": 0.0, "high": 1.0})


def _one_score(model: OnnxModel, signature: OnnxSignature) -> OutputForm | None:
    floats = _floats(signature)
    if len(floats) != 1 or len(floats[0].shape) != 1 or floats[0].shape[0] not in (1, None):
        return None
    return OutputForm("anomaly_map", {"score": floats[0].name}, "one number for an image")


def _class_map(model: OnnxModel, signature: OnnxSignature) -> OutputForm | None:
    if len(signature.outputs) != 1 or signature.outputs[0].dtype not in _INTEGERS:
        return None
    shape = signature.outputs[0].shape
    if len(shape) not in (3, 4) or not all(_is_side(side) for side in shape[-2:]):
        return None
    return OutputForm("segmentation", {"class_map": signature.outputs[0].name}, "a class number for each place")


def _score_maps(model: OnnxModel, signature: OnnxSignature) -> OutputForm | None:
    if len(signature.outputs) != 1 or len(_floats(signature)) != 1 or len(signature.outputs[0].shape) != 4:
        return None
    _, *axes = signature.outputs[0].shape
    image = signature.inputs[0].shape if signature.inputs else ()
    is_last = len(image) == 4 and image[3] in (1, 3) and image[1] not in (1, 3)
    channels, sides = (axes[2], axes[:2]) if is_last else (axes[0], axes[1:])
    if channels is None or channels < 2 or not all(_is_side(side) for side in sides):
        return None
    return OutputForm("segmentation", {"scores": signature.outputs[0].name}, f"{channels} scores for each place")


def _is_side(size: int | None) -> bool:
    return size is None or size > 1


def _floats(signature: OnnxSignature) -> Sequence[OnnxValue]:
    return [value for value in signature.outputs if value.dtype in FLOATS]


_FORMS: Sequence[Callable[[OnnxModel, OnnxSignature], OutputForm | None]] = (
    _tensorflow, _torchvision, _suppressed, _anomalib, _finished_rows, _one_score, _class_map, _score_maps,
)  # fmt: skip

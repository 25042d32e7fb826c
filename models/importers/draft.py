"""Draft of a manifest from the facts of a converted model and the statements of the user.

All that neither states is reported at once, each with its option, in one line.
"""

from __future__ import annotations

import re
from typing import Any

from models.errors import ImportRefused
from models.graph_walk import ends_in, scaling_of
from models.importers.converter import ModelFacts
from models.importers.options import ImportOptions
from models.metadata import label_lists
from models.onnx_graph import OnnxModel

_GOOD = frozenset({"good", "ok", "normal", "functional", "pass", "io", "i.o."})
_ACTIVATIONS = {"Softmax", "Sigmoid", "HardSigmoid"}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
#: Role of the only output, by task.
_ROLES = {"classification": "scores", "anomaly_map": "map", "detection": "predictions"}
_UNKNOWN = "not stated by the imported file"


class _Missing:
    """Facts that neither the file nor the user states."""

    def __init__(self) -> None:
        self.options: list[str] = []

    def ask(self, option: str) -> None:
        self.options.append(option)


def draft_manifest(
    facts: ModelFacts, graph: OnnxModel, options: ImportOptions, *, name: str, sha256: str, provenance: str
) -> dict[str, Any]:
    """Return the content of a manifest.

    Parameters
    ----------
    graph
        Graph of the converted file.
    name
        Name of the package, cleaned here.
    sha256
        Digest of the converted file.
    provenance
        Text on the origin of the weights.

    Raises
    ------
    ImportRefused
        If the facts do not fit a package, or something is missing; the message names the options.
    """
    missing = _Missing()
    spec = _input(facts, graph, options, missing)
    task, roles = _task(facts, options, missing)
    name = _NOT_IN_NAMES.sub("-", name).strip("-.")[:100] or "my-model"
    manifest: dict[str, Any] = {
        "manifest_version": 1, "name": name, "version": "1.0.0", "task": task, "file": "model.onnx", "sha256": sha256,
        "input": spec,
        "outputs": {"names": roles, "activation": _activation(facts, graph, options, task, roles, missing)},
        "labels": _labels(facts, graph, options, task, roles, missing),
    }  # fmt: skip
    good = _good_label(options, task, manifest["labels"], missing)
    if good:
        manifest["good_label"] = good
    if options.threshold is None:
        missing.ask("--threshold 0.5 (the score, 0 to 1, from which a part is not good)")
    manifest["decision"] = {"recipe_id": name, "revision": 1, "threshold": options.threshold}
    _task_block(manifest, options, missing)
    manifest["training"] = {
        "provenance": provenance, "licence": options.licence or _UNKNOWN, "data": _UNKNOWN, "split": _UNKNOWN,
    }  # fmt: skip
    if missing.options:
        raise ImportRefused(f"the file does not say all; state: {'; '.join(missing.options)}")
    return manifest


def inversion(options: ImportOptions) -> str | None:
    """Return the activation behind the one score if that is the score of the good label; None if it is not.

    One number for two labels is the score of the second one, by the custom of all frameworks. A package wants the
    score of the label that is not good.

    Examples
    --------
    >>> inversion(ImportOptions(labels=("bad", "good"))), inversion(ImportOptions(labels=("good", "bad")))
    ('none', None)
    """
    labels = list(options.labels)
    if len(labels) == 2 and _good_label(options, "classification", labels, _Missing()) == labels[1]:
        return options.activation or "none"
    return None


def _input(facts: ModelFacts, graph: OnnxModel, options: ImportOptions, missing: _Missing) -> dict[str, Any]:
    shape = facts.input_shape
    if len(shape) != 4:
        raise ImportRefused(f"the model takes shape {list(shape)}: a package takes an image of 4 axes")
    if facts.input_dtype not in ("uint8", "float32"):
        raise ImportRefused(f"the model takes {facts.input_dtype}: export it with a float32 or uint8 input")
    if shape[0] not in (None, 1):
        raise ImportRefused(
            f"the model takes batches of {shape[0]}, and the line inspects one image at a time: export it with a free "
            "first axis, or for one image"
        )
    layout = "NCHW" if shape[1] in (1, 3) and shape[3] not in (1, 3) else "NHWC"
    height, width, channels = shape[1:] if layout == "NHWC" else (*shape[2:], shape[1])
    if channels not in (None, 1, 3):
        raise ImportRefused(f"the model takes {channels} channels: a package takes 1 (grey) or 3 (rgb, bgr)")
    asked = options.size_wh or (None, None)
    for axis, known, stated in (("width", width, asked[0]), ("height", height, asked[1])):
        if known is not None and stated is not None and known != stated:
            raise ImportRefused(f"--size states the {axis} {stated}, and the model takes {known}: leave --size out")
    if (height or asked[1]) is None or (width or asked[0]) is None:
        missing.ask("--size WIDTHxHEIGHT")
    colour = options.colour or ("grey" if channels == 1 else None)
    if colour is None:
        missing.ask("--colour rgb or --colour bgr (order of the channels; files that the framework reads are rgb)")
    elif channels is not None and channels != (1 if colour == "grey" else 3):
        raise ImportRefused(f"--colour {colour}: the model takes {channels} channels")
    spec: dict[str, Any] = {
        "name": facts.input_name, "width": width or asked[0], "height": height or asked[1], "colour": colour,
        "layout": layout, "dtype": facts.input_dtype, "resize": "letterbox" if options.letterbox else "stretch",
    }  # fmt: skip
    if facts.input_dtype == "float32":
        spec |= _scaling(facts, graph, options, missing)
    elif options.scale or options.mean or options.std:
        raise ImportRefused("--scale, --mean and --std: the model takes bytes, its graph scales them itself")
    return spec


def _scaling(facts: ModelFacts, graph: OnnxModel, options: ImportOptions, missing: _Missing) -> dict[str, Any]:
    if options.scale is not None:
        return {"scale": options.scale, "mean": list(options.mean), "std": list(options.std)}
    if options.mean or options.std:
        missing.ask("--scale (1 or 1/255, with --mean and --std)")
        return {}
    found = scaling_of(graph, facts.input_name)
    if any(64 <= abs(each) <= 1024 for each in found.divisors):
        return {}  # the graph takes pixels from 0 to 255
    missing.ask(
        "--scale (1/255 for pixels from 0 to 1, 1 for pixels from 0 to 255; --mean and --std if it was trained so)"
    )
    return {}


def _task(facts: ModelFacts, options: ImportOptions, missing: _Missing) -> tuple[str, dict[str, str]]:
    outputs = facts.outputs
    for role, name in options.outputs.items():
        if name not in outputs:
            raise ImportRefused(f"--output {role}={name}: the model has {_listed(outputs)}")
    if options.outputs:
        guessed = "anomaly_map" if "map" in options.outputs else "detection"
        guessed = "classification" if set(options.outputs) == {"scores"} else guessed
        return options.task or guessed, dict(options.outputs)
    if len(outputs) == 1:
        [(name, shape)] = outputs.items()
        task = options.task or _task_of(shape)
        if task is not None:
            return task, {_ROLES[task]: name}
    missing.ask(f"--task and --output ROLE=NAME (outputs: {_listed(outputs)}; roles: docs/models.md)")
    return options.task or "classification", {}


def _task_of(shape: tuple[int, ...]) -> str | None:
    """Return the task that the shape of the only output leaves no doubt about."""
    if len(shape) == 2:
        return "classification"
    return "anomaly_map" if len(shape) == 4 and shape[1] == 1 and shape[2] > 1 else None


def _listed(outputs: Any) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in outputs.items())


def _activation(
    facts: ModelFacts, graph: OnnxModel, options: ImportOptions, task: str, roles: dict[str, str], missing: _Missing
) -> str | None:
    scores = roles.get("scores") or roles.get("predictions")
    if options.activation is not None or task == "anomaly_map" or scores is None:
        return options.activation or "none"
    if ends_in(graph, scores, scaled=True) & _ACTIVATIONS:
        return "none"
    missing.ask("--activation softmax, sigmoid or none (the graph ends without one)")
    return None


def _labels(
    facts: ModelFacts, graph: OnnxModel, options: ImportOptions, task: str, roles: dict[str, str], missing: _Missing
) -> list[str]:
    if options.labels:
        labels = list(options.labels)
    elif task == "anomaly_map":
        labels = ["anomaly"]
    else:
        labels = next((list(each.labels) for each in label_lists(graph.metadata) if each.is_usual), [])
    shape = facts.outputs.get(roles.get("scores", ""), ())
    count = shape[1] if task == "classification" and len(shape) == 2 else None
    wanted = "2" if count == 1 else str(count) if count else "one for each class"
    if not labels:
        missing.ask(f"--labels NAME,NAME ({wanted}, in the order of training)")
    elif count is not None and len(labels) != count and not (count == 1 and len(labels) == 2):
        raise ImportRefused(f"--labels: {len(labels)} names, and the model has {count} scores: state {wanted}")
    return labels


def _good_label(options: ImportOptions, task: str, labels: list[str], missing: _Missing) -> str | None:
    if options.good_label is not None:
        if options.good_label and options.good_label not in labels:
            raise ImportRefused(f"--good-label {options.good_label}: the labels are {', '.join(labels)}")
        return options.good_label
    good = [label for label in labels if label.lower() in _GOOD]
    if len(good) == 1:
        return good[0]
    if task == "classification" and len(labels) > 1:
        missing.ask("--good-label NAME (the label of good parts)")
    return None


def _task_block(manifest: dict[str, Any], options: ImportOptions, missing: _Missing) -> None:
    if manifest["task"] == "anomaly_map":
        if options.anomaly_range is None:
            missing.ask("--anomaly-range LOW,HIGH (values of the map that become 0 and 1)")
        else:
            low, high = options.anomaly_range
            manifest["anomaly"] = {"low": low, "high": high}
    elif manifest["task"] == "detection":
        box = options.box or ("cxcywh" if "predictions" in manifest["outputs"]["names"] else None)
        if box is None:
            missing.ask("--box xyxy, xywh or cxcywh")
        threshold = options.threshold or 0.5
        manifest["detection"] = {"score_threshold": min(0.25, threshold), "box": box}

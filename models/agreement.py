"""Comparison of a manifest with the graph and the metadata of its ONNX file, before anything runs.

Both describe the labels, the task, the size and the scaling of the input, and the step from numbers to scores. If
they differ, one of them is wrong, and scores would be wrong without a message: such a package does not load.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from models.graph_walk import chained_in, ends_in, scaling_of
from models.input_spec import InputSpec
from models.manifest import Manifest, Subject
from models.metadata import colour_in, count_in, is_finished, label_lists, size_in, stride_in, task_in
from models.onnx_graph import OnnxModel
from models.random_numbers import random_operators
from models.task_spec import DetectionOptions

#: Operator -> kind of numbers that it makes.
ACTIVATIONS = {
    "Softmax": "softmax", "com.microsoft::QLinearSoftmax": "softmax",
    "com.microsoft::BiasSoftmax": "softmax",
    "Sigmoid": "sigmoid", "HardSigmoid": "sigmoid", "com.microsoft::QLinearSigmoid": "sigmoid",
}  # fmt: skip
#: Operator -> kind of numbers from -1 to 1, which leave a sigmoid between 0.27 and 0.73.
_BOUNDED = {"Tanh": "tanh", "Softsign": "softsign", "Erf": "erf", "LpNormalization": "a normalisation"}
_DECISIONS = {
    "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "ArgMax", "ArgMin", "Not", "And", "Or", "Xor", "Sign",
    "Hardmax", "OneHot",
}  # fmt: skip
#: Name of the boxes in detectors of TensorFlow.
_TENSORFLOW_BOXES = "detection_boxes"
#: Operators that make numbers of classes or places.
_INDICES = {"ArgMax", "ArgMin", "TopK"}
#: Names that exporters use -> task of a manifest.
TASK_WORDS = {
    "detect": "detection", "detection": "detection", "object-detection": "detection", "object_detection": "detection",
    "classify": "classification", "classification": "classification", "image-classification": "classification",
    "anomaly": "anomaly_map", "anomaly_map": "anomaly_map", "anomaly-detection": "anomaly_map",
    "segmentation": "segmentation", "semantic-segmentation": "segmentation", "semantic_segmentation": "segmentation",
    "semantic": "segmentation",
}  # fmt: skip
NOT_READ = {
    "obb": "turned boxes", "segment": "masks of single objects", "pose": "key points", "depth": "depths",
}  # fmt: skip
#: Remedy for finished rows in the role of columns.
_WITHOUT_NMS = (
    "name it in the role `detections` with `box: xyxy`, or export without it (end2end=False, nms=False), as "
    "(1, 4 + labels, boxes)"
)
#: Fault and remedy of a model that gives the same picture other numbers.
NOT_REPEATED = "so that a replay decides otherwise: export the model for inference, as with `model.eval()`"
#: Most characters of the manifest's labels, and of the file's, that a message shows.
_SHOWN = 200


class PackageDifference(NamedTuple):
    """Difference between file and manifest: its subject, the place in the manifest, and the remedy."""

    subject: Subject
    location: tuple[str | int, ...]
    reason: str


def differences(model: OnnxModel, manifest: Manifest) -> Iterator[PackageDifference]:
    """Yield the differences between file and manifest; those that explain others come first.

    Examples
    --------
    >>> from models.onnx_graph import Graph
    >>> from models.package import default_model_path
    >>> from models.manifest_file import ManifestFile
    >>> cells = ManifestFile.read(default_model_path() / "manifest.yaml").manifest
    >>> for found in differences(OnnxModel(Graph(), {}, {"names": "{0: 'bad', 1: 'good'}"}), cells):
    ...     print(found.reason)
    the file's metadata `names` has bad, good, the manifest has functional, defective: use the file's, in its order
    """
    yield from _task(model, manifest)
    yield from _rows(model, manifest)
    yield from _box(model, manifest)
    yield from _labels(model, manifest)
    yield from _input(model, manifest)
    yield from _scaling(model, manifest)
    yield from _scores(model, manifest)
    yield from _random(model)


def _task(model: OnnxModel, manifest: Manifest) -> Iterator[PackageDifference]:
    said = task_in(model.metadata)
    if said in NOT_READ:
        yield PackageDifference(
            "task",
            ("task",),
            f"the file's metadata says task {said}: {NOT_READ[said]} are not read; export task detect or classify",
        )
    elif said in TASK_WORDS and TASK_WORDS[said] != manifest.task:
        yield PackageDifference(
            "task",
            ("task",),
            f"the file's metadata says task {said}, the manifest {manifest.task}: say {TASK_WORDS[said]}",
        )


def _rows(model: OnnxModel, manifest: Manifest) -> Iterator[PackageDifference]:
    name = manifest.outputs.names.get("predictions")
    if name is None:
        return
    where = ("outputs", "names", "predictions")
    if is_finished(model.metadata):
        yield PackageDifference(
            "rows", where, f"the file's metadata says that it suppresses overlapping boxes: {_WITHOUT_NMS}"
        )
    elif indices := sorted(ends_in(model, name) & _INDICES):
        yield PackageDifference(
            "rows",
            where,
            f"a part of output {name!r} is the number of a class ({indices[0]}), as in finished rows of "
            f"x1, y1, x2, y2, score, class: {_WITHOUT_NMS}",
        )
    elif any("NonMaxSuppression" in node.op for graph in model.graphs() for node in graph.nodes):
        yield PackageDifference(
            "rows", where, f"the graph suppresses overlapping boxes (NonMaxSuppression): {_WITHOUT_NMS}"
        )


def _random(model: OnnxModel) -> Iterator[PackageDifference]:
    """Yield a difference if the graph draws random numbers: the same image must always get the same decision."""
    found = random_operators(model)
    if found:
        yield PackageDifference(
            "random",
            ("file",),
            f"the graph draws random numbers ({', '.join(sorted(found))}), {NOT_REPEATED}",
        )


def _box(model: OnnxModel, manifest: Manifest) -> Iterator[PackageDifference]:
    """Yield a difference if boxes are read otherwise than the exporter writes them.

    YOLO writes centre, width and height in pixels, and corners in finished rows; TensorFlow ymin, xmin, ymax, xmax.
    """
    options, names = manifest.detection, manifest.outputs.names
    if options is None:
        return
    boxes, is_ultralytics = names.get("boxes", ""), _is_ultralytics(model)
    if boxes.startswith(_TENSORFLOW_BOXES) and (options.box, options.coordinates) != ("yxyx", "normalised"):
        yield _box_difference(
            options, "box", f"outputs of TensorFlow ({boxes}) have ymin, xmin, ymax, xmax as shares of the input",
            "say `box: yxyx`, `coordinates: normalised` and, where classes count from one, `first_class: 1`",
        )  # fmt: skip
    elif "detections" in names and is_ultralytics and (options.box, options.coordinates) != ("xyxy", "pixels"):
        fault = f"finished rows of Ultralytics have corners in pixels, the manifest says {options.box}"
        yield _box_difference(options, "box", fault, "say `box: xyxy` and `coordinates: pixels`")
    elif "predictions" in names or (is_ultralytics and "detections" not in names):
        by = "models of Ultralytics give" if is_ultralytics else "an output in the role predictions has"
        is_fused = "predictions" in names
        if options.box != "cxcywh":
            fault = f"{by} the centre, width and height of each box, the manifest says {options.box}"
            rows = ", or name finished rows of x1, y1, x2, y2, score, class `detections`" if is_fused else ""
            yield _box_difference(options, "box", fault, f"say `box: cxcywh`{rows}")
        if is_fused and options.coordinates != "pixels":
            fault = f"{by} boxes in pixels of the input, the manifest says {options.coordinates}"
            yield _box_difference(options, "coordinates", fault, "say `coordinates: pixels`")


def _box_difference(options: DetectionOptions, field: str, fault: str, cure: str) -> PackageDifference:
    location = ("detection", field) if field in options.model_fields_set else ("detection",)
    return PackageDifference("box", location, f"{fault}: {cure}")


def _is_ultralytics(model: OnnxModel) -> bool:
    return "ultralytics" in model.metadata.get("author", "").lower()


def _labels(model: OnnxModel, manifest: Manifest) -> Iterator[PackageDifference]:
    if manifest.task == "anomaly_map":
        return
    lists, count = list(label_lists(model.metadata)), count_in(model.metadata)
    ours = manifest.labels
    for found in lists:
        if found.labels != ours and (found.is_usual or sorted(found.labels) == sorted(ours)):
            theirs, listed = ", ".join(found.labels)[:_SHOWN], ", ".join(ours)[:_SHOWN]
            yield PackageDifference(
                "labels",
                ("labels",),
                f"the file's metadata `{found.key[:_SHOWN]}` has {theirs}, the manifest has {listed}: use the file's, "
                "in its order",
            )
    if not any(found.is_usual for found in lists) and count is not None and count[1] not in (len(ours), 1):
        yield PackageDifference(
            "labels",
            ("labels",),
            f"the file's metadata `{count[0]}` says {count[1]} classes, the manifest has {len(ours)} labels: list one "
            "for each, in the order of training",
        )


def _input(model: OnnxModel, manifest: Manifest) -> Iterator[PackageDifference]:
    spec, size, colour = manifest.input, size_in(model.metadata), colour_in(model.metadata)
    if size is not None and size != (spec.height, spec.width):
        yield PackageDifference(
            "input",
            ("input",),
            f"the file was exported for {size[1]}x{size[0]} pixels (`imgsz`), the manifest says "
            f"{spec.width}x{spec.height}: say width {size[1]}, height {size[0]}",
        )
    stride = stride_in(model.metadata)
    for side, pixels in (("width", spec.width), ("height", spec.height)):
        if pixels % stride:
            yield PackageDifference(
                "input", ("input", side), f"{pixels} is no multiple of the file's `stride` {stride}"
            )
    if colour is not None and colour[1] != spec.colour:
        yield PackageDifference(
            "input",
            ("input", "colour"),
            f"the file's metadata `{colour[0]}` says {colour[1]}, the manifest {spec.colour}: say {colour[1]}",
        )
    if _is_ultralytics(model) and spec.colour == "bgr":
        yield PackageDifference(
            "input", ("input", "colour"), "models of Ultralytics take rgb, the manifest says bgr: say rgb"
        )


def _scaling(model: OnnxModel, manifest: Manifest) -> Iterator[PackageDifference]:
    spec, found = manifest.input, scaling_of(model, manifest.input.name)
    divisor = next((each for each in found.divisors if 64 <= abs(each) <= 1024), None)
    shrinks = spec.scale / (spec.std[0] if spec.std else 1.0)
    if divisor is not None and shrinks < 0.5:
        yield PackageDifference(
            "normalisation",
            ("input", "scale"),
            f"the graph divides its pixels by {divisor:g} itself: leave scale (or std) out, or they are scaled twice",
        )
    elif any(spec.mean) and (
        found.offsets or any(_is_mean(each, spec) or spec.channels == 1 for each in found.channel_offsets)
    ):
        yield PackageDifference(
            "normalisation",
            ("input", "mean"),
            "the graph subtracts a mean from its pixels itself: leave mean and std out, or it is done twice",
        )
    elif divisor is None and spec.dtype != "uint8" and _is_ultralytics(model) and not 0.5 / 255 < shrinks < 20 / 255:
        yield PackageDifference(
            "normalisation",
            ("input", "scale"),
            f"models of Ultralytics take pixels from 0 to 1, the manifest scales by {spec.scale:g}: say "
            "scale: 0.00392156862745098",
        )


def _is_mean(offset: float, spec: InputSpec) -> bool:
    """Return True if a constant is the manifest's mean: of pixels to 1, of pixels to 255, or divided by ``std``."""
    stds = spec.std or (1.0,) * len(spec.mean)
    known = [v for mean, std in zip(spec.mean, stds, strict=True) for v in (mean, mean * 255, mean / 255, mean / std)]
    return any(v and abs(abs(offset) - abs(v)) <= 0.01 * abs(v) for v in known)


def _scores(model: OnnxModel, manifest: Manifest) -> Iterator[PackageDifference]:
    applied = manifest.outputs.activation
    for role in ("scores", "predictions", "map", "score"):
        name = manifest.outputs.names.get(role)
        if name is None or (role == "map" and manifest.task == "classification"):
            continue  # the activation is not applied to the map of a classification model
        ends, where = ends_in(model, name), ("outputs", "names", role)
        made = next((ACTIVATIONS[op] for op in sorted(ends) if op in ACTIVATIONS), None)
        twice = [ACTIVATIONS[op] for op in sorted(chained_in(model, name, ACTIVATIONS))]
        yield from _bounded(model, manifest, role, name, ends)
        if twice:
            yield PackageDifference(
                "activation",
                where,
                f"the graph applies {twice[0]} to finished scores before output {name!r}: export the model without its "
                "last activation, or name the output from before it",
            )
        if made is not None and applied != "none":
            yield PackageDifference(
                "activation",
                ("outputs", "activation"),
                f"the graph ends in {made} before output {name!r}, and the manifest applies {applied} again: "
                "say `activation: none`",
            )
        if "LogSoftmax" in ends and made is None and role != "map" and applied != "softmax":
            yield PackageDifference(
                "activation",
                ("outputs", "activation"),
                f"the graph ends in LogSoftmax before output {name!r}: say `activation: softmax`",
            )
        hard = ends & _DECISIONS
        if hard and not ends - _DECISIONS:
            yield PackageDifference(
                "threshold",
                where,
                f"output {name!r} is a decision of the graph ({', '.join(sorted(hard))}), not a score: name the output "
                "from before it",
            )


def _bounded(
    model: OnnxModel, manifest: Manifest, role: str, name: str, ends: frozenset[str]
) -> Iterator[PackageDifference]:
    """Yield a difference if the manifest applies an activation to numbers that leave it no room up to 1."""
    applied = manifest.outputs.activation
    if applied == "none" or role == "predictions":
        return
    kind = next((_BOUNDED[op] for op in sorted(ends) if op in _BOUNDED), None)
    if kind is not None:
        yield PackageDifference(
            "activation",
            ("outputs", "activation"),
            f"the graph ends in {kind} before output {name!r}, from -1 to 1, and {applied} of that comes near neither "
            "0 nor 1: name the output from before it, or scale it to 0 to 1 at export and say `activation: none`",
        )
    through = ends_in(model, name, scaled=True)
    made = next((ACTIVATIONS[op] for op in sorted(through - ends) if op in ACTIVATIONS), None)
    if made is not None:
        yield PackageDifference(
            "activation",
            ("outputs", "activation"),
            f"the graph ends in {made} with a factor or an offset before output {name!r}, and the manifest applies "
            f"{applied} again: name the output of {made} itself, and say `activation: none`",
        )

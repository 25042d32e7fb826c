"""Draft of a manifest from an ONNX file: the file's own facts, the answers of a person, and the open questions.

A file states its tensors, and often labels, task and size (Ultralytics writes all of them). It does not state the
order of colours, the scaling of pixels, or a threshold. Nothing is run: `models.load_model` checks the result.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import ValidationError

from models.agreement import ACTIVATIONS
from models.draft_answers import DraftAnswers, OpenQuestion
from models.draft_outputs import DraftOutputs
from models.errors import ModelPackageError
from models.graph_walk import ends_in, scaling_of
from models.input_spec import MAX_SIDE
from models.manifest import Manifest
from models.metadata import colour_in, label_lists, size_in, task_in
from models.onnx_bytes import ExternalData, NotOnnx, check_onnx
from models.onnx_graph import OnnxModel, read_model
from models.onnx_values import OnnxSignature, OnnxValue, read_signature
from models.output_forms import OutputForm
from models.protobuf import Malformed
from models.task_spec import Suppression

#: Labels that mean a good part, in lower case.
GOOD_LABELS = frozenset(
    {"good", "ok", "normal", "pass", "functional", "accept", "no_defect", "no defect", "defect-free"}
)
#: Score of a box, at most, from which it counts as a defect.
_BOX_SCORE = 0.25
#: Score of a label at a place, at most, from which the place has this label.
_PLACE_SCORE = 0.5
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class ManifestDraft:
    """Draft of a manifest.

    Parameters
    ----------
    manifest
        Its content; empty while a question is open.
    open
        Open questions.
    notes
        Facts that were read from the file or assumed, for a person to check.
    """

    manifest: Mapping[str, Any]
    open: tuple[OpenQuestion, ...]
    notes: tuple[str, ...]


def draft_manifest(data: bytes, name: str, given: Mapping[str, str]) -> ManifestDraft:
    """Draft the manifest of an ONNX file.

    Parameters
    ----------
    data
        Bytes of the file.
    name
        Name of the model; characters that a manifest does not allow are replaced.
    given
        Answers, see `DraftAnswers`; an answer goes before a fact of the file.

    Raises
    ------
    ModelPackageError
        If no manifest can make a package of the file: the message has the remedy.
    SettingsError
        If an answer cannot be read.
    """
    try:
        check_onnx(data)
        draft = _Draft(read_model(data), read_signature(data), DraftAnswers(given))
    except (NotOnnx, ExternalData, Malformed) as error:
        raise ModelPackageError(f"the file {error}" if isinstance(error, ExternalData) else str(error)) from error
    manifest = draft.manifest(_NOT_IN_NAMES.sub("-", name).strip("-._")[:100] or "my-model", data)
    if draft.answers.open:
        return ManifestDraft({}, tuple(draft.answers.open), tuple(draft.notes))
    try:
        # By way of JSON, as `models.manifest_file` reads it.
        Manifest.model_validate_json(json.dumps(manifest))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelPackageError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
    return ManifestDraft(manifest, (), tuple(draft.notes))


@dataclass(slots=True)
class _Draft:
    model: OnnxModel
    signature: OnnxSignature
    answers: DraftAnswers
    notes: list[str] = field(default_factory=list)

    @property
    def is_ultralytics(self) -> bool:
        found = self.model.metadata
        return any("ultralytics" in found.get(key, "").lower() for key in ("author", "description", "docs"))

    def manifest(self, name: str, data: bytes) -> dict[str, Any]:
        """Return the content; some of it is missing while a question is open."""
        spec = self._input()
        found = DraftOutputs(self.model, self.signature, self.answers, self.notes)
        task = found.task()
        outputs = {} if task is None else found.roles(task)
        threshold = self.answers.share(
            "threshold", "defect score from which a part is rejected, from 0 to 1, such as 0.5"
        )
        band = self.answers.numbers("review_band", 2)
        blocks = {} if task is None else self._blocks(task, outputs, found.form, min([threshold or 1.0, *(band or ())]))
        training = self._training()
        return {
            "manifest_version": 1,
            "name": name,
            "version": self.answers.get("model_version") or "1.0.0",
            "task": task,
            "file": "model.onnx",
            "sha256": hashlib.sha256(data).hexdigest(),
            "input": spec,
            **blocks,
            "decision": {
                "recipe_id": name, "revision": 1, "threshold": threshold,
                **({} if band is None else {"review_band": list(band)}),
            },
            "training": training,
        }  # fmt: skip

    def _input(self) -> dict[str, Any]:
        values = self.signature.inputs
        if len(values) != 1:
            names = ", ".join(value.name for value in values) or "none"
            raise ModelPackageError(
                f"the graph's inputs are {names}, a package has one, the image: make the others constants "
                "(initializers) of the graph, or leave them out at export"
            )
        value = values[0]
        if value.dtype not in ("float32", "float16", "uint8"):
            raise ModelPackageError(
                f"input {value.name!r} is {value.dtype or 'no tensor'}: export it with a float32, float16 or uint8 "
                "input"
            )
        if len(value.shape) != 4:
            raise ModelPackageError(
                f"input {value.name!r} has {len(value.shape)} axes, an image has 4: (n, channels, height, width) or "
                "(n, height, width, channels)"
            )
        if value.shape[0] not in (None, 1):
            raise ModelPackageError(
                f"input {value.name!r} takes batches of {value.shape[0]}, and the line inspects one image at a time: "
                "export it with a free first axis, or for one image"
            )
        layout = self._layout(value)
        channels, height, width = value.shape[1:] if layout != "NHWC" else (value.shape[3], *value.shape[1:3])
        if channels not in (None, 1, 3):
            raise ModelPackageError(f"{channels} channels are not read: export it for 1 (grey) or 3 (rgb, bgr)")
        if not all(side is None or side <= MAX_SIDE for side in (width, height)):
            raise ModelPackageError(
                f"input {value.name!r} is {width} pixels wide and {height} high, of {MAX_SIDE} at most: export it for "
                "less; larger images are inspected in tiles"
            )
        colour = self._colour(channels)
        size = self._size(width, height)
        spec: dict[str, Any] = {
            "name": value.name, "width": size[0], "height": size[1], "colour": colour, "layout": layout,
            "dtype": value.dtype, **self._resize(), **self.answers.region(),
            **self.answers.samples(),
        }  # fmt: skip
        if value.dtype != "uint8":
            return spec | self._scaling(value, 1 if colour == "grey" else 3)
        if any(self.answers.get(name) for name in ("scale", "mean", "std")):
            raise ModelPackageError("--scale, --mean, --std: the graph takes bytes and scales them itself; omit them")
        return spec

    def _layout(self, value: OnnxValue) -> str | None:
        first, last = value.shape[1] in (1, 3), value.shape[3] in (1, 3)
        if first != last and self.answers.get("layout") is None:
            return "NCHW" if first else "NHWC"
        return self.answers.choice("layout", ("NCHW", "NHWC"), "order of the axes")

    def _colour(self, channels: int | None) -> str | None:
        found = colour_in(self.model.metadata)
        if self.answers.get("colour") is None:
            if channels == 1:
                return "grey"
            if found is not None and (channels is None or found[1] != "grey"):
                self.notes.append(f"colour {found[1]}: the file's metadata `{found[0]}`")
                return found[1]
            if self.is_ultralytics:
                self.notes.append("colour rgb: as Ultralytics trains")
                return "rgb"
        choices = ("grey", "rgb", "bgr") if channels is None else ("rgb", "bgr") if channels == 3 else ("grey",)
        return self.answers.choice("colour", choices, "colours that the model was trained on")

    def _size(self, width: int | None, height: int | None) -> tuple[int | None, int | None]:
        answer, known = self.answers.wh(), size_in(self.model.metadata)
        if answer is not None:
            return answer
        if width is not None and height is not None:
            return width, height
        if known is not None:
            self.notes.append(f"size {known[1]}x{known[0]}: the file's metadata `imgsz`")
            return known[1], known[0]
        self.answers.ask("size", "width and height of the images that the model was trained on, such as 640x480")
        return width, height

    def _resize(self) -> dict[str, Any]:
        if self.answers.get("resize") is None and self.is_ultralytics and task_in(self.model.metadata) == "detect":
            self.notes.append("resize letterbox, pad 114: as Ultralytics trains detectors")
            return {"resize": "letterbox", "pad": 114}
        if self.answers.get("resize") is None:
            self.notes.append("resize stretch: assumed; --resize letterbox keeps the proportions of the image")
            return {"resize": "stretch"}
        return {"resize": self.answers.choice("resize", ("stretch", "letterbox"), "way of resizing")}

    def _scaling(self, value: OnnxValue, channels: int) -> dict[str, Any]:
        answer = self.answers.normalisation(channels)
        if answer is not None:
            scale, mean, std = answer
            return {"scale": scale, **({"mean": list(mean)} if mean else {}), **({"std": list(std)} if std else {})}
        found = scaling_of(self.model, value.name)
        if found.divisors or found.offsets:
            self.notes.append("scale 1: the graph scales its pixels itself")
            return {"scale": 1.0}
        if self.is_ultralytics:
            self.notes.append("scale 1/255: as Ultralytics trains")
            return {"scale": 1 / 255}
        self.answers.ask(
            "scale",
            "factor of pixels from 0 to 255, such as 1/255 or 1, with --mean and --std of each channel; or imagenet",
        )
        return {}

    def _blocks(self, task: str, outputs: dict[str, str], form: OutputForm | None, least: float) -> dict[str, Any]:
        """Return the blocks outputs, labels, and that of the task; ``least`` is the least score that decides."""
        values = {value.name: value for value in self.signature.outputs}
        labels = self._labels(task, outputs, values)
        made: dict[str, Any] = {
            "outputs": {"names": outputs, "activation": self._activation(task, outputs)},
            "labels": labels,
        }
        known = {} if form is None else dict(form.block)
        if task in ("classification", "segmentation"):
            good = self._good_label(labels, GOOD_LABELS | ({"background"} if task == "segmentation" else set()))
            made |= {} if good is None else {"good_label": good}
        if task == "anomaly_map":
            return made | {"anomaly": self._anomaly(outputs, known)}
        if task == "segmentation":
            return made | {"segmentation": self._segmentation(outputs, least)}
        if task == "detection":
            return made | {"detection": self._detection(outputs, known, least)}
        own = self.answers.label_thresholds()
        return made | ({} if own is None else {"classification": {"label_thresholds": own}})

    def _labels(self, task: str, outputs: dict[str, str], values: Mapping[str, OnnxValue]) -> list[str]:
        answer = self.answers.labels()
        if answer is not None:
            return answer
        found = next((each for each in label_lists(self.model.metadata) if each.is_usual), None)
        if found is not None:
            self.notes.append(f"labels: the file's metadata `{found.key}`, {len(found.labels)} names")
            return list(found.labels)
        if task == "anomaly_map":
            return ["anomaly"]
        scores = values.get(outputs.get("scores", ""))
        count = scores.shape[-1] if scores is not None and scores.shape and "classes" not in outputs else None
        if task == "segmentation":
            count = scores.shape[1] if scores is not None and len(scores.shape) == 4 else None
        how_many = f"{count} names" if count is not None and count > 1 else "names"
        self.answers.ask("labels", f"{how_many} in the order of the training, with commas, such as good,scratch")
        return []

    def _good_label(self, labels: list[str], words: frozenset[str]) -> str | None:
        answer = self.answers.get("good_label")
        if answer is not None:
            return answer or None
        good = [label for label in labels if label.lower() in words]
        if len(good) == 1 and len(labels) > 1:
            self.notes.append(f"good_label {good[0]}: by its name")
            return good[0]
        if len(labels) > 1:
            self.answers.ask("good_label", f"label of good parts, one of {', '.join(labels[:20])}; '' for no label")
        return None

    def _activation(self, task: str, outputs: dict[str, str]) -> str | None:
        if self.answers.get("activation") is None:
            if task not in ("classification", "segmentation") or "class_map" in outputs or self.is_ultralytics:
                return "none"
            name = outputs.get("scores")
            made = sorted({ACTIVATIONS[op] for op in self._ends(name) if op in ACTIVATIONS})
            if made:
                self.notes.append(f"activation none: the graph ends in {made[0]}")
                return "none"
        return self.answers.choice("activation", ("softmax", "sigmoid", "none"), "step from the output to scores")

    def _ends(self, name: str | None) -> frozenset[str]:
        return ends_in(self.model, name) if name is not None else frozenset()

    def _anomaly(self, outputs: dict[str, str], known: dict[str, Any]) -> dict[str, Any]:
        answer = self.answers.numbers("map_range", 2)
        if answer is not None:
            return {"low": answer[0], "high": answer[1]}
        if known:
            return known
        role = "map" if "map" in outputs else "score"
        if any(op in ACTIVATIONS for op in self._ends(outputs.get(role))):
            self.notes.append(f"{role} from 0 to 1: the graph ends so")
            return {"low": 0.0, "high": 1.0}
        text = f"LOW,HIGH: values of the {role} for the scores 0 and 1, as on good and bad parts"
        self.answers.ask("map_range", text)
        return {}

    def _detection(self, outputs: dict[str, str], known: dict[str, Any], least: float) -> dict[str, Any]:
        made: dict[str, Any] = {"score_threshold": min(_BOX_SCORE, least)}
        self.notes.append(f"detection.score_threshold {made['score_threshold']:g}: assumed")
        if self.answers.get("suppression") is not None:
            made["suppression"] = self.answers.choice("suppression", get_args(Suppression), "suppression of boxes")
        first = self.answers.first_class(known.get("first_class", 0))
        made |= {"first_class": first} if first else {}
        if "predictions" in outputs and self.answers.get("box") is None:
            return made | {"box": "cxcywh"}
        for name, choices, text in (
            ("box", ("xyxy", "xywh", "cxcywh", "yxyx"), "numbers of a box"),
            ("coordinates", ("pixels", "normalised"), "unit of boxes: pixels of the input, or shares of it"),
        ):
            is_known = name in known and self.answers.get(name) is None
            made[name] = known[name] if is_known else self.answers.choice(name, choices, text)
        return made

    def _segmentation(self, outputs: dict[str, str], least: float) -> dict[str, Any]:
        is_tiled = self.answers.get("tiles") is not None
        area = self.answers.numbers("min_area", 1) or ((0.0,) if is_tiled else None)
        if area is None:
            self.answers.ask("min_area", "least area of a region that is a defect, in pixels of the frame, such as 25")
        made: dict[str, Any] = {"min_area": 0.0 if area is None else area[0]}
        if "scores" in outputs:
            made["score_threshold"] = min(_PLACE_SCORE, least)
            self.notes.append(f"segmentation.score_threshold {made['score_threshold']:g}: assumed")
        first = self.answers.first_class(0)
        return made | ({"first_class": first} if first else {})

    def _training(self) -> dict[str, str]:
        metadata = self.model.metadata
        known = {
            "provenance": (metadata.get("description") or self.signature.producer).strip()[:500],
            "licence": (metadata.get("license") or metadata.get("licence") or "").strip()[:500],
        }
        made = {}
        for option, question in (("provenance", "origin of the weights"), ("licence", "licence of the weights")):
            is_known = self.answers.get(option) is None and known[option]
            made[option] = known[option] if is_known else self.answers.text(option, f"{question}, in words")
        for option in ("data", "split"):
            made[option] = self.answers.get(option) or _NOT_STATED
            if made[option] == _NOT_STATED:
                self.notes.append(f"training.{option} {_NOT_STATED}: --{option} TEXT states it")
        return made

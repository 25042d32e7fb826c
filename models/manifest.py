"""``manifest.yaml``: what a model expects and how its scores become verdicts. Errors name the line.

A model package is a directory with this file and the ONNX file it names; never code.
"""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.errors import ModelPackageError
from schemas.records import Action, Verdict

MANIFEST_NAME = "manifest.yaml"
_MAX_MANIFEST_BYTES = 256 * 1024

Unit = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Task(StrEnum):
    """What the outputs mean."""

    CLASSIFICATION = "classification"
    ANOMALY_MAP = "anomaly_map"
    DETECTION = "detection"


class InputSpec(_Strict):
    """The input tensor and how an image becomes it: ``(pixel * scale - mean) / std`` for each channel.

    A model that takes ``uint8`` does its scaling itself and has the defaults here.
    """

    name: str
    width: int = Field(ge=1, le=8192)
    height: int = Field(ge=1, le=8192)
    colour: Literal["grey", "rgb", "bgr"]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["uint8", "float32"]
    resize: Literal["stretch", "letterbox"] = "stretch"
    scale: Finite = 1.0
    mean: tuple[Finite, ...] = (0.0,)
    std: tuple[Finite, ...] = (1.0,)

    @property
    def channels(self) -> int:
        """1 for grey, else 3."""
        return 1 if self.colour == "grey" else 3

    @model_validator(mode="after")
    def _fits(self) -> InputSpec:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"{name} has {len(values)} values, the image {self.channels} channels")
        if 0.0 in self.std:
            raise ValueError("std must not be 0")
        if self.dtype == "uint8" and (self.scale != 1 or any(self.mean) or set(self.std) != {1.0}):
            raise ValueError("a uint8 input takes pixels as they are: leave out scale, mean and std")
        return self


class OutputSpec(_Strict):
    """Names of the outputs and what is still to be done to them.

    ``scores`` for classification (one logit for "defective", or one for each label), ``map`` for anomaly maps,
    ``boxes`` and ``scores`` for detection.
    """

    scores: str | None = None
    map: str | None = None
    boxes: str | None = None
    activation: Literal["none", "sigmoid", "softmax"] = "none"


class AnomalySpec(_Strict):
    """Anomaly map to score: the percentile of the map (a robust maximum), from ``low`` to ``high`` as 0 to 1."""

    percentile: float = Field(default=99.5, gt=0, le=100)
    low: Finite = 0.0
    high: Finite = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> AnomalySpec:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class DetectionSpec(_Strict):
    """Boxes to defects: those under ``score_threshold`` are dropped, then overlaps over ``iou_threshold``."""

    box_format: Literal["xyxy", "cxcywh"] = "xyxy"
    score_threshold: Unit = 0.25
    iou_threshold: Unit = 0.5
    max_defects: int = Field(default=100, ge=1, le=10_000)


class DecisionRule(_Strict):
    """From score to verdict and action.

    ``NOT_OK`` from ``threshold`` on; a score within ``review_band`` goes to a person whatever its verdict.
    """

    recipe_id: str = Field(min_length=1, max_length=200)
    revision: str = Field(min_length=1, max_length=200)
    threshold: Unit
    review_band: tuple[Unit, Unit] | None = None
    actions: dict[Verdict, Action] = Field(
        default={Verdict.OK: Action.ACCEPT, Verdict.NOT_OK: Action.REJECT, Verdict.NOT_DECIDABLE: Action.REJECT}
    )

    @field_validator("actions", mode="after")
    @classmethod
    def _safe(cls, actions: dict[Verdict, Action]) -> dict[Verdict, Action]:
        missing = set(Verdict) - set(actions)
        if missing:
            raise ValueError(f"no action for {', '.join(sorted(missing))}")
        if actions[Verdict.NOT_DECIDABLE] is Action.ACCEPT:
            raise ValueError("a part that could not be inspected must never be accepted")
        return actions

    @model_validator(mode="after")
    def _band(self) -> DecisionRule:
        if self.review_band is not None and self.review_band[0] > self.review_band[1]:
            raise ValueError("review_band goes from low to high")
        return self


class Manifest(_Strict):
    """The whole file."""

    manifest_version: Literal[1]
    name: str = Field(min_length=1, max_length=200)
    version: str = Field(min_length=1, max_length=100)
    task: Task
    file: str = "model.onnx"
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    input: InputSpec
    outputs: OutputSpec
    labels: tuple[str, ...] = Field(min_length=1, max_length=10_000)
    defect_labels: tuple[str, ...] = ()
    decision: DecisionRule
    anomaly: AnomalySpec | None = None
    detection: DetectionSpec | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)

    @field_validator("version", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("file")
    @classmethod
    def _inside(cls, value: str) -> str:
        if PurePosixPath(value).name != value:
            raise ValueError("must be a file in the package's own directory")
        return value

    @model_validator(mode="after")
    def _task_has_its_outputs(self) -> Manifest:
        needed = {Task.CLASSIFICATION: ("scores",), Task.ANOMALY_MAP: ("map",), Task.DETECTION: ("boxes", "scores")}
        for output in needed[self.task]:
            if getattr(self.outputs, output) is None:
                raise ValueError(f"task {self.task} needs outputs.{output}")
        unknown = set(self.defect_labels) - set(self.labels)
        if unknown:
            raise ValueError(f"defect_labels not among the labels: {', '.join(sorted(unknown))}")
        if self.task is Task.CLASSIFICATION and not self.defect_labels:
            raise ValueError("classification needs defect_labels: which labels mean a defect")
        return self


def read_manifest(directory: Path) -> tuple[Manifest, yaml.Node]:
    """Read and check the manifest of a package; the node tree is for `line_of`.

    Raises
    ------
    ModelPackageError
        Naming file and line.
    """
    path = directory / MANIFEST_NAME
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ModelPackageError(f"{path}: more than {_MAX_MANIFEST_BYTES} bytes, not a manifest")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelPackageError(f"no model package at {directory}: it has no {MANIFEST_NAME}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelPackageError(f"{path}: {error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ModelPackageError(f"{where}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(content, dict) or node is None:
        raise ModelPackageError(f"{path}:1: a manifest is a mapping of keys to values")
    try:
        return Manifest.model_validate(content), node
    except ValidationError as error:
        first = error.errors()[0]
        keys = ".".join(map(str, first["loc"]))
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        reason = first["msg"].removeprefix("Value error, ")
        raise ModelPackageError(
            f"{path}:{line_of(node, first['loc'])}: {keys + ': ' if keys else ''}{reason}{more}"
        ) from error


def line_of(node: yaml.Node, keys: tuple[str | int, ...]) -> int:
    """Line, from 1, of the value at a path of keys, or of the nearest thing above it that exists.

    Examples
    --------
    >>> tree = yaml.compose("a: 1\\nb:\\n  c: 2\\n", Loader=yaml.SafeLoader)
    >>> line_of(tree, ("b", "c")), line_of(tree, ("b", "missing"))
    (3, 2)
    """
    line = node.start_mark.line
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(key)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1


def is_score(value: float) -> bool:
    """Whether a number can be a score: finite and in [0, 1].

    Examples
    --------
    >>> is_score(0.5), is_score(float("nan")), is_score(1.5)
    (True, False, False)
    """
    return math.isfinite(value) and 0.0 <= value <= 1.0

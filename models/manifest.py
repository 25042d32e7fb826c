"""Content of ``manifest.yaml``: the description of a model package, and the rule that turns a score into an action.

`models.manifest_file` reads the file, with errors that name the line.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from models.input_spec import InputSpec
from models.manifest_block import ManifestBlock
from models.task_spec import (
    BLOCKS,
    EMBEDDING,
    FINISHED_ROLES,
    ROLES,
    AnomalyOptions,
    ClassificationOptions,
    DetectionOptions,
    SegmentationOptions,
    Share,
    Task,
    without_newer_defaults,
)
from schemas.records import Action

#: Subjects that both the ONNX file and its manifest describe, see `models.agreement` and `models.warm_up`.
Subject = Literal[
    "activation", "labels", "task", "input", "normalisation", "rows", "box", "threshold", "random", "constant"
]  # fmt: skip


#: Version of `models.preprocess`. It is increased when the same manifest begins to produce other pixels, because that
#: makes another recipe.
PREPROCESSING = 2


class OutputSpec(ManifestBlock):
    """Output of the graph for each role, and the activation that turns its numbers into scores in [0, 1]."""

    names: dict[str, str]
    activation: Literal["none", "sigmoid", "softmax"] = "none"


class Actions(ManifestBlock):
    """Action of the gate for each verdict. A part that could not be judged is never accepted."""

    OK: Annotated[Action, Field(strict=False)] = Action.ACCEPT
    NOT_OK: Annotated[Action, Field(strict=False)] = Action.REJECT
    NOT_DECIDABLE: Annotated[Action, Field(strict=False)] = Action.REJECT

    @field_validator("NOT_DECIDABLE")
    @classmethod
    def _never_accept(cls, value: Action) -> Action:
        if value is Action.ACCEPT:
            raise ValueError("a part that could not be judged must not be accepted: REJECT or REVIEW")
        return value


class DecisionRule(ManifestBlock):
    """Rule for verdict and action: a score from ``threshold`` on is NOT_OK; within ``review_band`` a person decides."""

    recipe_id: str = Field(min_length=1)
    revision: int = Field(ge=1)
    threshold: Share
    review_band: tuple[Share, Share] | None = None
    actions: Actions = Actions()

    @field_validator("review_band")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("the lower end comes first")
        return value


class ReferenceFile(ManifestBlock):
    """File with the signals of the training images, see `models.reference`; `inspection model reference` makes it."""

    file: str = Field(default="reference.json", pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\.json$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Training(ManifestBlock):
    """Origin of the weights, and the licence for their use."""

    provenance: str
    licence: str
    data: str
    split: str


class Manifest(ManifestBlock):
    """Whole content of ``manifest.yaml``."""

    manifest_version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    version: str = Field(min_length=1, max_length=100)
    task: Task
    # A plain name without a folder, so that it cannot name a file outside the package.
    file: str = Field(default="model.onnx", pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\.onnx$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    input: InputSpec
    outputs: OutputSpec
    labels: tuple[str, ...] = Field(min_length=1)
    good_label: str | None = None
    decision: DecisionRule
    anomaly: AnomalyOptions | None = Field(default=None, validate_default=True)
    detection: DetectionOptions | None = Field(default=None, validate_default=True)
    segmentation: SegmentationOptions | None = Field(default=None, validate_default=True)
    classification: ClassificationOptions | None = None
    training: Training
    reference: ReferenceFile | None = None
    # For a file that contradicts a correct manifest, for example with wrong labels in its metadata.
    overrule: tuple[Subject, ...] = ()
    metrics: dict[str, Any] = Field(default_factory=dict)

    @field_validator("outputs")
    @classmethod
    def _roles(cls, value: OutputSpec, info: ValidationInfo) -> OutputSpec:
        task = info.data.get("task")
        if task is not None and frozenset(value.names) - {EMBEDDING} not in ROLES[task]:
            wanted = " or ".join(f"{{{', '.join(sorted(roles))}}}" for roles in ROLES[task])
            raise ValueError(f"names of a {task} model are {wanted}, not {{{', '.join(sorted(value.names))}}}")
        finished = sorted(FINISHED_ROLES & set(value.names))
        if finished and value.activation != "none":
            raise ValueError(f"the numbers of the role {finished[0]} are final: say `activation: none`")
        return value

    @field_validator("labels")
    @classmethod
    def _unique(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a label is there twice")
        return value

    @field_validator("good_label")
    @classmethod
    def _known(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value not in info.data.get("labels", (value,)):
            raise ValueError(f"{value!r} is not one of the labels")
        return value

    @field_validator("anomaly", "detection", "segmentation", "classification")
    @classmethod
    def _of_task(cls, value: ManifestBlock | None, info: ValidationInfo) -> ManifestBlock | None:
        block, is_needed = BLOCKS.get(info.data.get("task", ""), ("", False))
        if value is None and is_needed and block == info.field_name:
            raise ValueError(f"a model of task {info.data['task']} needs this block")
        if value is not None and block and block != info.field_name:
            raise ValueError(f"not for a model of task {info.data['task']}")
        return value

    @field_validator("detection", "segmentation")
    @classmethod
    def _defects(
        cls, value: DetectionOptions | SegmentationOptions | None, info: ValidationInfo
    ) -> DetectionOptions | SegmentationOptions | None:
        rule, outputs, spec = (info.data.get(name) for name in ("decision", "outputs", "input"))
        if value is None:
            return value
        if rule is not None and value.score_threshold > min(rule.threshold, *(rule.review_band or (1.0,))):
            raise ValueError("score_threshold above the decision's threshold would hide defects from the rule")
        numbered = {"detections", "boxes", "class_map"}
        if value.first_class and outputs is not None and not numbered & set(outputs.names):
            raise ValueError("first_class is for class numbers, and for boxes with scores: leave it out")
        is_tiled = spec is not None and spec.tiles is not None
        if isinstance(value, SegmentationOptions) and value.min_area > 0 and is_tiled:
            raise ValueError("tiles cut regions, and each part would be measured alone: with tiles say `min_area: 0`")
        return value

    @field_validator("classification")
    @classmethod
    def _thresholds(cls, value: ClassificationOptions | None, info: ValidationInfo) -> ClassificationOptions | None:
        labels, good = info.data.get("labels"), info.data.get("good_label")
        for label in value.label_thresholds if value is not None else ():
            if labels is not None and label not in labels:
                raise ValueError(f"label_thresholds has {label!r}, which is not one of the labels")
            if label == good:
                raise ValueError(f"label_thresholds has {label!r}, the label of good parts: leave it out")
        return value

    @property
    def recipe_revision(self) -> str:
        """Revision, and a hash of all settings that turn pixels into an action, without the weights: ``1-5f2c9a01``."""
        described = self.model_dump(
            mode="json",
            exclude={
                "name", "version", "file", "sha256", "training", "reference", "overrule", "metrics", "manifest_version",
            },
        )  # fmt: skip
        described = without_newer_defaults(described)
        described["input"] = self.input.described()
        described["preprocessing"] = PREPROCESSING
        text = json.dumps(described, sort_keys=True, separators=(",", ":"))
        return f"{self.decision.revision}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

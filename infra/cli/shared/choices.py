"""Choices of the command line. Upper and lower case are the same.

The values are those of types in other packages, which `--help` must not import; a test compares them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import typer

# producers.encoding, producers.bounded_queue, producers.spool.options
EncodeModeChoice = Literal["as-is", "jpeg", "png"]
PolicyChoice = Literal["drop-oldest", "drop-newest", "block"]
SpoolModeChoice = Literal["outage", "always", "off"]
WhenFullChoice = Literal["drop-oldest", "drop-newest"]
DrainOrderChoice = Literal["live-first", "order-first"]
SyncChoice = Literal["full", "normal"]
# actuators.settings, schemas.records
OnDriftChoice = Literal["nothing", "review", "stop"]
FailsafeChoice = Literal["reject", "review"]
DriftTypeChoice = Literal["any", "data", "concept"]
# transport.belief
SignatureChoice = Literal["require", "warn", "off"]
# transport.public_keys
SignerChoice = Literal["camera", "worker", "operator", "authority"]
# monitoring.quality.figures, replay.past.selection
GroupByChoice = Literal["camera", "lot", "class", "model"]
TimeBasisChoice = Literal["kafka", "captured"]
# models.manifest, models.task_spec, models.input_spec
TaskChoice = Literal["classification", "anomaly_map", "detection", "segmentation"]
ColourChoice = Literal["grey", "rgb", "bgr"]
LayoutChoice = Literal["NCHW", "NHWC"]
ResizeChoice = Literal["stretch", "letterbox"]
AlignmentChoice = Literal["low", "high"]
BayerChoice = Literal["RGGB", "BGGR", "GRBG", "GBRG"]
ActivationChoice = Literal["softmax", "sigmoid", "none"]
BoxChoice = Literal["xyxy", "xywh", "cxcywh", "yxyx"]
CoordinatesChoice = Literal["pixels", "normalised"]
SuppressionChoice = Literal["each_label", "all_labels", "none"]
# models.training.train
RecipeChoice = Literal["places", "surface", "whole", "fine surface", "pixels"]
# models.training.embedding
EmbeddingChoice = Literal["lite0"]
# producers.cameras.disturbed
DisturbanceChoice = Literal["exposure", "blur", "product-change", "frozen"]


class ArchivedTopic(StrEnum):
    """Topics of a line that can be archived. For an option that may be repeated Typer takes no Literal."""

    FRAMES = "frames"
    DECISIONS = "decisions"
    LABELS = "labels"
    DRIFT = "drift"
    DEAD_LETTERS = "dead-letters"


def choice(help_text: str, *names: str, **more: Any) -> Any:
    """Return an option whose values are the choices of its annotation.

    Parameters
    ----------
    names
        Names of the option; default: that of the parameter.
    more
        Further settings of `typer.Option`.
    """
    return typer.Option(*names, help=help_text, case_sensitive=False, **more)

"""Inspection of one image with one model: the function that the live worker and the replay share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from models.frame_pixels import frame_pixels
from models.inspection import Inspection
from models.manifest import EMBEDDING
from models.package import Model
from models.preprocess import Geometry, Tensor
from models.remarks import Remark
from models.rule import apply_rule, failed
from models.runtime import ORT_ERRORS, runtime_error_line
from models.sample_depth import Image
from models.signals import score_signals, signals
from models.tasks import TASKS, Finding, Outputs
from models.tasks.finding import WrongShape

T = TypeVar("T")


def inspect_image(
    image: bytes, model: Model, *, sha256: str | None = None, size_wh: tuple[int, int] | None = None
) -> Inspection:
    """Inspect one encoded image. The same bytes and the same model have the same result. Thread-safe.

    Parameters
    ----------
    image
        JPEG, PNG, BMP or TIFF bytes.
    sha256
        Digest that the bytes must have: a JPEG with a flipped bit decodes without an error.
    size_wh
        Width and height that the frame states; None: they are not checked.

    Raises
    ------
    ImageError
        As `models.frame_pixels.frame_pixels`. A fault of the model (not a number, an error of the runtime) is not a
        fault of the image: its result is a FAILED inspection that rejects.
    """
    prepared = prepare(image, model, sha256, size_wh)
    return judge(model, prepared, measure(prepared), run(model, prepared))


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """Image prepared for a network: its tensor, the scaled image, the mapping back to the frame, and remarks.

    ``decode_ms`` is the time of the preparation, without ``waited_ms``, the wait for memory that other images used.
    """

    tensor: Tensor
    small: Image
    geometry: Geometry
    decode_ms: float
    waited_ms: float = 0.0
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageSignals:
    """Signals of an image, and the time that computing them took."""

    signals: Mapping[str, float]
    took_ms: float


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """Result of a network for an image: outputs by role, the fault if there is one, and the time of the inference."""

    outputs: Outputs
    fault: str
    infer_ms: float


def inspect_images(
    images: Sequence[tuple[bytes, str | None]], models: Sequence[Model]
) -> list[tuple[Inspection, ...] | Exception]:
    """Inspect images with models that share a network. The network runs once for each image; each model judges.

    All images are decoded, then the network runs on all, then all are judged: a network and an image decoder that take
    turns drive each other out of the caches. The results are the same as those of one image after the other.

    Parameters
    ----------
    images
        Encoded images, each with the sha256 that it must have, or None. The tensors of all of them are in memory at
        the same time.
    models
        At least one model; all with the same `Model.network`, such as one model with several thresholds.

    Returns
    -------
    list
        For each image one inspection for each model, or the error that the image raised, see `inspect_image`.
    """
    model = models[0]
    found: list[Any] = [_or_error(prepare, image, model, sha256) for image, sha256 in images]
    at = [number for number, each in enumerate(found) if isinstance(each, PreparedImage)]
    prepared: list[PreparedImage] = [found[number] for number in at]
    measured = [_or_error(measure, each) for each in prepared]
    ran = [_or_error(run, model, each) for each in prepared]
    for number, *steps in zip(at, prepared, measured, ran, strict=True):
        error = next((step for step in steps if isinstance(step, Exception)), None)
        found[number] = _or_error(_judge_each, models, *steps) if error is None else error
    return found


def _or_error(step: Callable[..., T], *arguments: Any) -> T | Exception:
    try:
        return step(*arguments)
    except Exception as error:  # noqa: BLE001 - the error of one image must not stop the others
        return error


def prepare(
    image: bytes, model: Model, sha256: str | None = None, size_wh: tuple[int, int] | None = None
) -> PreparedImage:
    """Check and decode an image for a model; it raises the errors of `inspect_image`."""
    began = time.perf_counter()
    spec = model.manifest.input
    with frame_pixels(image, spec, sha256, size_wh) as seen:
        tensor, small, geometry = seen.tensor(spec)
    waited_ms = seen.waited_s * 1000
    decode_ms = (time.perf_counter() - began) * 1000 - waited_ms
    return PreparedImage(tensor, small, geometry, decode_ms, waited_ms, seen.remarks)


def measure(prepared: PreparedImage) -> ImageSignals:
    """Compute the signals of an image."""
    began = time.perf_counter()
    return ImageSignals(signals(prepared.small), (time.perf_counter() - began) * 1000)


def run(model: Model, prepared: PreparedImage) -> NetworkOutput:
    """Run the network of a model."""
    began = time.perf_counter()
    outputs: Outputs = {}
    fault = ""
    try:
        outputs = model.run(prepared.tensor)
    except ORT_ERRORS as error:
        fault = f"the model does not run on this image: {runtime_error_line(error)}"
    if not all(np.isfinite(values).all() for values in outputs.values()):
        fault = "the model's output is not a number"
    return NetworkOutput(outputs, fault, (time.perf_counter() - began) * 1000)


def judge(model: Model, prepared: PreparedImage, measured: ImageSignals, ran: NetworkOutput) -> Inspection:
    """Return the inspection that a model makes of the outputs of its network."""
    began = time.perf_counter()
    manifest = model.manifest
    finding, fault, found = Finding(float("nan")), ran.fault, dict(measured.signals)
    if not fault:
        try:
            finding = TASKS[manifest.task](ran.outputs, manifest, prepared.geometry)
            found |= score_signals(finding.score) | _embedding_signal(ran.outputs, model)
        except WrongShape as error:
            fault = f"the model's output for {error.role} {error}"
    outcome = failed(fault, manifest.decision) if fault else apply_rule(finding.score, manifest.decision)
    return Inspection(
        verdict=outcome.verdict,
        action=outcome.action,
        result_state=outcome.result_state,
        reason=outcome.reason,
        score=finding.score if math.isfinite(finding.score) else None,
        threshold=manifest.decision.threshold,
        labels=finding.labels,
        defects=finding.defects,
        signals=found,
        durations_ms={
            "decode": prepared.decode_ms + measured.took_ms,
            "infer": ran.infer_ms + (time.perf_counter() - began) * 1000,
        },
        waited_ms=prepared.waited_ms,
        remarks=prepared.remarks,
    )


def _judge_each(
    models: Sequence[Model], prepared: PreparedImage, measured: ImageSignals, ran: NetworkOutput
) -> tuple[Inspection, ...]:
    return tuple(judge(model, prepared, measured, ran) for model in models)


def _embedding_signal(outputs: Outputs, model: Model) -> dict[str, float]:
    embedding = outputs.get(EMBEDDING)
    if embedding is None or model.reference is None:
        return {}
    distance = model.reference.embedding_distance(embedding)
    return {} if distance is None else {"embedding_distance": distance}

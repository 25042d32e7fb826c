"""One image and one model in, one inspection out: the function that the live worker and the replay share."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from models.errors import ImageError
from models.images import decode, image_header
from models.inspection import Inspection
from models.manifest import EMBEDDING
from models.package import Model
from models.preprocess import Geometry, Tensor, content_wh, to_tensor
from models.rule import apply_rule, failed
from models.runtime import ORT_ERRORS, explain
from models.signals import score_signals, signals
from models.tasks import TASKS, Finding, Outputs
from models.tasks.finding import WrongShape


def inspect_image(
    image: bytes, model: Model, *, sha256: str | None = None, size_wh: tuple[int, int] | None = None
) -> Inspection:
    """Inspect one encoded image. The same bytes and the same model give the same result, from any thread.

    Parameters
    ----------
    image
        JPEG, PNG, BMP or TIFF bytes.
    sha256
        Digest that the bytes must have: a flipped bit in a JPEG decodes without complaint.
    size_wh
        Width and height that the frame claims, checked where given.

    Raises
    ------
    ImageError
        With kind ``altered-image``, ``image-too-large``, ``unreadable-image`` or ``size-mismatch``. What the model
        does wrong (not a number, an error of the runtime) is no image's fault: a FAILED inspection that rejects.
    """
    return inspect_each(image, (model,), sha256=sha256, size_wh=size_wh)[0]


def inspect_each(
    image: bytes, models: Sequence[Model], *, sha256: str | None = None, size_wh: tuple[int, int] | None = None
) -> tuple[Inspection, ...]:
    """Inspect one encoded image with models that share a network: it runs once, each makes its own of the outputs.

    Parameters
    ----------
    image, sha256, size_wh
        As for `inspect_image`.
    models
        At least one; all with the same `Model.network`, such as one model with several thresholds.

    Raises
    ------
    ImageError
        As for `inspect_image`.
    """
    began = time.perf_counter()
    if sha256 is not None and hashlib.sha256(image).hexdigest() != sha256.lower():
        raise ImageError("altered-image", "the bytes do not have the sha256 that the camera gave them")

    header = image_header(image)
    frame_wh = (header.width, header.height)
    if size_wh is not None and size_wh != frame_wh:
        raise ImageError(
            "size-mismatch", "the image has {}x{} pixels, the frame says {}x{}".format(*frame_wh, *size_wh)
        )
    spec = models[0].manifest.input
    decoded = decode(image, colour=spec.colour != "grey", needed_wh=content_wh(frame_wh, spec))
    tensor, small, geometry = to_tensor(decoded.pixels, frame_wh, spec)
    measured = signals(small)

    prepared = time.perf_counter()
    outputs, fault = _run(models[0], tensor)
    decode_ms = (prepared - began) * 1000
    return tuple(_judge(model, outputs, fault, geometry, measured, decode_ms, prepared) for model in models)


def _run(model: Model, tensor: Tensor) -> tuple[Outputs, str]:
    """Outputs of the network, or what is wrong with them."""
    try:
        outputs = model.run(tensor)
    except ORT_ERRORS as error:
        return {}, f"the model does not run on this image: {explain(error)}"
    finite = all(np.isfinite(values).all() for values in outputs.values())
    return outputs, "" if finite else "the model's output is not a number"


def _judge(
    model: Model,
    outputs: Outputs,
    fault: str,
    geometry: Geometry,
    measured: Mapping[str, float],
    decode_ms: float,
    prepared: float,
) -> Inspection:
    manifest = model.manifest
    finding, found = Finding(float("nan")), dict(measured)
    if not fault:
        try:
            finding = TASKS[manifest.task](outputs, manifest, geometry)
            found |= score_signals(finding.score) | _embedding_signal(outputs, model)
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
        durations_ms={"decode": decode_ms, "infer": (time.perf_counter() - prepared) * 1000},
    )


def _embedding_signal(outputs: Outputs, model: Model) -> dict[str, float]:
    embedding = outputs.get(EMBEDDING)
    if embedding is None or model.reference is None:
        return {}
    distance = model.reference.embedding_distance(embedding)
    return {} if distance is None else {"embedding_distance": distance}

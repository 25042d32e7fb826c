"""One image and one model in, one inspection out: the function that the live worker and the replay share."""

from __future__ import annotations

import hashlib
import time

import numpy as np

from models.errors import ImageError
from models.images import decode, image_header
from models.inspection import Inspection
from models.manifest import EMBEDDING
from models.package import Model
from models.preprocess import content_wh, to_tensor
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
    began = time.perf_counter()
    if sha256 is not None and hashlib.sha256(image).hexdigest() != sha256.lower():
        raise ImageError("altered-image", "the bytes do not have the sha256 that the camera gave them")

    header = image_header(image)
    frame_wh = (header.width, header.height)
    if size_wh is not None and size_wh != frame_wh:
        raise ImageError(
            "size-mismatch", "the image has {}x{} pixels, the frame says {}x{}".format(*frame_wh, *size_wh)
        )
    manifest = model.manifest
    spec = manifest.input
    decoded = decode(image, colour=spec.colour != "grey", needed_wh=content_wh(frame_wh, spec))
    tensor, small, geometry = to_tensor(decoded.pixels, frame_wh, spec)
    measured = signals(small)

    prepared = time.perf_counter()
    finding, fault = Finding(float("nan")), ""
    try:
        outputs = model.run(tensor)
        if all(np.isfinite(values).all() for values in outputs.values()):
            finding = TASKS[manifest.task](outputs, manifest, geometry)
            measured |= score_signals(finding.score) | _embedding_signal(outputs, model)
        else:
            fault = "the model's output is not a number"
    except ORT_ERRORS as error:
        fault = f"the model does not run on this image: {explain(error)}"
    except WrongShape as error:
        fault = f"the model's output for {error.role} {error}"
    outcome = failed(fault, manifest.decision) if fault else apply_rule(finding.score, manifest.decision)
    finished = time.perf_counter()

    return Inspection(
        verdict=outcome.verdict,
        action=outcome.action,
        result_state=outcome.result_state,
        reason=outcome.reason,
        score=finding.score if np.isfinite(finding.score) else None,
        threshold=manifest.decision.threshold,
        labels=finding.labels,
        defects=finding.defects,
        signals=measured,
        durations_ms={"decode": (prepared - began) * 1000, "infer": (finished - prepared) * 1000},
    )


def _embedding_signal(outputs: Outputs, model: Model) -> dict[str, float]:
    embedding = outputs.get(EMBEDDING)
    if embedding is None or model.reference is None:
        return {}
    distance = model.reference.embedding_distance(embedding)
    return {} if distance is None else {"embedding_distance": distance}

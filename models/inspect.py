"""The inspection function: image bytes and a model in, what a decision says out. Pure; no Kafka, no clock of day.

The live worker and the replay call this very function.
"""

from __future__ import annotations

import hashlib
import time

from models.errors import ImageError
from models.images import decode_image
from models.inspection import Inspection
from models.package import Model
from models.preprocess import resize, to_tensor
from models.rule import apply_rule
from models.signals import image_signals
from models.tasks import READERS
from schemas.records import ResultState, Verdict


def inspect_image(image: bytes, model: Model, *, sha256: str | None = None) -> Inspection:
    """Inspect one encoded image.

    Parameters
    ----------
    image
        JPEG, PNG, BMP or TIFF, as captured.
    model
        From `load_model`; shared by threads.
    sha256
        What the bytes must have, lower-case hex: a flipped bit in a JPEG decodes without an error.

    Raises
    ------
    ImageError
        If the image cannot be inspected; ``kind`` says how.

    Examples
    --------
    >>> from models.package import default_model_path, load_model
    >>> inspect_image(b"no image", load_model(default_model_path()))
    Traceback (most recent call last):
    ...
    models.errors.ImageError: not a JPEG, PNG, BMP or TIFF image
    """
    started = time.perf_counter()
    if sha256 is not None and hashlib.sha256(image).hexdigest() != sha256:
        raise ImageError("altered-image", "the image does not have the sha256 that its frame states")
    spec = model.manifest.input
    pixels, header = decode_image(image, grey=spec.colour == "grey", width=spec.width, height=spec.height)
    # Boxes are in pixels of the frame, not of what a reduced decode gave.
    reduction = (pixels.shape[1] / header.width, pixels.shape[0] / header.height)
    small, placement = resize(pixels, spec)
    tensor = to_tensor(small, spec)
    signals = image_signals(small)
    decoded = time.perf_counter()
    outputs = model.run(tensor)
    finding = READERS[model.manifest.task](outputs, model.manifest, placement.after(reduction))
    inferred = time.perf_counter()
    rule = model.manifest.decision
    verdict, action, reason = apply_rule(finding.score, rule)
    decidable = verdict is not Verdict.NOT_DECIDABLE
    return Inspection(
        verdict=verdict,
        action=action,
        result_state=ResultState.COMPLETED if decidable else ResultState.FAILED,
        reason=reason,
        score=finding.score if decidable else None,
        threshold=rule.threshold,
        labels=finding.labels if decidable else {},
        defects=finding.defects if decidable else (),
        signals=signals,
        durations_ms={"decode": (decoded - started) * 1000, "infer": (inferred - decoded) * 1000},
    )

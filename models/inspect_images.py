"""Inspection of one image with one model: the function that the live worker and the replay share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from models.frame_pixels import frame_pixels
from models.inspect_tiles import inspect_tiles
from models.inspection import Inspection
from models.judgement import NetworkOutput, conclude, embedding_in, interpret, run_network
from models.package import Model
from models.preprocess import Geometry, Tensor
from models.remarks import Remark
from models.sample_depth import Image
from models.signals import signals

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
    if model.manifest.input.tiles is not None:
        return inspect_tiles(image, (model,), sha256, size_wh)[0]
    prepared = prepare(image, model, sha256, size_wh)
    return judge(model, prepared, measure(prepared), run(model, prepared))


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """Image prepared for a network: its tensor, the scaled image, the mapping back to the frame, and remarks.

    ``decode_ms`` is the time of the preparation, without ``waited_ms``, the wait for memory that other images used.
    ``fault`` is the reason why the image cannot be judged.
    """

    tensor: Tensor
    small: Image
    geometry: Geometry
    decode_ms: float
    waited_ms: float = 0.0
    remarks: tuple[Remark, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ImageSignals:
    """Signals of an image, and the time that computing them took."""

    signals: Mapping[str, float]
    took_ms: float


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
    if model.manifest.input.tiles is not None:
        # Tiles are many images already, and all frames of a batch would be in memory at the same time.
        return [_or_error(inspect_tiles, image, models, sha256) for image, sha256 in images]
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
    """Check and decode an image for a model without tiles; it raises the errors of `inspect_image`."""
    began = time.perf_counter()
    spec = model.manifest.input
    with frame_pixels(image, spec, sha256, size_wh, model.aligner) as seen:
        tensor, small, geometry = seen.tensor(spec)
    waited_ms = seen.waited_s * 1000
    decode_ms = (time.perf_counter() - began) * 1000 - waited_ms
    return PreparedImage(tensor, small, geometry, decode_ms, waited_ms, seen.remarks, seen.fault)


def measure(prepared: PreparedImage) -> ImageSignals:
    """Compute the signals of an image."""
    began = time.perf_counter()
    return ImageSignals(signals(prepared.small), (time.perf_counter() - began) * 1000)


def run(model: Model, prepared: PreparedImage) -> NetworkOutput:
    """Run the network of a model, unless the image cannot be judged."""
    return NetworkOutput({}, prepared.fault, 0.0) if prepared.fault else run_network(model, prepared.tensor)


def judge(model: Model, prepared: PreparedImage, measured: ImageSignals, ran: NetworkOutput) -> Inspection:
    """Return the inspection that a model makes of the outputs of its network."""
    began = time.perf_counter()
    finding, fault = interpret(model, ran, prepared.geometry)
    durations_ms = {
        "decode": prepared.decode_ms + measured.took_ms,
        "infer": ran.infer_ms + (time.perf_counter() - began) * 1000,
    }
    return conclude(
        model, finding, fault, measured.signals, embedding_in(ran.outputs), durations_ms, prepared.waited_ms,
        prepared.remarks,
    )  # fmt: skip


def _judge_each(
    models: Sequence[Model], prepared: PreparedImage, measured: ImageSignals, ran: NetworkOutput
) -> tuple[Inspection, ...]:
    return tuple(judge(model, prepared, measured, ran) for model in models)

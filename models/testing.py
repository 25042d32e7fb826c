"""Testing kit for models: the contract that every model package keeps.

The kit raises `AssertionError` and needs no test framework::

    def test_my_model() -> None:
        check_model(Path("my_model"), examples=[(Path("crack.png").read_bytes(), Verdict.NOT_OK)])
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from models.align_spec import AlignSpec
from models.errors import ImageError, ModelPackageError
from models.frame_pixels import frame_pixels
from models.images import decode, image_header
from models.input_spec import InputSpec
from models.inspect_images import inspect_image
from models.inspection import Inspection
from models.opencv import cv2
from models.package import Model, load_model
from models.regions import least_frame_wh
from models.sample_format import as_captured
from models.task_spec import EMBEDDING
from models.tasks import Outputs
from models.warm_up import constant_differences
from schemas.records import Action, ResultState, Verdict

__all__ = ["check_model"]

#: Longest side of the made-up pictures, in pixels.
_SIDE = 1024
#: Number of pictures, the first ones, that differ in nothing but their pixels.
_SHADES = 4


def check_model(folder: str | Path, *, examples: Iterable[tuple[bytes, Verdict]] = ()) -> None:
    """Check that a model package keeps its contract.

    The check loads the package twice and inspects made-up pictures with it: black, white, noise and stripes, of several
    sizes, grey and in colour, of 8 and of 16 bits. These are the rules:

    1. The package loads, see `models.load_model`.
    2. Each picture gets a verdict: the network runs, and its score is a number from 0 to 1.
    3. The result is plain: the labels of the manifest, and defects with such labels inside the picture.
    4. The same picture has the same result, also with the package loaded again: replays need this.
    5. The outputs depend on the picture, as loading checks too; here it is a whole frame, which is cut and scaled.
    6. A training reference with an embedding fits the network.
    7. The manifest accepts no part that is ``NOT_OK``, and the texts of its ``training`` are filled in.
    8. Each example gets the verdict that is stated for it.

    Parameters
    ----------
    folder
        Folder of the package.
    examples
        Encoded pictures of real parts, each with the verdict that the model must reach. No made-up picture can show
        that a model is right: pass one good part and one defective part at least.

    Raises
    ------
    AssertionError
        If the package breaks a rule. The message states the fault, and what is expected.

    Examples
    --------
    >>> from models import default_model_path
    >>> check_model(default_model_path())
    >>> check_model("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    AssertionError: nowhere: it does not load: nowhere/manifest.yaml: No such file or directory; ...
    """
    _Check(Path(folder)).run(examples)


class _Check:
    """One run of the contract."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model = self._load()
        self._again = self._load()

    def run(self, examples: Iterable[tuple[bytes, Verdict]]) -> None:
        self._check_manifest()
        outputs, scores, manifest = [], [], self._model.manifest
        for name, picture in _pictures(self._model):
            found = self._inspect(name, picture)
            self._check_one(name, found, picture)
            outputs.append(self._repeat(name, picture))
            scores.append(found.score or 0.0)
        for subject, _, reason in constant_differences(outputs[:_SHADES], scores[:_SHADES], manifest):
            if subject not in manifest.overrule:
                fault, _, cure = reason.partition(": ")
                self._fail(fault, f"outputs that depend on the picture; {cure}")
        for number, (picture, verdict) in enumerate(examples, 1):
            found = self._inspect(f"example {number}", picture)
            if found.verdict is not verdict:
                self._fail(f"example {number} is {found.verdict}, because {found.reason}", verdict)

    def _load(self) -> Model:
        try:
            return load_model(self._folder)
        except ModelPackageError as error:
            raise AssertionError(f"{self._folder}: it does not load: {error}") from error

    def _check_manifest(self) -> None:
        manifest = self._model.manifest
        for name, text in manifest.training.model_dump().items():
            if not text.strip():
                self._fail(f"{name} of training is empty", "a text for people who ask where the model comes from")
        if manifest.decision.actions.NOT_OK is Action.ACCEPT:
            self._fail("its action for NOT_OK is ACCEPT", "REJECT or REVIEW")

    def _inspect(self, name: str, picture: bytes) -> Inspection:
        try:
            found = inspect_image(picture, self._model)
        except ImageError as error:
            raise AssertionError(f"{self._folder}: {name}: {error}; expected a readable image") from error
        if found.result_state is not ResultState.COMPLETED:
            self._fail(f"{name} has no verdict: {found.reason}", "a score from 0 to 1")
        return found

    def _check_one(self, name: str, found: Inspection, picture: bytes) -> None:
        header = image_header(picture)
        labels = list(self._model.manifest.labels)
        if list(found.labels) != labels:
            self._fail(f"{name} has the labels {list(found.labels)}", f"those of the manifest, {labels}")
        for defect in found.defects:
            x, y, width, height = defect.box_xywh
            if defect.label not in labels:
                self._fail(f"{name} has a defect {defect.label!r}", f"one of the labels {labels}")
            if not (0 <= x <= x + width <= header.width and 0 <= y <= y + height <= header.height):
                self._fail(
                    f"{name} has a defect at {defect.box_xywh}", f"one within {header.width}x{header.height} pixels"
                )
        numbers: list[Any] = [found.score, *found.labels.values(), *found.signals.values()]
        numbers += [number for defect in found.defects for number in (defect.score, *defect.box_xywh)]
        if odd := [number for number in numbers if type(number) not in (int, float) or not math.isfinite(number)]:
            self._fail(f"{name} has the number {odd[0]!r} of type {type(odd[0]).__name__}", "finite floats")

    def _repeat(self, name: str, picture: bytes) -> Outputs:
        """Inspect a picture again, here and with the package loaded again; return the outputs of the network."""
        with frame_pixels(picture, self._model.manifest.input) as seen:
            tensor = next(seen.tiles(self._model.manifest.input)).tensor
        outputs = self._model.run(tensor)
        for what, model in (("", self._model), (" after the package was loaded again", self._again)):
            if not _equal(model.run(tensor), outputs):
                self._fail(
                    f"{name} has other outputs{what}",
                    "the same; see whether the model was exported in training mode, with dropout or random numbers",
                )
        reference = self._model.reference
        if reference is not None and reference.embedding_mean is not None:
            embedding = outputs.get(EMBEDDING)
            if embedding is None or reference.embedding_distance(embedding) is None:
                size = "no embedding" if embedding is None else f"an embedding of {embedding.size} numbers"
                self._fail(
                    f"the network has {size}, the reference one of {reference.embedding_mean.size}",
                    "the same; make the reference again with `inspection model reference`",
                )
        return outputs

    def _fail(self, fault: str, expected: str) -> NoReturn:
        raise AssertionError(f"{self._folder}: {fault}; expected {expected}")


def _equal(first: Outputs, second: Outputs) -> bool:
    return all(np.array_equal(values, second[role]) for role, values in first.items())


def _pictures(model: Model) -> Iterator[tuple[str, bytes]]:
    """Yield names and files of made-up pictures; always the same ones.

    Those of a model that aligns frames are changed copies of the picture that it aligns them to.
    """
    spec = model.manifest.input
    made = _made_up(spec) if spec.align is None else _made_of(model, spec.align)
    if spec.bayer is not None:
        del made["a picture in colour"]  # a mosaic has one channel
    for name, pixels in made.items():
        _, data = cv2.imencode(".png", np.ascontiguousarray(as_captured(pixels, spec.samples)))
        yield name, data.tobytes()


def _made_of(model: Model, align: AlignSpec) -> dict[str, NDArray[Any]]:
    part, roi = decode((model.path / align.file).read_bytes(), colour=False).pixels, model.manifest.input.roi
    left, top = (0, 0) if roi is None else roi.rectangle[:2]
    whole = np.pad(part, ((top, 0), (left, 0)))
    noise = np.random.default_rng(1).normal(0, 10, whole.shape)
    return {
        "the picture that frames are aligned to": whole,
        "a darker picture": (whole * 0.8).astype(np.uint8),
        "a noisy picture": np.clip(whole + noise, 0, 255).astype(np.uint8),
        "a picture with a spot": cv2.circle(whole.copy(), tuple(side // 2 for side in whole.shape[::-1]), 9, 255, -1),
        "a picture in colour": np.repeat(whole[:, :, None], 3, axis=2),
        "a picture of 16 bits": whole.astype(np.uint16) * 257,
    }


def _made_up(spec: InputSpec) -> dict[str, NDArray[Any]]:
    least = least_frame_wh(spec)
    width, height = max(min(spec.width, _SIDE), least[0]), max(min(spec.height, _SIDE), least[1])
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, (height, width), np.uint8)
    return {
        "a black picture": np.zeros((height, width), np.uint8),
        "a white picture": np.full((height, width), 255, np.uint8),
        "a noisy picture": noise,
        "a striped picture": np.broadcast_to((np.arange(width) % 16 * 16).astype(np.uint8), (height, width)),
        "a picture of the smallest size": np.full(least[::-1], 128, np.uint8),
        "a wide picture": np.tile(noise, (1, 2))[: max(least[1], height // 2)],
        "a picture in colour": random.integers(0, 256, (height, width, 3), np.uint8),
        "a picture of 16 bits": noise.astype(np.uint16) * 257,
    }

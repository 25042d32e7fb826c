"""Measurement of the training reference of a model package, which is written into the package."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelPackageError
from models.frame_pixels import frame_pixels
from models.image_remarks import ImageRemarks
from models.inspect_images import inspect_image
from models.inspect_tiles import EmbeddingMean
from models.judgement import embedding_in
from models.manifest_file import MANIFEST_NAME
from models.package import Model
from models.reference import Reference, SignalReference, references_of
from models.task_spec import EMBEDDING
from schemas.plain_files import real_path

REFERENCE_NAME = "reference.json"
#: Smallest number of images; fewer images tell too little about a distribution.
MIN_IMAGES = 50

#: Signals that depend on what the model has learned.
_OF_OUTPUT = frozenset({"score", "entropy", "embedding_distance"})
#: A top-level block of the manifest, with the lines that belong to it.
_BLOCK = re.compile(r"^reference:.*\n(?:[ \t].*\n|\n)*", re.MULTILINE)


def measure_reference(
    model: Model, images: Iterable[tuple[str, bytes]], test_images: Iterable[tuple[str, bytes]] = ()
) -> Reference:
    """Inspect training images, as pairs of product (may be empty) and encoded image, and measure their signals.

    Parameters
    ----------
    test_images
        Images of the same kind that the model was *not* trained on. With `MIN_IMAGES` or more of them, the signals of
        the model's output are measured on these images: a model is more certain on its training images than on new
        images.

    Raises
    ------
    ImageError
        For an image that cannot be read.
    ValueError
        If there are fewer than `MIN_IMAGES`.
    """
    measured, embeddings = _measure(model, images)
    if len(measured) < MIN_IMAGES:
        raise ValueError(f"{len(measured)} images; {MIN_IMAGES} are needed")
    mean = sd = None
    if embeddings:
        table = np.stack(embeddings)
        # A unit that hardly varies on the training images is not a good measure: its deviation is set to at least 1 %
        # of the typical deviation.
        mean, deviations = table.mean(axis=0), table.std(axis=0)
        sd = np.maximum(deviations, 0.01 * float(np.median(deviations)) or 1e-6)
    measured_test, test_embeddings = _measure(model, test_images)
    for rows, found in ((measured, embeddings), (measured_test, test_embeddings)):
        for (_, row), embedding in zip(rows, found, strict=False):
            distance = Reference({}, {}, mean, sd).embedding_distance(embedding)
            row |= {} if distance is None else {"embedding_distance": distance}
    products = {product for product, _ in measured} - {""}
    by_product = {
        product: _joined(
            [row for p, row in measured if p == product], [row for p, row in measured_test if p == product]
        )
        for product in sorted(products)
        if sum(p == product for p, _ in measured) >= MIN_IMAGES
    }
    return Reference(_joined([row for _, row in measured], [row for _, row in measured_test]), by_product, mean, sd)


def _measure(
    model: Model, images: Iterable[tuple[str, bytes]]
) -> tuple[list[tuple[str, dict[str, float]]], list[NDArray[np.float32]]]:
    rows, embeddings = [], []
    remarks = ImageRemarks()
    for product, image in images:
        inspection = inspect_image(image, model)
        remarks.log("images of the reference", inspection.remarks)
        rows.append((product, dict(inspection.signals)))
        if EMBEDDING in model.manifest.outputs.names:
            embeddings.append(_embedding(image, model))
    return rows, embeddings


def _joined(measured: list[dict[str, float]], measured_test: list[dict[str, float]]) -> dict[str, SignalReference]:
    of_output = references_of(measured_test) if len(measured_test) >= MIN_IMAGES else {}
    return references_of(measured) | {name: ref for name, ref in of_output.items() if name in _OF_OUTPUT}


def write_reference(package: Path, reference: Reference) -> None:
    """Write ``reference.json`` into a package, and its sha256 into ``manifest.yaml``, whose other lines stay.

    Each file is replaced as a whole. A stop between the two brings the earlier reference back, so the package loads.

    Raises
    ------
    ModelPackageError
        If the package cannot be written.
    """
    text = reference.dumps()
    block = f"reference:\n  file: {REFERENCE_NAME}\n  sha256: {hashlib.sha256(text.encode()).hexdigest()}\n"
    manifest = package / MANIFEST_NAME
    try:
        before = manifest.read_text(encoding="utf-8")
        after, found = _BLOCK.subn(block, before, count=1)
        if not found:
            after = before + ("" if before.endswith("\n") else "\n") + block
        _replace_both(package / REFERENCE_NAME, text, manifest, after)
    except OSError as error:
        raise ModelPackageError(f"{error.filename}: {error.strerror}") from error


def _replace_both(reference: Path, text: str, manifest: Path, after: str) -> None:
    # The files themselves, where a name is a link.
    reference, manifest = real_path(reference), real_path(manifest)
    old = reference.read_bytes() if reference.exists() else None
    files = (reference, manifest)
    new = [path.with_name(f".{path.name}.{secrets.token_hex(4)}.new") for path in files]
    manifest_is = _file_number(manifest)
    try:
        for scratch, content in zip(new, (text, after), strict=True):
            scratch.write_bytes(content.encode())
        for scratch, path in zip(new, files, strict=True):
            scratch.replace(path)
    except BaseException:
        if _file_number(manifest) == manifest_is:
            _put_back(reference, old)
        raise
    finally:
        for scratch in new:
            scratch.unlink(missing_ok=True)


def _put_back(reference: Path, old: bytes | None) -> None:
    if old is None:
        reference.unlink(missing_ok=True)
    elif reference.read_bytes() != old:
        reference.write_bytes(old)


def _file_number(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _embedding(image: bytes, model: Model) -> NDArray[np.float32]:
    embeddings = EmbeddingMean()
    with frame_pixels(image, model.manifest.input, aligner=model.aligner) as seen:
        for tile in seen.tiles(model.manifest.input):
            embeddings.add(embedding_in(model.run(tile.tensor)))
    mean = embeddings.mean()
    assert mean is not None  # the manifest names the output
    return mean

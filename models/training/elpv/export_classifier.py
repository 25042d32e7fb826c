"""Command ``python -m models.training.elpv.export_classifier CHECKPOINT``: make a model package of a checkpoint.

It exports to ONNX, quantises to int8 on training images, sets the threshold on the validation split, and measures on
the test split, through the same function that the worker calls.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from models.datasets.elpv import Split, load_cells
from models.training.elpv.backbone import DefectClassifier
from models.training.elpv.images import read_grey, resize
from models.training.elpv.measure import measure, write_manifest

log = logging.getLogger(__name__)

_CALIBRATION_IMAGES = 256


class CalibrationImages(CalibrationDataReader):  # type: ignore[misc]
    """Reader of ``(H, W)`` uint8 images, one at a time."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image[None, None]}


def export(checkpoint: Path, directory: Path) -> tuple[int, Path]:
    """Write the float32 ONNX file; return the input size and the path of the file."""
    saved = torch.load(checkpoint, weights_only=True)
    model = DefectClassifier()
    model.load_state_dict(saved["state"])
    model.eval()
    size = int(saved["size"])
    raw, plain = directory / "raw.onnx", directory / "float32.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 1, size, size, dtype=torch.uint8),), raw, dynamo=False, opset_version=17,
            input_names=["image"], output_names=["logit"], dynamic_axes={"image": {0: "n"}, "logit": {0: "n"}},
        )  # fmt: skip
    quant_pre_process(str(raw), str(plain), skip_symbolic_shape=True)
    return size, plain


def quantise(plain: Path, target: Path, size: int, method: CalibrationMethod) -> None:
    """Quantise to static int8, per channel, calibrated on training images."""
    cells = load_cells("train")
    rng = np.random.default_rng(0)
    chosen = [cells[i] for i in rng.choice(len(cells), _CALIBRATION_IMAGES, replace=False)]
    images = [resize(image, size) for image in read_grey(chosen)]
    options = {"CalibPercentile": 99.99} if method is CalibrationMethod.Percentile else {}
    quantize_static(
        str(plain), str(target), CalibrationImages(images), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=method, extra_options=options,
    )  # fmt: skip


def scores(path: Path, split: Split, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and the truth of a split, directly from a session."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    cells = load_cells(split)
    images = [resize(image, size) for image in read_grey(cells)]
    logits = np.array([session.run(None, {"image": image[None, None]})[0].item() for image in images])
    return 1 / (1 + np.exp(-logits)), np.array([cell.defective for cell in cells])


def accuracy(values: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> float:
    """Return the share of right verdicts."""
    return float(((values >= threshold) == truth).mean())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, default=Path("models/zoo/elpv_cells"))
    parser.add_argument("--model-version", default="1.0.0")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger().handlers[0].addFilter(logging.Filter(__name__))
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        size, plain = export(args.checkpoint, Path(scratch))
        float_scores, truth = scores(plain, "validation", size)
        log.info("float32: validation accuracy %.4f", accuracy(float_scores, truth))
        best: tuple[float, Path] | None = None
        for method in (CalibrationMethod.MinMax, CalibrationMethod.Percentile):
            target = Path(scratch) / f"{method.name}.onnx"
            quantise(plain, target, size, method)
            values, _ = scores(target, "validation", size)
            # Closeness to float32 tells more than the accuracy of two hundred images.
            distance = float(np.abs(values - float_scores).mean())
            log.info("int8 %s: validation accuracy %.4f, mean change of score %.4f",
                     method.name, accuracy(values, truth), distance)  # fmt: skip
            if best is None or distance < best[0]:
                best = (distance, target)
        assert best is not None
        data = best[1].read_bytes()
        float_test = accuracy(*scores(plain, "test", size))
    (args.out / "model.onnx").write_bytes(data)
    manifest = _manifest(size, hashlib.sha256(data).hexdigest(), args.model_version)
    write_manifest(args.out, manifest)
    manifest["metrics"] = {
        "split": "test",
        "defective_from_probability": 0.5,
        "png": measure(args.out, as_jpeg=False),
        "jpeg_quality_95": measure(args.out, as_jpeg=True),
        "float32_accuracy": round(float_test, 4),
    }
    write_manifest(args.out, manifest)


def _manifest(size: int, sha256: str, version: str) -> dict[str, Any]:
    return {
        "manifest_version": 1,
        "name": "elpv-cells",
        "version": version,
        "task": "classification",
        "file": "model.onnx",
        "sha256": sha256,
        "input": {"name": "image", "width": size, "height": size, "colour": "grey", "layout": "NCHW", "dtype": "uint8",
                  "resize": "stretch"},
        "outputs": {"names": {"scores": "logit"}, "activation": "sigmoid"},
        "labels": ["functional", "defective"],
        "good_label": "functional",
        "decision": {"recipe_id": "elpv-cells", "revision": 1, "threshold": 0.5, "review_band": [0.4, 0.6]},
        "training": {
            "provenance": "models/training/elpv/finetune.py: EfficientNet-Lite0 (ImageNet), fine-tuned, static int8",
            "data": "ELPV, 2,624 electroluminescence images of solar cells (package elpv-dataset)",
            "split": "by sha256 of the image name within cell type and defect probability: 25 % test, 8 % validation,"
            " 67 % training; no image in two parts",
            "licence": "The images are CC BY-NC-SA 4.0, so these weights are for non-commercial use; the ImageNet"
            " weights they started from are Apache-2.0",
        },
        "metrics": {},
    }  # fmt: skip


if __name__ == "__main__":
    main()

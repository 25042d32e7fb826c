"""Models of Ultralytics for the tests, and what they find. Run in an environment of their own: FOLDER.

The folder has the images ``detect/*.png`` (longer side 320) and ``classify/*.png`` (224x224), so that the framework
resizes nothing. Written are the ONNX files, and ``found.json`` with the rows of each image for each of them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_CONFIG_DIR=sys.argv[1])

import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import ClassificationModel, DetectionModel

NAMES = {0: "scratch", 1: "dent"}
SIZE, CLASSIFY_SIZE = 320, 224
CONFIDENCE, IOU, MOST = 0.25, 0.5, 50


def detector(config: str, images: list[Path]) -> YOLO:
    """Return a network with made-up weights: boxes of many sizes, and scores on both sides of the threshold."""
    torch.manual_seed(1)
    made = YOLO(config)
    made.model = completed(made, DetectionModel(config, nc=len(NAMES), verbose=False))
    head = made.model.model[-1]
    for prefix in ("", "one2one_"):  # a model without suppression has a second head, which its export uses
        boxes, scores = (getattr(head, f"{prefix}{name}", None) for name in ("cv2", "cv3"))
        if boxes is not None:
            spread([level[-1] for level in boxes], made.model, images, 2.0, None)
            spread([level[-1] for level in scores], made.model, images, 2.0, CONFIDENCE)
    return made


def classifier(config: str, images: list[Path]) -> YOLO:
    """Return a classifier with made-up weights."""
    torch.manual_seed(2)
    made = YOLO(config)
    made.model = completed(made, ClassificationModel(config, nc=len(NAMES), verbose=False))
    spread([made.model.model[-1].linear], made.model, images, 1.0, 0.5)
    return made


def spread(layers: list[Any], network: Any, images: list[Path], deviation: float, share: float | None) -> None:
    """Scale the outputs of some layers over some images to a standard deviation.

    With a ``share``, shift each channel so that the sigmoid of 3 % of its numbers is above it.
    """
    for layer in layers:
        torch.nn.init.zeros_(layer.bias)
    found: list[torch.Tensor] = []

    def note(module: Any, given: Any, made: torch.Tensor) -> None:
        found.append(made.transpose(0, 1).flatten(1))

    hooks = [layer.register_forward_hook(note) for layer in layers]
    for image in images:
        network(tensor_of(image))
    for hook in hooks:
        hook.remove()
    values = torch.cat(found, 1)
    factor = deviation / values.std(1)
    for layer in layers:
        layer.weight.mul_(factor.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        if share is not None:
            layer.bias.copy_(torch.logit(torch.tensor(share)) - factor * torch.quantile(values, 0.97, 1))


def completed(made: YOLO, network: Any) -> Any:
    """Return a network with what `YOLO` adds to its own."""
    network.names, network.args, network.task = NAMES, made.model.args, made.task
    return network.eval()


def tensor_of(path: Path) -> Any:
    """Return the tensor of a square image."""
    from torchvision.io import ImageReadMode, decode_image

    return decode_image(str(path), mode=ImageReadMode.RGB)[None].float() / 255


def write(model: YOLO, target: Path, size: int, **options: Any) -> None:
    """Export a model to ONNX."""
    written = model.export(format="onnx", imgsz=size, simplify=False, dynamic=False, verbose=False, **options)
    Path(written).rename(target)


def boxes_of(model: YOLO, image: Path, **options: Any) -> list[list[float]]:
    """Return x1, y1, x2, y2, score, class of each box, by the framework's whole pipeline."""
    stated = {"imgsz": SIZE, "rect": False, "conf": CONFIDENCE, "iou": IOU, "max_det": MOST, "verbose": False}
    [result] = model.predict(str(image), **stated, **options)
    return [[float(value) for value in row] for row in result.boxes.data]


def main(folder: Path) -> None:
    """Write all models, and what the framework finds."""
    os.chdir(folder)
    torch.set_num_threads(1)  # the tests run beside others
    torch.set_grad_enabled(False)
    images = sorted((folder / "detect").glob("*.png"))
    squares = [path for path in images if "square" in path.name][:3]
    found: dict[str, dict[str, Any]] = {}
    for name, config, more in (
        ("columns", "yolo11n.yaml", {}),
        ("rows", "yolo11n.yaml", {"nms": True, "conf": CONFIDENCE, "iou": IOU, "max_det": 300}),
        ("end2end", "yolo26n.yaml", {"nms": False}),
    ):
        model = detector(config, squares)
        whole = {"nms": False} if name == "end2end" else {}
        found[name] = {path.name: boxes_of(model, path, **whole) for path in images}
        if name == "columns":
            found["agnostic"] = {path.name: boxes_of(model, path, agnostic_nms=True) for path in images}
        write(model, folder / f"{name}.onnx", SIZE, **more)
    images = sorted((folder / "classify").glob("*.png"))
    model = classifier("yolo11n-cls.yaml", images)
    found["classify"] = {
        path.name: model.predict(str(path), imgsz=CLASSIFY_SIZE, verbose=False)[0].probs.data.tolist()
        for path in images
    }
    write(model, folder / "classify.onnx", CLASSIFY_SIZE)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

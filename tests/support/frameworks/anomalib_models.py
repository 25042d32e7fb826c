"""Models of Anomalib for the tests of the import. Run in the framework's environment: FOLDER IMAGES."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from anomalib.data import Folder
from anomalib.deploy import ExportType
from anomalib.engine import Engine
from anomalib.models import Padim, Patchcore


def main(folder: Path, images: Path) -> None:
    """Train small models on images in ``good`` and ``bad``, with made-up weights of the backbone, and export them."""
    torch.set_num_threads(1)
    layers = ["layer1", "layer2"]
    models = {
        "padim": Padim(
            layers=layers, pre_trained=False, n_features=20, pre_processor=Padim.configure_pre_processor((64, 64))
        ),
        "patchcore": Patchcore(
            backbone="resnet18", layers=layers, pre_trained=False, coreset_sampling_ratio=0.05,
            pre_processor=Patchcore.configure_pre_processor((64, 64), (64, 64)),
        ),
    }  # fmt: skip
    for name, model in models.items():
        torch.manual_seed(1)
        data = Folder(
            name="cells", root=images, normal_dir="good", abnormal_dir="bad", train_batch_size=4, eval_batch_size=4,
            num_workers=0,
        )  # fmt: skip
        engine = Engine(default_root_dir=folder / name, accelerator="cpu", logger=False, barebones=False)
        engine.fit(model, datamodule=data)
        written = engine.export(model, ExportType.TORCH, export_root=folder / name)
        Path(str(written)).rename(folder / f"{name}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Models of PyTorch for the tests of the import. Run in the framework's environment: FOLDER IMAGES."""

from __future__ import annotations

import io
import os
import pickle
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
import torchvision

ENTRY = '''"""Network of a user."""
from torchvision.models import resnet18


def build():
    return resnet18(num_classes=2)
'''


class Hostile:
    """Object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def main(folder: Path) -> None:
    """Write all models."""
    torch.manual_seed(1)
    network = torchvision.models.resnet18(num_classes=2).eval()
    (folder / "network.py").write_text(ENTRY)
    torch.save({"state_dict": network.state_dict()}, folder / "weights.pt")
    torch.save(network, folder / "whole.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 64, 64)), folder / "script.pt")
    example = (torch.zeros(2, 3, 64, 64),)
    free = torch.export.export(network, example, dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(free, folder / "free.pt2")
    torch.export.save(torch.export.export(network, example), folder / "batch_of_two.pt2")
    poison(folder / "free.pt2", folder / "hostile.pt2", folder / "was_here")


def poison(source: Path, target: Path, mark: Path) -> None:
    """Copy a program, with an example input that runs code when it is unpickled."""
    inner = io.BytesIO()
    torch.save(0, inner)
    hostile = io.BytesIO()
    with zipfile.ZipFile(inner) as old, zipfile.ZipFile(hostile, "w") as new:
        for each in old.infolist():
            is_pickle = each.filename.endswith("data.pkl")
            new.writestr(each.filename, pickle.dumps(Hostile(mark), 2) if is_pickle else old.read(each))
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for each in old.infolist():
            is_example = "sample_inputs" in each.filename
            new.writestr(each.filename, hostile.getvalue() if is_example else old.read(each))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

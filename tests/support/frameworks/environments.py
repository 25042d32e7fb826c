"""Environments of other frameworks, for the tests that need them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from models.datasets.elpv import load_cells
from models.importers.environment import interpreter, is_ready

_LOCKS = Path(__file__).parents[3] / "infra" / "locks"


def python_of(framework: str) -> Path:
    """Return the interpreter of a framework; skip the test if its environment is not there."""
    lock = _LOCKS / f"import-{framework}.lock"
    if os.environ.get("INSPECTION_IMPORTERS") != "make" and not is_ready(framework, lock):
        pytest.skip(f"the environment for {framework} is not there: `make test-importers` makes it")
    return interpreter(framework, lock)


def python_for_tests_of(name: str) -> Path:
    """Return the interpreter of an environment that only tests have; skip the test if it is not there."""
    lock = _LOCKS / f"{name}.lock"
    if os.environ.get("INSPECTION_IMPORTERS") != "make" and not is_ready(name, lock):
        pytest.skip(f"the environment for {name} is not there: `make test-importers` makes it")
    return interpreter(name, lock)


def make_models(framework: str, folder: Path, images: Path) -> None:
    """Run the script that writes the models of a framework."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    script = Path(__file__).with_name(f"{framework}_models.py")
    done = subprocess.run(
        [python_of(framework), script, folder, images], env=environment, capture_output=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def write_images(folder: Path, count: int = 24) -> Path:
    """Write images of good and defective solar cells into ``good`` and ``bad``; one of them is not square."""
    from models.opencv import cv2

    for name, probability in (("good", 0.0), ("bad", 1.0)):
        (folder / name).mkdir(parents=True)
        cells = [c for c in load_cells("train") if c.probability == probability and c.cell_type == "poly"]
        for cell in cells[:count]:
            (folder / name / cell.name).write_bytes(cell.path.read_bytes())
    pixels = cv2.imread(str(cells[0].path), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "bad" / "wide.png"), pixels[:200])
    return folder

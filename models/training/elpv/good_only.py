"""Command ``python -m models.training.elpv.good_only PACKAGE``: finish the package of good cells for the repository.

`inspection train` has made it. The command sets the limit so that a share of good validation cells is rejected (the
training has not seen them), states licence and data, measures the package on the test split, and deletes the report,
which contains pictures.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from models import load_model
from models.datasets.elpv import load_cells
from models.inspect_images import prepare, run
from models.manifest_file import MANIFEST_NAME
from models.training.elpv.measure import measure, write_manifest
from models.training.limits import conformal_limit
from models.training.package_folder import REPORT_NAME
from models.training.products import scores_of

LICENCE = (
    "The images are CC BY-NC-SA 4.0, so this model is for non-commercial use; the ImageNet weights of its backbone are "
    "Apache-2.0"
)
SPLIT = (
    "by sha256 of the image name within cell type and defect probability: 25 % test, 8 % validation, 67 % training; no "
    "image in two parts"
)


def limit_of(package: Path, overkill: float) -> float:
    """Return the score of the map that a share of good validation cells reaches."""
    model = load_model(package)
    good = [cell for cell in load_cells("validation") if cell.probability == 0.0]
    maps = [run(model, prepare(cell.path.read_bytes(), model)).outputs["map"] for cell in good]
    return conformal_limit(scores_of(np.stack([each.ravel() for each in maps])), overkill)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("--overkill", type=float, default=0.1, help="share of good validation cells to reject")
    args = parser.parse_args()
    package = args.package
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    (package / REPORT_NAME).unlink(missing_ok=True)
    manifest: dict[str, Any] = yaml.safe_load((package / MANIFEST_NAME).read_text(encoding="utf-8"))
    manifest["name"] = manifest["decision"]["recipe_id"] = "elpv-good-only"
    manifest["version"] = "3.0.0"
    anomaly, limit = manifest["anomaly"], limit_of(package, args.overkill)
    anomaly["high"] = round(2 * limit - anomaly["low"], 6)
    manifest["training"] |= {
        "licence": LICENCE,
        "data": "ELPV (package elpv-dataset): training cells of defect probability 0; limit from validation cells of"
        f" probability 0, of which {args.overkill:.0%} are rejected",
        "split": SPLIT,
    }
    write_manifest(package, manifest)
    kept = ("good_images", "products", "synthetic_defects_found", "synthetic_auroc", "warnings")
    manifest["metrics"] = {name: manifest["metrics"][name] for name in kept} | {
        "split": "test",
        "defective_from_probability": 0.5,
        "png": measure(package, as_jpeg=False),
        "jpeg_quality_95": measure(package, as_jpeg=True),
    }
    write_manifest(package, manifest)


if __name__ == "__main__":
    main()

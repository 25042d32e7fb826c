"""Figures of a package on the test split of ELPV, by the function that the worker calls."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from models import inspect_image, load_model
from models.datasets.elpv import Cell, load_cells
from models.opencv import cv2
from models.training.auroc import auroc
from models.training.limits import rejected
from models.wilson import wilson
from schemas.records import Action, Verdict

log = logging.getLogger(__name__)


def measure(package: Path, *, as_jpeg: bool, escape_costs: Sequence[int] = ()) -> dict[str, Any]:
    """Measure the package on the test split, as the worker runs it.

    Parameters
    ----------
    escape_costs
        Escapes and overkill are also stated for these costs of an escape, in overkills, if the score is a probability
        and cells are as often defective as in the data set: the cheapest threshold is 1 / (1 + cost).
    """
    model = load_model(package)
    rows: list[tuple[Cell, Verdict, Action, float]] = []
    began = time.perf_counter()
    infer_ms = []
    for cell in load_cells("test"):
        data = cell.path.read_bytes()
        if as_jpeg:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        result = inspect_image(data, model)
        infer_ms.append(result.durations_ms["infer"])
        rows.append((cell, result.verdict, result.action, result.score or 0.0))
    report: dict[str, Any] = {}
    for kind in ("all", "mono", "poly"):
        chosen = [row for row in rows if kind in ("all", row[0].cell_type)]
        right = sum((verdict is Verdict.NOT_OK) == cell.defective for cell, verdict, _, _ in chosen)
        bad = [row for row in chosen if row[0].defective]
        good = [row for row in chosen if not row[0].defective]
        report[kind] = {
            "images": len(chosen),
            "auroc": round(auroc([row[3] for row in chosen], [row[0].defective for row in chosen]), 4),
            "accuracy": round(right / len(chosen), 4),
            "accuracy_95": [round(bound, 4) for bound in wilson(right, len(chosen))],
            "recall_defective": round(sum(v is Verdict.NOT_OK for _, v, _, _ in bad) / len(bad), 4),
            "escape_rate": round(sum(a is Action.ACCEPT for _, _, a, _ in bad) / len(bad), 4),
            "overkill_rate": round(sum(a is Action.REJECT for _, _, a, _ in good) / len(good), 4),
            "review_share": round(sum(a is Action.REVIEW for _, _, a, _ in chosen) / len(chosen), 4),
        }
    for cost in escape_costs:
        limit = 1 / (1 + cost)
        bad, good = ([row[3] for row in rows if row[0].defective is truth] for truth in (True, False))
        report[f"escape_cost_{cost}"] = {
            "threshold": round(limit, 4),
            "escape_rate": round(float(np.mean(~rejected(np.array(bad), limit))), 4),
            "overkill_rate": round(float(rejected(np.array(good), limit).mean()), 4),
        }
    log.info(
        "%s: AUROC %.4f, accuracy %.4f, infer p50 %.2f ms, %.1f images/s",
        "JPEG 95" if as_jpeg else "PNG", report["all"]["auroc"], report["all"]["accuracy"], float(np.median(infer_ms)),
        len(rows) / (time.perf_counter() - began),
    )  # fmt: skip
    return report


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Write ``manifest.yaml``."""
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=110)
    (directory / "manifest.yaml").write_text(text, encoding="utf-8")

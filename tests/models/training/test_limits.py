"""The overkill that a training states is that of the rule of the package that it writes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.manifest import Manifest
from models.preprocess import Geometry
from models.rule import apply_rule
from models.tasks import TASKS
from models.training.anomaly_fit import AnomalyFit
from models.training.labelled import LabelledFigures
from models.training.limits import conformal_limit, rejected
from models.training.manifest_of_training import manifest_of
from models.training.recipe import Recipe
from models.training.result import TrainingResult
from models.training.sentences import good_only_line
from models.training.survey import Survey
from models.training.train import TrainingOptions
from schemas.records import Verdict

GRID = Recipe("pixels", 32, (), 2, 1)


def fitted(count: int, overkill: float, *, seed: int = 0, kinds: int = 0) -> AnomalyFit:
    """Return a fit to images of noise; of a few kinds of images, if there are kinds, so that scores are equal."""
    rng = np.random.default_rng(seed)
    patches = rng.normal(0, 1, (kinds or count, 4, 1)).astype(np.float16)
    patches = patches[np.arange(count) % len(patches)]
    return AnomalyFit(GRID, patches, np.arange(count) * 5 // count, overkill)


def result_of(fit: AnomalyFit) -> TrainingResult:
    """Return the result of a training with a fit."""
    spec = SimpleNamespace(
        width=32, height=32, colour="grey", layout="NCHW", dtype="float32", resize="stretch", roi=None, tiles=None,
        align=None, samples=SimpleNamespace(stated=dict),
    )  # fmt: skip
    best: Any = SimpleNamespace(fit=fit, extractor=SimpleNamespace(spec=spec), synthetic=[], quality=1.0, image_ms=1.0)
    paths = [Path()] * len(fit.scores)
    survey = Survey(len(paths), sizes=Counter({(32, 32): len(paths)}))
    return TrainingResult(best, [best], [], survey, Path(), paths, np.arange(5), "order")


def decided(scores: NDArray[np.float64], manifest: Manifest) -> int:
    """Return the number of scores that the rule of a package rejects, each as the map of its network has it."""
    found = 0
    for score in scores:
        outputs = {"map": np.full((1, 1, 2, 2), score, np.float32)}
        finding = TASKS["anomaly_map"](outputs, manifest, Geometry(32, 32, 1.0, 1.0))
        found += apply_rule(finding.score, manifest.decision).verdict is Verdict.NOT_OK
    return found


@pytest.mark.parametrize("overkill", [0.0, 0.02, 0.1, 0.35])
@pytest.mark.parametrize(("count", "kinds"), [(12, 0), (60, 0), (61, 0), (60, 20)])
def test_the_stated_overkill_is_that_of_the_rule(count: int, kinds: int, overkill: float) -> None:
    for seed in range(3):
        fit = fitted(count, overkill, seed=seed, kinds=kinds)
        options, result = TrainingOptions(overkill=overkill), result_of(fit)
        manifest = Manifest.model_validate_json(json.dumps(manifest_of(result, options, "part", "0" * 64)))
        number = decided(fit.scores, manifest)
        assert number <= overkill * count
        assert number == int(fit.rejected.sum())
        assert good_only_line(result, options).startswith(f"overkill {number / count:.1%} (")
        assert manifest.metrics["overkill_out_of_block"] == round(number / count, 4)
        figures = LabelledFigures.of(fit.scores, fit.scores, ["a"] * count, fit.limit, fit.limit)
        assert figures.overkill == (number, count)
        assert figures.escapes == (count - number, count)


#: Scores, the share that may be rejected, and the number that is.
LIMITS = {
    "two of a hundred": (np.arange(100.0), 0.03, 2),
    "none of few": (np.arange(10.0), 0.05, 0),
    "one value": (np.full(40, 7.0), 0.1, 0),
    "zeros": (np.zeros(40), 0.1, 0),
    "equal ones at the limit": (np.repeat([1.0, 2.0, 3.0], [50, 40, 10]), 0.3, 10),
    "equal ones at the end": (np.repeat([1.0, 2.0], [50, 50]), 0.3, 0),
    "negative": (-np.arange(100.0), 0.1, 9),
    "close ones": (1 + 1e-9 * np.arange(100.0), 0.1, 9),
    "far outlier": (np.append(np.arange(99.0), 1e9), 0.02, 1),
}


@pytest.mark.parametrize(("scores", "share", "count"), LIMITS.values(), ids=LIMITS.keys())
def test_a_limit_lies_just_above_the_last_score_that_is_accepted(
    scores: NDArray[np.float64], share: float, count: int
) -> None:
    limit = conformal_limit(scores, share)
    assert int(rejected(scores, limit).sum()) == count
    last = np.sort(scores)[len(scores) - count - 1]
    assert last < limit <= last + max(0.02, 1e-3 * abs(last))


def test_the_limit_in_the_manifest_rejects_no_more_after_rounding() -> None:
    """Six decimal places of tiny distances; a limit that is rounded down would reject the image below it."""
    for seed in range(50):
        fit = fitted(60, 0.05, seed=seed)
        fit.scores *= 1e-4
        fit._least_limit = conformal_limit(fit.scores, 0.05)
        assert fit.limit >= fit._least_limit
        assert fit.rejected.sum() <= 3

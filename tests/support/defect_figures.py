"""Results of images of defective parts, without a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.training.defects import DefectTest
from models.training.graphs import Head
from models.training.labelled import HeadFit, LabelledFigures

HEAD = Head(np.zeros(3), np.ones(3), np.ones(3), 1.0, 0.0)


def figures(auroc: float, accepted: int) -> LabelledFigures:
    return LabelledFigures(auroc, (auroc - 0.1, min(1.0, auroc + 0.1)), (accepted, 40), (1, 80))


def a_test_of(good_only: LabelledFigures, head: LabelledFigures | None) -> DefectTest:
    scores = np.zeros(40)
    test = DefectTest([Path("part.png")] * 40, ["spur"] * 40, scores, scores, good_only)
    return test if head is None else replace(test, head=HeadFit(HEAD, scores, scores, head))

"""Which model the package has, and the warning where it accepts defective parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

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


@pytest.mark.parametrize(("head", "is_packaged"), [(0.61, False), (0.67, False), (0.68, True), (0.9, True)])
def test_a_head_that_makes_it_worse_is_left_out(head: float, is_packaged: bool) -> None:
    test = a_test_of(figures(0.684, 38), figures(head, 5))
    assert (test.learned is not None) is is_packaged
    assert test.packaged_figures.escapes[0] == (5 if is_packaged else 38)


def test_without_a_head_the_model_of_good_parts_counts() -> None:
    assert a_test_of(figures(0.7, 30), None).packaged_figures.escapes == (30, 40)
